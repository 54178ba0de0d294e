"""JSON in the body of a request. A wrong one is a 400, one of another type a 415."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from openmem._model.strict_json import JsonError, load_json
from openmem._protocol.refusals import UnsupportedMediaError
from openmem._text.misspellings import closest, did_you_mean, shown
from openmem.errors import InvalidRequestError

_LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"})


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds.

    Raises:
        InvalidRequestError: It is no JSON object in UTF-8, names a member twice, is nested too deeply, or holds
            NaN, Infinity, or a number that is too long.
    """
    try:
        value = json.loads(body.decode(), object_pairs_hook=_object_of, parse_constant=_refuse)
    except InvalidRequestError:
        raise
    except UnicodeDecodeError:
        raise InvalidRequestError("the body must be UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise InvalidRequestError("the body is nested too deeply") from None
    except ValueError:
        raise InvalidRequestError("the body holds a number that is too long") from None
    if not isinstance(value, dict):
        raise InvalidRequestError("the body must be a JSON object")
    return value


def json_of_text(text: str, name: str) -> Any:
    """Return the value of a JSON text that stands elsewhere than in a body.

    Args:
        text: The text.
        name: What to call it in the error.

    Raises:
        InvalidRequestError: It is no JSON.
    """
    try:
        return load_json(text)
    except JsonError as error:
        raise InvalidRequestError(f"{name} {error}") from None


def check_json_type(content_type: str | None, encoding: str | None) -> None:
    """Check that a body is said to be JSON, or is not said to be anything.

    Raises:
        UnsupportedMediaError: It is something else, compressed, or in another character set.
    """
    kind = _kind_of(content_type, encoding)
    if kind and kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMediaError("the body must be application/json")


def check_lines_type(content_type: str | None, encoding: str | None) -> None:
    """Check that a body is said to be lines of JSON, or is not said to be anything."""
    kind = _kind_of(content_type, encoding)
    if kind and kind not in _LINES:
        raise UnsupportedMediaError("the body must be application/x-ndjson")


def refuse_unknown(body: Mapping[str, Any], known: frozenset[str]) -> None:
    """Check that a body has no members but those known.

    Raises:
        InvalidRequestError: Names the first unknown member, and the one that may be meant.
    """
    for name in body.keys() - known:
        meant = did_you_mean(closest(name, sorted(known))) or f": the body may hold {', '.join(sorted(known))}"
        raise InvalidRequestError(f"{shown(name)} is unknown{meant}")


def text_member(body: Mapping[str, Any], name: str) -> str | None:
    """Return a member that is a text, or `None` if it is missing or null.

    Raises:
        InvalidRequestError: It is something else.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a string, not {type(value).__name__}")
    return value


def as_whole(value: Any) -> Any:
    """Return 1 for 1.0, which is the same number to JSON, and anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _kind_of(content_type: str | None, encoding: str | None) -> str:
    if encoding and encoding.strip().lower() != "identity":
        raise UnsupportedMediaError("the body must not be compressed")
    kind, _, rest = (content_type or "").partition(";")
    charset = rest.lower().partition("charset=")[2].partition(";")[0].strip(' "')
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaError("the body must be UTF-8")
    return kind.strip().lower()


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidRequestError("the body names a member of an object twice")
    return value


def _refuse(constant: str) -> NoReturn:
    raise InvalidRequestError(f"the body is not JSON: {constant} is no JSON value")
