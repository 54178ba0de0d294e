"""The plan of a transfer: what it carries, leaves and proves, without any store."""

from __future__ import annotations

from typing import Any

import pytest

from openmem._protocol.transfer_plan import Fitting, Ledger, check_ends, describe, is_pending
from openmem.errors import UnsupportedCapabilityError
from openmem.types import Capabilities


def said(*verbs: str, **features: Any) -> Capabilities:
    return Capabilities.model_validate(
        {"omp_version": "0.1", "provider": "there", "verbs": [*verbs], "features": features}
    )


def memory(id_: str = "m1", /, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "user_id": "ann", "content": "likes tea", "version": 2, **fields}


@pytest.mark.parametrize(("source", "target"), [((), ("import",)), (("export",), ())])
def test_each_end_must_have_its_verb(source: tuple[str, ...], target: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedCapabilityError, match="import" if source else "export"):
        check_ends(said(*source), said(*target))
    check_ends(said("export"), said("import"))


def test_loss_that_a_target_does_not_mention_is_kept_and_the_origin_is_noted() -> None:
    full = memory(valid_to="2030", supersedes=["m0"], scope="a/b", key="k")
    fitting = Fitting("here", said())
    assert fitting.fit(full, None) == {**full, "x-openmem": {"id": "m1", "provider": "here"}}
    assert fitting.losses == []


def test_the_first_origin_stays() -> None:
    first = {"id": "old", "provider": "elsewhere"}
    moved = Fitting("here", said()).fit(memory() | {"x-openmem": first}, None)
    assert moved is not None
    assert moved["x-openmem"] == first


@pytest.mark.parametrize(
    ("features", "field", "value"),
    [
        ({"temporal": False}, "valid_from", "2020"),
        ({"temporal": False}, "valid_to", "2030"),
        ({"supports_supersession": False}, "supersedes", ["m0"]),
        ({"scopes": "none"}, "scope", "a/b"),
    ],
)
def test_a_field_that_the_target_cannot_hold_is_dropped_and_counted(
    features: dict[str, Any], field: str, value: object
) -> None:
    fitting = Fitting("here", said(**features))
    extras: list[dict[str, Any]] = [{field: value}, {}, {field: None}, {field: value}]
    for extra in extras:
        moved = fitting.fit(memory() | extra, None)
        assert moved is not None
        assert field not in moved
    assert [loss.model_dump() for loss in fitting.losses] == [{"what": field, "memories": 2, "stays": False}]


def test_a_memory_that_is_too_long_or_of_a_refused_user_stays_behind() -> None:
    fitting = Fitting("here", said(max_content_length=4))
    assert fitting.fit(memory(), None) is None
    assert fitting.fit(memory(content="four"), None) is not None
    assert fitting.fit(memory(content="four"), "no spaces, please") is None
    assert describe(fitting.losses) == (
        "content of more than 4 characters of 1 (they would stay behind); "
        "no spaces, please of 1 (they would stay behind)"
    )


def test_ledger_tells_what_arrived_from_what_is_missing_and_what_is_different() -> None:
    ledger = Ledger("there", rewritten=False)
    for id_ in ("same", "changed", "lost"):
        ledger.expect(memory(id_))
    ledger.meet(memory("same"))
    ledger.meet(memory("changed", content="likes coffee"))
    ledger.meet(memory("lost", user_id="bob"))
    ledger.meet(memory("of another user"))
    assert (ledger.verified, ledger.different, ledger.missing) == (1, ["changed"], ["lost"])


def test_difference_may_turn_out_to_be_none() -> None:
    ledger = Ledger("there", rewritten=False)
    for id_ in ("late", "changed"):
        ledger.expect(memory(id_))
        assert not ledger.meet(memory(id_, content="not yet"))
    ledger.meet_again(memory("late"))
    ledger.meet_again(memory("changed", content="likes coffee"))
    ledger.meet_again(memory("never expected"))
    assert (ledger.verified, ledger.different, ledger.missing) == (1, ["changed"], [])


@pytest.mark.parametrize(("status", "pending"), [("queued", True), ("indexing", True), ("done", False), (None, False)])
def test_pending_is_what_is_still_being_taken_in(status: str | None, pending: bool) -> None:
    assert is_pending(memory(status=status)) is pending


