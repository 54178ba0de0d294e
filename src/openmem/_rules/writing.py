"""The rules of writes that every store keeps, whatever language it speaks: what becomes of a memory, or is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from openmem._embedding.batches import mark_cut
from openmem._model.access import Access, key_denied
from openmem._model.checks import check_window
from openmem._model.requests import Change, Draft
from openmem._model.unchecked import record_of_values
from openmem._rules.metadata import patched
from openmem.errors import AlreadyExistsError, InvalidRequestError, VersionConflictError
from openmem.types import MemoryRecord


def record_of(draft: Draft, id_: str, created_at: datetime, model: str | None) -> MemoryRecord:
    """Return the record that storing a draft makes; `model` is the one of its vector, if it has one."""
    return record_of_values(
        id_,
        draft.content,
        draft.user_id,
        created_at,
        draft.scope,
        None if draft.tags is None else list(draft.tags),
        draft.source,
        draft.confidence,
        draft.valid_from,
        draft.valid_to,
        None if draft.supersedes is None else list(draft.supersedes),
        model,
        draft.updated_at,
        draft.version,
        draft.key,
        draft.extensions,
        draft.metadata,
        draft.searchable,
    )


def updated(record: MemoryRecord, change: Change) -> Draft | None:
    """Return what a change makes of a memory, or `None` if it changes nothing.

    Raises:
        VersionConflictError: The memory is not at the version that the change is for.
        InvalidRequestError: The memory would supersede itself, or end before it begins.
    """
    if change.if_version is not None and change.if_version != record.version:
        raise VersionConflictError(
            f"the memory is at version {record.version}, not {change.if_version}",
            details={"version": record.version},
        )
    if not change.fields:
        return None
    check_not_itself(record.id, change.fields.get("supersedes"))
    draft = changed(record, change.fields)
    if "content" in change.fields:
        draft = mark_cut([draft], {0} if change.cut else ())[0]
    check_window(draft.valid_from, draft.valid_to)
    return draft


def changed(record: MemoryRecord, changes: Mapping[str, Any]) -> Draft:
    """Return the draft of a stored record with some fields changed, those of its extensions one by one."""
    extensions = {**(record.model_extra or {}), **changes.get("extensions", {})}
    fields: dict[str, Any] = {
        "content": record.content,
        "scope": record.scope,
        "tags": _frozen(record.tags),
        "confidence": record.confidence,
        "valid_to": record.valid_to,
        "supersedes": _frozen(record.supersedes),
        "metadata": record.metadata,
        "searchable": record.searchable,
        "extensions": extensions,
    } | {name: value for name, value in changes.items() if name not in ("extensions", "metadata_patch")}
    if "metadata_patch" in changes:
        fields["metadata"] = patched(record.metadata, changes["metadata_patch"])
    cleared = [name for name, value in changes.get("extensions", {}).items() if value is None]
    for name in cleared:
        extensions.pop(name)
    return Draft(
        user_id=record.user_id,
        source=record.source.model_dump(exclude_none=True) if record.source else None,
        valid_from=record.valid_from,
        key=record.key,
        **fields,
    )


def with_content(change: Change, stored: MemoryRecord) -> Change:
    """Return a change of a stored memory that gives it its own text again: a vector is to be made of it.

    It is for the version that was read, so that the text is still that one.
    """
    version = stored.version if change.if_version is None else change.if_version
    return replace(change, fields={**change.fields, "content": stored.content}, if_version=version)


def check_not_itself(id_: str, supersedes: Collection[str] | None) -> None:
    """Raise `InvalidRequestError` if a memory is to supersede itself."""
    if supersedes and id_ in supersedes:
        raise InvalidRequestError("supersedes: a memory cannot supersede itself")


def check_takes_over(known: MemoryRecord, draft: Draft, access: Access | None) -> None:
    """Check that a draft may take the place of the memory that has its key.

    Raises:
        ScopeDeniedError: The caller may not write that memory.
        AlreadyExistsError: It is only to be stored where there is none.
        VersionConflictError: It is only to replace another version.
        InvalidRequestError: The draft supersedes it.
    """
    if access is not None and not access.may("write", known.scope):
        raise key_denied()
    if draft.if_absent:
        details = {"id": known.id, "version": known.version}
        raise AlreadyExistsError(
            f"{_of(draft)}a memory has the key {draft.key!r} already", details=details | _index_of(draft)
        )
    if draft.if_version not in (None, known.version):
        raise VersionConflictError(
            f"{_of(draft)}the memory is at version {known.version}, not {draft.if_version}",
            details={"version": known.version, **_index_of(draft)},
        )
    check_not_itself(known.id, draft.supersedes)


def check_may_be_new(draft: Draft) -> None:
    """Check that a draft may be stored where no memory has its key.

    Raises:
        VersionConflictError: It is only to replace a version of one.
    """
    if draft.if_version is not None:
        message = f"{_of(draft)}no memory has the key {draft.key!r}, so none is at version {draft.if_version}"
        raise VersionConflictError(message, details=_index_of(draft) or None)


def _of(draft: Draft) -> str:
    return "" if draft.index is None else f"items[{draft.index}]: "


def _index_of(draft: Draft) -> dict[str, Any]:
    return {} if draft.index is None else {"index": draft.index}


def split_by_key(
    drafts: Sequence[Draft], positions: Iterable[int], stored: Collection[str]
) -> tuple[list[int], list[int]]:
    """Return the positions of drafts that are new, and of those whose key a memory has: stored, or of a draft before.

    Args:
        drafts: Drafts of one user, and maybe of others.
        positions: Those of that user's.
        stored: The keys of them that memories of the user have.

    Raises:
        VersionConflictError: A new one is only to replace a version of another.
    """
    seen = set(stored)
    fresh: list[int] = []
    known: list[int] = []
    for position in positions:
        key = drafts[position].key
        if key is None:
            fresh.append(position)
        elif key in seen:
            known.append(position)
        else:
            check_may_be_new(drafts[position])
            fresh.append(position)
            seen.add(key)
    return fresh, known


def app_of(draft: Draft) -> str | None:
    """Return the app that the source of a draft names."""
    app = (draft.source or {}).get("app")
    return app if isinstance(app, str) else None


def by_user(user_ids: Sequence[str]) -> dict[str, list[int]]:
    """Return the positions of each user, users in the order in which they come."""
    groups: dict[str, list[int]] = {}
    for position, user_id in enumerate(user_ids):
        groups.setdefault(user_id, []).append(position)
    return groups


def _frozen(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
