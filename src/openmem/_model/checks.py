"""One check per kind of value. Each returns the clean value, or raises an error that names the argument."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from numbers import Real
from typing import TypeVar

from openmem._model.ids import REQUEST_ID
from openmem._text.misspellings import closest, did_you_mean
from openmem.errors import InvalidRequestError
from openmem.types import UTC

K = TypeVar("K")

MAX_CONTENT = 100_000
MAX_QUERY = 10_000
MAX_NAME = 256
MAX_NAME_BYTES = 768  # three of them fit into a row of an index on Postgres, which takes 2,704 bytes
MAX_APP = 100
MAX_TAGS = 100
MAX_TAG = 200
MAX_SUPERSEDES = 100
MAX_TOKEN_BUDGET = 1_000_000
MAX_VERSION = 2**31 - 1

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def check_text(value: object, name: str, maximum: int, *, control: bool = True) -> str:
    """Check a piece of text.

    Args:
        value: The value to check.
        name: What to call it in the error.
        maximum: Longest text allowed, in characters.
        control: Whether control characters other than NUL are allowed.

    Returns:
        The text as a plain `str`.

    Raises:
        InvalidRequestError: It is no string, blank, too long, or holds a character that cannot be stored.
    """
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a string, not {type(value).__name__}")
    text = value if type(value) is str else str.__str__(value)
    if not text or text.isspace():
        raise InvalidRequestError(f"{name} must not be blank")
    if len(text) > maximum:
        raise InvalidRequestError(f"{name} must have at most {maximum} characters, not {len(text)}")
    if not control:
        if _CONTROL.search(text):
            raise InvalidRequestError(f"{name} must not contain control characters or lone surrogates")
    elif _UNSTORABLE.search(text):
        raise InvalidRequestError(f"{name} must not contain NUL or lone surrogates")
    return text


def has_unstorable(text: str) -> bool:
    """Return whether a text holds NUL or a lone surrogate, which no store keeps."""
    return _UNSTORABLE.search(text) is not None


def check_content(value: object) -> str:
    """Return the text of a memory: not blank, no NUL, no lone surrogates, at most 100,000 characters."""
    return check_text(value, "content", MAX_CONTENT)


def check_query(value: object) -> str:
    """Return a query: not blank, no NUL, no lone surrogates, at most 10,000 characters."""
    return check_text(value, "query", MAX_QUERY)


def check_user_id(value: object) -> str:
    """Return a user id: not blank, no `*`, no control characters, not padded, at most 256 characters."""
    if value is None or (isinstance(value, str) and (not value or value.isspace())):
        raise InvalidRequestError("user_id is required: user_id must be a non-empty string")
    user_id = check_text(value, "user_id", MAX_NAME, control=False)
    if "*" in user_id:
        raise InvalidRequestError("user_id must name one user: '*' is not allowed")
    if user_id[0].isspace() or user_id[-1].isspace():
        raise InvalidRequestError("user_id must not start or end with white space")
    return user_id


def check_size(name: str, argument: str) -> str:
    """Return the name of something that is to be stored, whose index takes no more than 768 bytes of it.

    Args:
        name: A user id, an id or a key that was checked otherwise.
        argument: What to call it in the error.

    Raises:
        InvalidRequestError: It is longer in UTF-8.
    """
    if len(name) * 4 > MAX_NAME_BYTES and len(name.encode()) > MAX_NAME_BYTES:
        size = len(name.encode())
        raise InvalidRequestError(f"{argument} must have at most {MAX_NAME_BYTES} bytes of UTF-8, not {size}")
    return name


def check_owner(value: object) -> str | None:
    """Return a user id as `check_user_id` does, or `None` where none is named."""
    return None if value is None else check_user_id(value)


def check_id(value: object, name: str = "id") -> str:
    """Return a memory's id: not blank, no control characters, at most 256 characters."""
    return check_text(value, name, MAX_NAME, control=False)


def check_key(value: object) -> str | None:
    """Return the caller's own name of a memory (not blank, at most 256 characters and 768 bytes), or `None`."""
    return None if value is None else check_size(check_text(value, "key", MAX_NAME), "key")


def check_app(value: object) -> str | None:
    """Return the name of an app (not blank, no control characters, at most 100 characters), or `None`."""
    return None if value is None else check_text(value, "app", MAX_APP, control=False)


def check_request_id(value: object) -> str:
    """Return the id of a request: 1 to 64 letters, digits, `.`, `_` and `-` of ASCII."""
    if not isinstance(value, str) or REQUEST_ID.fullmatch(value) is None:
        raise InvalidRequestError("request_id must be 1 to 64 letters, digits, '.', '_' or '-'")
    return str.__str__(value)


def check_instance(value: object, kind: type[K], name: str) -> K | None:
    """Return an optional object of a class."""
    if value is not None and not isinstance(value, kind):
        raise InvalidRequestError(f"{name} must be of the class {kind.__name__}, not {type(value).__name__}")
    return value


def check_extra(value: object) -> Mapping[str, object] | None:
    """Return the caller's own fields of a memory as they were given, or `None`."""
    if value is not None and not isinstance(value, Mapping):
        raise InvalidRequestError(f"extra must be a mapping, not {type(value).__name__}")
    return value


