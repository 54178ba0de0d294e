"""Builds the memories that are to be stored, and the changes to them, out of what the caller gave."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from openmem._model.checks import (
    MAX_NAME,
    MAX_TAG,
    check_choice,
    check_content,
    check_flag,
    check_key,
    check_owner,
    check_size,
    check_supersedes,
    check_tags,
    check_text,
    check_time,
    check_unit,
    check_user_id,
    check_version,
    check_window,
)
from openmem._model.requests import Change, Draft, GivenVector
from openmem._model.scopes import parse_scope
from openmem._model.strict_json import is_nested_within
from openmem._rules.metadata import check_metadata
from openmem._text.misspellings import closest, did_you_mean, near_miss, shown
from openmem.errors import InvalidRequestError
from openmem.types import UNSET, MemoryInput, MemoryRecord, MemorySource

EXTENSIONS: Final = "extensions"
"""The name under which a `Change` holds new values of the caller's own fields."""
MAX_EXTENSIONS: Final = 1_000_000
MAX_MEMBERS: Final = 1_000
"""The fields of the caller's own that an object may have under names that do not begin with `x-`."""
MAX_REF: Final = 2_000
MAX_DEPTH: Final = 64

_MANY_PARTS: Final = 2_000
_FIELDS: Final = frozenset(MemoryInput.model_fields)
_CHANGED: Final = (
    *("content", "scope", "tags", "confidence", "valid_to", "supersedes", "metadata", "metadata_patch"),
    *("searchable", "embedding", "user_id"),
)
_OF_THE_STORE: Final = frozenset(MemoryRecord.model_fields) - _FIELDS
_ARGUMENTS: Final = frozenset({"if_version", "timeout", "extra", "extensions", "metadata_patch"})
_SOURCE_TYPES: Final = ("extracted", "explicit", "imported")
_NO_EXTENSIONS: Final[Mapping[str, Any]] = {}
_ANY_TERMS: Final = (False, None)
_NUL_IN_JSON: Final = "\\u0000"


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
    members: Mapping[str, object] | None = None,
    metadata: object = None,
    if_absent: object = False,
    if_version: object = None,
    searchable: object = True,
    embedding: object = None,
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
        members: Such values under any names; they are kept with the others.
        metadata: A mapping of values that JSON can hold.
        if_absent: Whether it is stored only if no memory has its key.
        if_version: The version that the memory with its key must have.
        searchable: Whether searches and contexts may find it.
        embedding: A vector of the content and the model that made it.

    Raises:
        InvalidRequestError: One of them breaks the contract; the message names it.
    """
    own = _own_fields(extensions, members, _FIELDS) if extensions or members else _NO_EXTENSIONS
    start = None if valid_from is None else check_time(valid_from, "valid_from")
    end = None if valid_to is None else check_time(valid_to, "valid_to")
    check_window(start, end)
    terms = _ANY_TERMS if if_absent is False and if_version is None else _check_terms(if_absent, if_version, key)
    return Draft(
        check_content(content),
        check_size(check_user_id(user_id), "user_id"),
        None if scope is None else parse_scope(scope),
        None if tags is None else check_tags(tags),
        None if source is None else _source(source),
        None if confidence is None else check_unit(confidence, "confidence"),
        start,
        end,
        None if supersedes is None else check_supersedes(supersedes),
        None if key is None else check_key(key),
        own,
        metadata=None if metadata is None else check_metadata(metadata),
        if_absent=terms[0],
        if_version=terms[1],
        searchable=searchable is True or check_flag(searchable, "searchable"),
        embedding=None if embedding is None else _embedding(embedding, searchable),
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
            drafts.append(_draft_of(item, owner, index))
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
    extensions: Mapping[str, object] | None = None,
    members: Mapping[str, object] | None = None,
    metadata: object = UNSET,
    metadata_patch: object = UNSET,
    searchable: object = UNSET,
    embedding: object = None,
) -> Change:
    """Return the change that an update makes; `UNSET` leaves a field alone and `None` clears it.

    Args:
        content: The new text.
        scope: The new scope.
        tags: The new tags.
        confidence: The new confidence.
        valid_to: The new end of validity.
        supersedes: The new list of ids.
        if_version: The version that the memory must have.
        extensions: New values of fields named `x-…`.
        members: New values of fields of the caller's own, under any names.
        metadata: The new metadata.
        metadata_patch: Members of the metadata that change, as a JSON Merge Patch.
        searchable: Whether searches and contexts may find it.
        embedding: A vector of the new content and the model that made it.

    Raises:
        InvalidRequestError: A value breaks the contract, the content would be cleared, or metadata are given twice.
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
    if metadata is not UNSET:
        if metadata_patch is not UNSET:
            raise InvalidRequestError("metadata and metadata_patch exclude each other")
        fields["metadata"] = None if metadata is None else check_metadata(metadata)
    elif metadata_patch is not UNSET:
        fields["metadata_patch"] = check_metadata(metadata_patch, "metadata_patch")
    if searchable is not UNSET:
        fields["searchable"] = check_flag(searchable, "searchable")
    if embedding is not None and embedding is not UNSET:
        if content is UNSET:
            raise InvalidRequestError("embedding is given with the content that it is of")
        fields["embedding"] = _embedding(embedding, searchable)
    if extensions or members:
        fields[EXTENSIONS] = _own_fields(extensions, members, _CHANGED)
    return Change(fields, None if if_version is None else check_version(if_version))