def test_memory_whose_text_the_source_has_not_taken_in_stays_behind() -> None:
    fitting = Fitting("here", said())
    assert fitting.fit(memory(content=""), None) is None
    assert [(loss.what, loss.stays) for loss in fitting.losses] == [("text that here has not taken in", True)]


@pytest.mark.parametrize(
    "extra", [{"embedding_model": "m"}, {"status": "done"}, {"x-there": {"a": 1}}, {"x-openmem": {"id": "x"}}]
)
def test_ledger_does_not_look_at_what_belongs_to_a_store(extra: dict[str, Any]) -> None:
    ledger = Ledger("there", rewritten=False)
    ledger.expect(memory())
    ledger.meet(memory(**extra))
    assert (ledger.verified, ledger.missing) == (1, [])


@pytest.mark.parametrize("field", ["version", "updated_at"])
@pytest.mark.parametrize("rewritten", [True, False])
def test_versions_count_unless_the_transfer_may_overwrite(field: str, rewritten: bool) -> None:
    ledger = Ledger("there", rewritten=rewritten)
    ledger.expect(memory())
    ledger.meet(memory() | {field: 7})
    assert (ledger.verified == 1) == rewritten


def test_the_order_of_fields_does_not_matter() -> None:
    ledger = Ledger("there", rewritten=False)
    ledger.expect(memory(tags=["a"], scope="s"))
    ledger.meet(dict(reversed(memory(tags=["a"], scope="s").items())))
    assert ledger.verified == 1


def test_end_without_its_verb_is_named() -> None:
    for source, target, verb in ((said(), said("import"), "export"), (said("export"), said(), "import")):
        with pytest.raises(UnsupportedCapabilityError) as caught:
            check_ends(source, target)
        assert caught.value.message == f"{verb} is not supported by this provider"
        assert caught.value.provider == "there"


def test_target_that_can_hold_nothing_loses_all_that_it_cannot() -> None:
    fitting = Fitting("here", said(temporal=False, supports_supersession=False, scopes="none"))
    moved = fitting.fit(memory(valid_from="2020", valid_to="2030", supersedes=["m0"], scope="a", key="k"), None)
    assert moved == memory(key="k") | {"x-openmem": {"id": "m1", "provider": "here"}}
    assert {loss.what for loss in fitting.losses} == {"valid_from", "valid_to", "supersedes", "scope"}
    assert {(loss.memories, loss.stays) for loss in fitting.losses} == {(1, False)}


def test_origin_is_added_to_what_the_extension_holds_unless_it_is_no_object() -> None:
    fitting = Fitting("here", said())
    more = fitting.fit(memory() | {"x-openmem": {"b": 2}}, None)
    assert more is not None
    assert more["x-openmem"] == {"b": 2, "id": "m1", "provider": "here"}
    odd = fitting.fit(memory() | {"x-openmem": 7}, None)
    assert odd is not None
    assert odd["x-openmem"] == 7


def test_ledger_says_what_it_met() -> None:
    ledger = Ledger("there", rewritten=False)
    ledger.expect(memory())
    ledger.expect(memory("m2"))
    assert ledger.missing == ["m1", "m2"]
    assert ledger.meet(memory())
    assert ledger.meet(memory("foreign"))
    assert not ledger.meet(memory("m2", content="other"))
    assert (ledger.verified, ledger.different, ledger.missing) == (1, ["m2"], [])
    ledger.meet_again(memory("m2", content="other"))
    assert (ledger.verified, ledger.different) == (1, ["m2"])
    ledger.meet_again(memory("m2"))
    assert (ledger.verified, ledger.different) == (2, [])


def test_memories_of_two_users_with_one_id_are_two() -> None:
    ledger = Ledger("there", rewritten=False)
    ledger.expect(memory())
    assert ledger.meet(memory() | {"user_id": "bob"})
    assert (ledger.verified, ledger.missing) == (0, ["m1"])


def test_losses_are_told_in_one_sentence() -> None:
    fitting = Fitting("here", said(temporal=False, max_content_length=9))
    fitting.fit(memory(valid_to="2030"), None)
    fitting.fit(memory() | {"content": "likes  tea"}, None)
    fitting.fit(memory() | {"content": " "}, None)
    fitting.fit(memory(), "user ids of two words")
    assert describe(fitting.losses) == (
        "valid_to of 1; content of more than 9 characters of 1 (they would stay behind); "
        "text that here has not taken in of 1 (they would stay behind); "
        "user ids of two words of 1 (they would stay behind)"
    )
    assert describe([]) == ""