def check_number(value: object, name: str) -> float:
    """Return a finite number as a `float`; a `bool` is no number."""
    if type(value) is not float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise InvalidRequestError(f"{name} must be a number, not {type(value).__name__}")
        try:
            value = float(value)
        except OverflowError:
            raise InvalidRequestError(f"{name} must be finite") from None
    if not math.isfinite(value):
        raise InvalidRequestError(f"{name} must be finite")
    return value


def check_unit(value: object, name: str) -> float | None:
    """Return a number from 0 to 1, or `None`."""
    if value is None:
        return None
    number = check_number(value, name)
    if not 0.0 <= number <= 1.0:
        raise InvalidRequestError(f"{name} must be between 0 and 1, not {number:g}")
    return number


def check_timeout(value: object) -> float | None:
    """Return a time limit in seconds (above 0, finite), or `None` for no limit."""
    if value is None:
        return None
    seconds = check_number(value, "timeout")
    if seconds <= 0:
        raise InvalidRequestError(f"timeout must be above 0 seconds, not {seconds:g}")
    return seconds


def check_limit(value: object, maximum: int, name: str = "limit", *, minimum: int = 1) -> int:
    """Return a whole number from `minimum` to `maximum`; a `bool` is no number."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None:
        raise InvalidRequestError(f"{name} must be a whole number, not {type(value).__name__}")
    if not minimum <= number <= maximum:
        raise InvalidRequestError(f"{name} must be between {minimum} and {maximum}")
    return number


def check_token_budget(value: object) -> int:
    """Return the size of a context in tokens, from 1 to 1,000,000."""
    return check_limit(value, MAX_TOKEN_BUDGET, "token_budget")


def check_version(value: object, name: str = "if_version") -> int:
    """Return the number of a version, from 1."""
    return check_limit(value, MAX_VERSION, name)


def check_flag(value: object, name: str) -> bool:
    """Return a `bool`; nothing else counts as one."""
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def check_callable(value: object, name: str) -> None:
    """Check that an optional function is one."""
    if value is not None and not callable(value):
        raise InvalidRequestError(f"{name} must be a function")


def check_choice(value: object, choices: Iterable[str], name: str) -> str:
    """Return one of the `choices`."""
    allowed = tuple(choices)
    if not isinstance(value, str) or value not in allowed:
        meant = did_you_mean(closest(value, allowed)) if isinstance(value, str) else ""
        raise InvalidRequestError(f"{name} must be one of {', '.join(allowed)}{meant}")
    return str.__str__(value)


def check_time(value: object, name: str) -> datetime | None:
    """Return a point in time in UTC, or `None`.

    Args:
        value: A timezone-aware datetime, or ISO 8601 text with an offset.
        name: What to call it in the error.

    Raises:
        InvalidRequestError: It is neither, has no offset, or lies outside the years 1 to 9999.
    """
    if value is None:
        return None
    moment = _from_text(value, name) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise InvalidRequestError(f"{name} must be a datetime or ISO 8601 text, not {type(value).__name__}")
    if moment.tzinfo is UTC and type(moment) is datetime:
        return moment
    try:
        if moment.utcoffset() is None:
            raise InvalidRequestError(f"{name} must be timezone-aware: give it an offset such as +00:00")
        utc = moment.astimezone(UTC)
        # A subclass (pandas, frozen clocks) becomes a plain datetime; one that is no time at all fails here.
        return datetime.combine(utc.date(), utc.time(), UTC)
    except InvalidRequestError:  # which is a ValueError too
        raise
    except (OverflowError, ValueError, TypeError):
        raise InvalidRequestError(f"{name} must lie between the years 1 and 9999 in UTC") from None


def check_window(valid_from: datetime | None, valid_to: datetime | None) -> None:
    """Check that a memory is valid for some time at all.

    Raises:
        InvalidRequestError: `valid_to` is not after `valid_from`.
    """
    if valid_from is not None and valid_to is not None and valid_from >= valid_to:
        raise InvalidRequestError("valid_to must be later than valid_from")


def check_tags(value: object, name: str = "tags") -> tuple[str, ...] | None:
    """Return up to 100 labels, each not blank and at most 200 characters, without repetitions, or `None`."""
    if value is None:
        return None
    tags = _collection(value, name, MAX_TAGS)
    return tuple(dict.fromkeys(check_text(tag, f"{name}[{i}]", MAX_TAG) for i, tag in enumerate(tags)))


def check_supersedes(value: object) -> tuple[str, ...] | None:
    """Return up to 100 ids of at most 768 bytes each without repetitions, or `None`."""
    if value is None:
        return None
    ids = check_ids(value, "supersedes", MAX_SUPERSEDES)
    return tuple(check_size(id, f"supersedes[{i}]") for i, id in enumerate(ids))


def check_ids(value: object, name: str = "ids", maximum: int = 10_000) -> tuple[str, ...]:
    """Return a collection of ids without repetitions, in the order given."""
    ids = _collection(value, name, maximum)
    return tuple(dict.fromkeys(check_id(item, f"{name}[{i}]") for i, item in enumerate(ids)))


def _collection(value: object, name: str, maximum: int) -> Sequence[object] | Set[object]:
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence | Set):
        raise InvalidRequestError(f"{name} must be a list of strings, not {type(value).__name__}")
    if len(value) > maximum:
        raise InvalidRequestError(f"{name} must have at most {maximum} entries, not {len(value)}")
    return value


def _from_text(value: str, name: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise InvalidRequestError(f"{name} must be ISO 8601 text such as 2026-01-31T12:00:00+00:00") from None