def check_extensions(value: Mapping[Any, object], name: str = "extensions") -> dict[str, Any]:
    """Return a copy of extension fields, as JSON would give them back.

    Args:
        value: Up to 1,000,000 characters of JSON, at most 64 levels deep, under names that start with `x-`.
        name: What to call the mapping in the error.

    Raises:
        InvalidRequestError: A name is wrong, or a value is not finite, not Unicode or not JSON.
    """
    for key in value:
        if not isinstance(key, str) or not key.startswith("x-") or key == "x-":
            meant = did_you_mean(closest(str(key), sorted(_FIELDS | _ARGUMENTS))) or ": no argument or field;"
            raise InvalidRequestError(f"{shown(key)} is unknown in {name}{meant} your own are named x-…")
    return _json_fields(value, name)


def check_members(value: Mapping[Any, object], known: Iterable[str], name: str = "extensions") -> dict[str, Any]:
    """Return a copy of the members of an object that are the caller's own, as JSON would give them back.

    Args:
        value: The same as for `check_extensions`, under any names.
        known: The names that there are, of which none may be meant.
        name: What to call the mapping in the error.

    Raises:
        InvalidRequestError: A name is a near miss of a known one, or is set by the store; or a value is wrong.
    """
    names = [*known]
    place = "" if name == "extensions" else f" in {name}"
    if len(value) > MAX_MEMBERS:
        raise InvalidRequestError(f"{name} must have at most {MAX_MEMBERS} extra fields, not {len(value)}")
    for key in value:
        if not isinstance(key, str) or key == "x-" or key.startswith("__"):
            raise InvalidRequestError(f"{shown(key)} is unknown in {name}: no name for an extra field, as x-notes is")
        meant = f"x-{key[2:]}" if key.startswith("X-") else near_miss(key, names)
        if meant is not None:
            raise InvalidRequestError(
                f"{shown(key)} is unknown{place}: did you mean {meant!r}? An extra field may be named 'x-{key}'"
            )
    return _json_fields(value, name)


def _embedding(value: object, searchable: object) -> GivenVector:
    from openmem._embedding.ready import check_embedding  # here: it is seldom needed

    if searchable is False:
        raise InvalidRequestError("embedding: a memory that is not searchable has no vector")
    return check_embedding(value)


def _own_fields(
    extensions: Mapping[str, object] | None, members: Mapping[Any, object] | None, known: Iterable[str]
) -> dict[str, Any]:
    own = check_extensions(extensions) if extensions else {}
    for name in members or ():
        if name in _OF_THE_STORE:
            raise InvalidRequestError(f"{shown(name)} is unknown as an extra field: the store sets it")
        if name in _ARGUMENTS:  # who puts it here means the argument, and would not notice that it does nothing
            raise InvalidRequestError(f"{shown(name)} is unknown as an extra field: it is an argument")
        if name in _FIELDS:
            raise InvalidRequestError(f"{shown(name)} is unknown as an extra field: it cannot be given here")
    if not members:
        return own
    named = {name: value for name, value in members.items() if isinstance(name, str) and name.startswith("x-")}
    free = {name: value for name, value in members.items() if name not in named}
    return own | check_extensions(named) | check_members(free, known)


