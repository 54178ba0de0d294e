"""Builds the memories that are to be stored, and the changes to them, out of what the caller gave."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from openmem.checks import (
    MAX_NAME,
    MAX_TAG,
    check_choice,
    check_content,
    check_key,
    check_owner,
    check_supersedes,
    check_tags,
    check_text,
    check_time,
    check_unit,
    check_user_id,
    check_version,
    check_window,
)
from openmem.errors import InvalidRequestError
from openmem.requests import Change, Draft
from openmem.scopes import parse_scope
from openmem.strict_json import is_nested_within
from openmem.types import UNSET, MemoryInput, MemorySource

MAX_EXTENSIONS: Final = 1_000_000
MAX_REF: Final = 2_000
MAX_DEPTH: Final = 64

_MANY_PARTS: Final = 2_000
_FIELDS: Final = frozenset(MemoryInput.model_fields)
_SOURCE_TYPES: Final = ("extracted", "explicit", "imported")
_NO_EXTENSIONS: Final[Mapping[str, Any]] = {}
_UNSTORABLE_JSON: Final = re.compile(r"[\ud800-\udfff]|(?<!\\)(?:\\\\)*\\u0000")


def make_draft(
    content: object,
    user_id: object,
    scope: object = None,
    tags: object = None,
    source: object = None,
    confidence: object = None,
    valid_from: object = None,
    valid_to: object = None,
    supersedes: object = None,
    key: object = None,
    extensions: Mapping[str, object] | None = None,
) -> Draft:
    """Return a memory that is to be stored.

    Args:
        content: The text, at most 100,000 characters.
        user_id: Whose memory it is.
        scope: A path such as `coding/preferences`.
        tags: Up to 100 labels; repetitions are dropped.
        source: A `MemorySource`, or a mapping with `app`, `type` and `ref`.
        confidence: From 0 to 1.
        valid_from: Aware datetime or ISO 8601 text with an offset.
        valid_to: The same, later than `valid_from`.
        supersedes: Up to 100 ids of memories that this one replaces.
        key: The caller's own name of the memory.
        extensions: Values that JSON can hold, under names that start with `x-`.

    Raises:
        InvalidRequestError: One of them breaks the contract; the message names it.
    """
    start = None if valid_from is None else check_time(valid_from, "valid_from")
    end = None if valid_to is None else check_time(valid_to, "valid_to")
    check_window(start, end)
    return Draft(
        check_content(content),
        check_user_id(user_id),
        None if scope is None else parse_scope(scope),
        None if tags is None else check_tags(tags),
        None if source is None else _source(source),
        None if confidence is None else check_unit(confidence, "confidence"),
        start,
        end,
        None if supersedes is None else check_supersedes(supersedes),
        None if key is None else check_key(key),
        check_extensions(extensions) if extensions else _NO_EXTENSIONS,
    )


def make_drafts(items: Sequence[object], user_id: object = None, start: int = 0) -> list[Draft]:
    """Return the memories that the items describe.

    Args:
        items: Mappings with the arguments of `add`, or `MemoryInput` objects.
        user_id: Whose memories they are, for items that do not say so.
        start: The number of the first item, for errors.

    Raises:
        InvalidRequestError: An item breaks the contract. The message starts with `items[3]:` and
            `details["index"]` holds the number.
    """
    owner = check_owner(user_id)
    drafts = []
    for index, item in enumerate(items, start):
        try:
            drafts.append(_draft_of(item, owner))
        except InvalidRequestError as error:
            raise InvalidRequestError(f"items[{index}]: {error.message}", details={"index": index}) from None
    return drafts


def make_change(
    content: object = UNSET,
    scope: object = UNSET,
    tags: object = UNSET,
    confidence: object = UNSET,
    valid_to: object = UNSET,
    supersedes: object = UNSET,
    if_version: object = None,
) -> Change:
    """Return the change that an update makes; `UNSET` leaves a field alone and `None` clears it.

    Raises:
        InvalidRequestError: A value breaks the contract, or the content would be cleared.
    """
    fields: dict[str, Any] = {}
    if content is not UNSET:
        if content is None:
            raise InvalidRequestError("content cannot be cleared")
        fields["content"] = check_content(content)
    if scope is not UNSET:
        fields["scope"] = None if scope is None else parse_scope(scope)
    if tags is not UNSET:
        fields["tags"] = check_tags(tags)
    if confidence is not UNSET:
        fields["confidence"] = check_unit(confidence, "confidence")
    if valid_to is not UNSET:
        fields["valid_to"] = check_time(valid_to, "valid_to")
    if supersedes is not UNSET:
        fields["supersedes"] = check_supersedes(supersedes)
    return Change(fields, None if if_version is None else check_version(if_version))


def check_extensions(value: Mapping[Any, object], name: str = "extensions") -> dict[str, Any]:
    """Return a copy of extension fields, as JSON would give them back.

    Args:
        value: Up to 1,000,000 characters of JSON, at most 64 levels deep, under names that start with `x-`.
        name: What to call the mapping in the error.

    Raises:
        InvalidRequestError: A name is wrong, or a value is not finite, not Unicode or not JSON.
    """
    copy: dict[str, Any] = {}
    size = 0
    for key, item in value.items():
        if not isinstance(key, str) or not key.startswith("x-") or key == "x-":
            raise InvalidRequestError(
                f"{_shown(key)} is unknown in {name}: no argument or field; your own are named x-…"
            )
        check_text(key, "the name of an extension", MAX_NAME, control=False)
        text, copy[str.__str__(key)] = _json_copy(item, _shown(key))
        size += len(text)
        if size > MAX_EXTENSIONS:
            raise InvalidRequestError(f"{name} must have at most {MAX_EXTENSIONS} characters of JSON")
    return copy


def is_large(*values: object) -> bool:
    """Return whether values that JSON can hold have so many parts that checking them takes more than milliseconds."""
    parts: list[object] = list(values)
    count = 0
    while parts:
        count += len(parts)
        if count > _MANY_PARTS:
            return True
        below: list[object] = []
        for part in parts:
            inner = part.values() if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else ()
            if len(inner) > _MANY_PARTS:
                return True
            below += inner
        parts = below
    return False


def _json_copy(value: object, name: str) -> tuple[str, Any]:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        copy = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{name} must hold finite JSON values: {error}") from None
    if not is_nested_within(copy, MAX_DEPTH):
        raise InvalidRequestError(f"{name} must be nested at most {MAX_DEPTH} levels deep")
    if _UNSTORABLE_JSON.search(text):
        raise InvalidRequestError(f"{name} must not contain NUL or lone surrogates")
    return text, copy


def _draft_of(item: object, owner: str | None) -> Draft:
    fields = item if type(item) is dict else _fields_of(item)
    extra = fields.keys() - _FIELDS
    get = fields.get
    user_id = get("user_id")
    return make_draft(
        get("content"),
        owner if user_id is None else user_id,
        get("scope"),
        get("tags"),
        get("source"),
        get("confidence"),
        get("valid_from"),
        get("valid_to"),
        get("supersedes"),
        get("key"),
        {name: fields[name] for name in extra} if extra else None,
    )


def _fields_of(item: object) -> Mapping[str, Any]:
    if isinstance(item, MemoryInput):
        return {**vars(item), **(item.model_extra or {})}
    if not isinstance(item, Mapping):
        raise InvalidRequestError(f"must be a mapping or a MemoryInput, not {type(item).__name__}")
    return dict(item)


def _source(value: object) -> dict[str, Any]:
    given = value.model_dump(exclude_none=True, warnings=False) if isinstance(value, MemorySource) else value
    if not isinstance(given, Mapping):
        raise InvalidRequestError(f"source must be a MemorySource or a mapping, not {type(value).__name__}")
    source: dict[str, Any] = {}
    if given.get("app") is not None:
        source["app"] = check_text(given["app"], "source.app", MAX_TAG)
    if given.get("type") is not None:
        source["type"] = check_choice(given["type"], _SOURCE_TYPES, "source.type")
    if given.get("ref") is not None:
        source["ref"] = check_text(given["ref"], "source.ref", MAX_REF)
    extra = {name: given[name] for name in given if name not in MemorySource.model_fields}
    return source | check_extensions(extra, "source") if extra else source


def _shown(name: object) -> str:
    text = str(name)
    return ascii(text) if len(text) <= 80 else f"{text[:80]!a}…"
