"""The rules of writes that every store keeps: what a change makes of a memory, who has a key, what is new."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from openmem._model.access import Access
from openmem._model.requests import Change, Draft
from openmem._model.scopes import parse_grant
from openmem._rules.writing import (
    app_of,
    by_user,
    changed,
    check_may_be_new,
    check_takes_over,
    record_of,
    split_by_key,
    updated,
    with_content,
)
from openmem._sql.steps import Steps
from openmem._sql.writing import Incoming, Model, split_import, stored_before
from openmem.errors import AlreadyExistsError, InvalidRequestError, ScopeDeniedError, VersionConflictError
from openmem.types import MemoryRecord, MemorySource

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DRAFT = Draft("tea", "ann", scope="work/tea", tags=("drink",), source={"app": "kit"}, key="k", extensions={"x-a": 1})


def stored(draft: Draft = DRAFT) -> MemoryRecord:
    return record_of(draft, "m1", NOW, None)


def test_record_of_a_draft_is_what_checked_values_make() -> None:
    record = record_of(replace(DRAFT, valid_from=NOW, supersedes=("m0",), confidence=0.5), "m1", NOW, "model")
    assert record == MemoryRecord.model_validate(record.model_dump())
    assert record.source == MemorySource(app="kit")
    assert (record.tags, record.supersedes, record.embedding_model) == (["drink"], ["m0"], "model")


def test_record_shares_no_list_with_its_draft() -> None:
    one, two = stored(), stored()
    assert one.tags is not None
    one.tags.append("other")
    assert two.tags == ["drink"]
    assert DRAFT.extensions == {"x-a": 1}


def test_change_for_another_version_is_a_conflict_before_anything_else() -> None:
    with pytest.raises(VersionConflictError, match="at version 1, not 2") as caught:
        updated(stored(), Change({"supersedes": ("m1",)}, if_version=2))
    assert caught.value.details == {"version": 1}


def test_change_that_names_nothing_makes_nothing_of_a_memory() -> None:
    assert updated(stored(), Change({}, if_version=1)) is None


def test_change_keeps_what_it_does_not_name() -> None:
    draft = updated(stored(), Change({"content": "coffee", "extensions": {"x-a": None, "x-b": 2}}))
    assert draft == replace(DRAFT, content="coffee", extensions={"x-b": 2})


@pytest.mark.parametrize(
    "fields", [{"supersedes": ("m0", "m1")}, {"valid_to": NOW - timedelta(days=1)}], ids=["itself", "window"]
)
def test_change_into_what_cannot_be_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError):
        updated(stored(replace(DRAFT, valid_from=NOW)), Change(fields))


def test_draft_takes_the_place_of_the_memory_with_its_key_only_where_the_caller_may_write_that() -> None:
    may, may_not = (Access("app", (parse_grant(grant),)) for grant in ("write:work/*", "write:home"))
    check_takes_over(stored(), DRAFT, None)
    check_takes_over(stored(), DRAFT, may)
    with pytest.raises(ScopeDeniedError, match="key names a memory outside"):
        check_takes_over(stored(), DRAFT, may_not)
    with pytest.raises(InvalidRequestError, match="itself"):
        check_takes_over(stored(), replace(DRAFT, supersedes=("m1",)), may)


@pytest.mark.parametrize(("index", "place"), [(None, ""), (3, "items[3]: ")])
def test_draft_takes_the_place_of_the_version_that_it_wants(index: int | None, place: str) -> None:
    known, where = stored(), {} if index is None else {"index": index}
    check_takes_over(known, replace(DRAFT, if_version=1, index=index), None)
    with pytest.raises(AlreadyExistsError) as exists:
        check_takes_over(known, replace(DRAFT, if_absent=True, index=index), None)
    assert exists.value.message == f"{place}a memory has the key 'k' already"
    assert exists.value.details == {"id": "m1", "version": 1, **where}
    with pytest.raises(VersionConflictError) as conflict:
        check_takes_over(known, replace(DRAFT, if_version=2, index=index), None)
    assert conflict.value.message == f"{place}the memory is at version 1, not 2"
    assert conflict.value.details == {"version": 1, **where}


def test_caller_who_may_not_write_a_memory_does_not_learn_its_id() -> None:
    may_not = Access("app", (parse_grant("write:home"),))
    for terms in ({"if_absent": True}, {"if_version": 7}):
        with pytest.raises(ScopeDeniedError):
            check_takes_over(stored(), replace(DRAFT, **terms), may_not)


def test_draft_that_wants_a_version_is_never_new() -> None:
    drafts = [replace(DRAFT, key="a", if_absent=True), replace(DRAFT, key="b", if_version=2, index=1)]
    assert split_by_key(drafts, [0], ()) == ([0], [])
    assert split_by_key(drafts, [0, 1], {"b"}) == ([0], [1])
    with pytest.raises(VersionConflictError) as caught:
        split_by_key(drafts, [0, 1], {"a"})
    assert caught.value.message == "items[1]: no memory has the key 'b', so none is at version 2"
    assert caught.value.details == {"index": 1}
    with pytest.raises(VersionConflictError) as alone:
        check_may_be_new(replace(DRAFT, if_version=2))
    assert alone.value.details is None


def test_draft_is_known_by_a_key_that_is_stored_or_that_a_draft_before_it_has() -> None:
    drafts = [replace(DRAFT, key=key) for key in (None, "a", "b", "a", None, "c")]
    assert split_by_key(drafts, range(6), {"b"}) == ([0, 1, 4, 5], [2, 3])
    assert split_by_key(drafts, [3, 5], ()) == ([3, 5], [])


def test_imported_memory_conflicts_by_its_id_or_its_key() -> None:
    ids = ("m1", "m2", "m2", "m3", "m4")
    keys = (None, "a", None, "a", "b")
    items = [(Incoming[bytes](replace(DRAFT, key=key), id_), "spare") for id_, key in zip(ids, keys, strict=True)]
    fresh, conflicting = split_import(items, {"m1"}, {"b"})
    assert [item.id for item in fresh] == ["m2"]
    assert [item.id for item, _ in conflicting] == ["m1", "m2", "m3", "m4"]


def test_repeated_item_is_answered_by_its_id_or_by_the_state_that_it_made() -> None:
    drafts = [Draft("tea", "ann"), Draft("coffee", "ann", key="k"), Draft("milk", "ann", key="k"), Draft("new", "ann")]
    items = [Incoming[bytes](draft, f"m{number}") for number, draft in enumerate(drafts)]
    first = items[0].record(None, NOW)
    state = record_of(replace(drafts[1], updated_at=NOW), "older", NOW - timedelta(days=1), None)
    holder = state.model_copy(update={"content": "changed since"})

    def by_ids(ids: object) -> Steps[list[MemoryRecord]]:
        yield from ()
        assert ids == ["m0", "m1", "m2", "m3"]
        return [first]

    def by_key(key: str) -> Steps[tuple[MemoryRecord, list[MemoryRecord]]]:
        yield from ()
        return holder, [state]

    with pytest.raises(StopIteration) as end:
        next(stored_before(items, range(4), None, NOW, None, by_ids, by_key))
    assert end.value.value == {0: first, 1: holder}


def test_record_names_the_model_only_where_there_is_a_vector() -> None:
    model = Model("small", 4)
    assert Incoming(DRAFT, "m", b"1234").record(model, NOW).embedding_model == "small"
    assert Incoming[bytes](DRAFT, "m").record(model, NOW).embedding_model is None
    assert Incoming(DRAFT, "m", b"1234").record(None, NOW).embedding_model is None


def test_draft_of_a_record_has_all_of_it() -> None:
    full = replace(DRAFT, confidence=0.5, valid_from=NOW, valid_to=NOW + timedelta(days=1), supersedes=("m0",))
    assert changed(stored(full), {}) == full
    assert changed(stored(Draft("tea", "ann")), {}) == Draft("tea", "ann")


def test_changed_extensions_leave_the_change_as_it_was() -> None:
    changes = {"tags": None, "extensions": {"x-a": None, "x-c": 3}}
    draft = changed(stored(), changes)
    assert (draft.content, draft.tags, draft.scope, draft.extensions) == ("tea", None, "work/tea", {"x-c": 3})
    assert changes["extensions"] == {"x-a": None, "x-c": 3}


def test_new_text_says_whether_it_was_cut_and_an_old_one_keeps_what_it_said() -> None:
    cut = {"x-openmem": {"embedding_truncated": True}}
    marked, plain = stored(replace(DRAFT, extensions=cut)), stored(replace(DRAFT, extensions={}))
    for memory, change, extensions in (
        (plain, Change({"content": "new"}, cut=True), cut),
        (marked, Change({"content": "new"}), {}),
        (marked, Change({"scope": "s"}), cut),
        (plain, Change({"scope": "s"}, cut=True), {}),
    ):
        draft = updated(memory, change)
        assert draft is not None
        assert draft.extensions == extensions


def test_positions_are_grouped_by_user_in_order() -> None:
    assert list(by_user(["bob", "ann", "bob"]).items()) == [("bob", [0, 2]), ("ann", [1])]
    assert by_user([]) == {}


def test_app_of_a_draft_is_a_text_in_its_source() -> None:
    assert app_of(DRAFT) == "kit"
    assert app_of(replace(DRAFT, source={"app": 7})) is app_of(replace(DRAFT, source=None)) is None


def test_patch_of_metadata_is_merged_and_other_values_replace_it() -> None:
    record = stored(replace(DRAFT, metadata={"a": 1, "b": {"c": 2, "d": 3}}))
    draft = changed(record, {"metadata_patch": {"a": None, "b": {"c": 4}}})
    assert draft.metadata == {"b": {"c": 4, "d": 3}}
    assert changed(record, {"metadata": {"e": 1}}).metadata == {"e": 1}
    assert changed(record, {"content": "x"}).metadata == record.metadata
    assert changed(record, {"searchable": False}).searchable is False


def test_change_with_its_own_text_is_for_the_version_that_was_read() -> None:
    record = replace(Change({"searchable": True}))
    given = with_content(record, stored(replace(DRAFT, version=3)))
    assert given == Change({"searchable": True, "content": "tea"}, if_version=3)
    assert with_content(Change({}, if_version=2), stored()).if_version == 2