def _json_fields(value: Mapping[Any, object], name: str) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    size = 0
    for key, item in value.items():
        check_text(key, "the name of an extension", MAX_NAME, control=False)
        text, copy[str.__str__(key)] = _json_copy(item, shown(key))
        size += len(text)
        if size > MAX_EXTENSIONS:
            raise InvalidRequestError(f"{name} must have at most {MAX_EXTENSIONS} characters of JSON")
    return copy


def is_large(*values: object) -> bool:
    """Return whether values that JSON can hold have so many parts that checking them takes more than milliseconds."""
    parts = [value for value in values if value and isinstance(value, (dict, list, tuple))]
    count = len(values)
    while parts:
        below: list[Any] = []
        for part in parts:
            count += len(part)
            if count > _MANY_PARTS:
                return True
            inner = part.values() if isinstance(part, dict) else part
            below += [value for value in inner if value and isinstance(value, (dict, list, tuple))]
        parts = below
    return count > _MANY_PARTS


def _json_copy(value: object, name: str) -> tuple[str, Any]:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        copy = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{name} must hold finite JSON values: {error}") from None
    if not is_nested_within(copy, MAX_DEPTH):
        raise InvalidRequestError(f"{name} must be nested at most {MAX_DEPTH} levels deep")
    if _is_unstorable(text):
        raise InvalidRequestError(f"{name} must not contain NUL or lone surrogates")
    return text, copy


def _is_unstorable(text: str) -> bool:
    """Return whether JSON holds NUL or lone surrogates.

    No expression looks for them: in a megabyte that takes 40 ms, for which no other thread runs.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return True
    at = text.find(_NUL_IN_JSON)
    while at >= 0:
        first = at
        while text[first - 1] == "\\":  # JSON with an escape does not begin with it, but with a quotation mark
            first -= 1
        if (at - first) % 2 == 0:  # else the backslash is one that is written, and u0000 follows it
            return True
        at = text.find(_NUL_IN_JSON, at + 1)
    return False


def _draft_of(item: object, owner: str | None, index: int) -> Draft:
    fields = item if type(item) is dict else _fields_of(item)
    extra = fields.keys() - _FIELDS
    get = fields.get
    user_id = get("user_id")
    if extra and get("content") is None:
        raise _without_content(extra)
    draft = make_draft(
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
        None,
        {name: fields[name] for name in fields if name in extra} if extra else None,
        get("metadata"),
        get("if_absent", False),
        get("if_version"),
        get("searchable", True),
        get("embedding"),
    )
    if draft.if_absent or draft.if_version is not None:
        draft.index = index
    return draft


def _check_terms(if_absent: object, if_version: object, key: object) -> tuple[bool, int | None]:
    absent = if_absent is not None and check_flag(if_absent, "if_absent")
    version = None if if_version is None else check_version(if_version)
    if absent and version is not None:
        raise InvalidRequestError("if_absent and if_version exclude each other: give one of them")
    if (absent or version is not None) and key is None:
        raise InvalidRequestError(f"{'if_absent' if absent else 'if_version'} needs a key, which says what is meant")
    return absent, version


def _without_content(names: Iterable[object]) -> InvalidRequestError:
    """Return the error for an item without a text: one of its unknown names must be the text, misspelt."""
    unknown = sorted(map(str, names))
    meant = next((name for name in unknown if closest(name, ["content"])), None)
    if meant is not None:
        return InvalidRequestError(f"{shown(meant)} is unknown{did_you_mean('content')} content is missing")
    return InvalidRequestError(f"content must be a string; it is missing, and unknown is {shown(unknown[0])}")


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
    return source | check_members(extra, MemorySource.model_fields, "source") if extra else source
