"""Access rights as words: grants, the patterns that they make, and the seed of a repeatable `add`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem import Access, IdempotencySeed, InvalidRequestError, parse_grant
from openmem._model.access import key_denied, matches_any, missing_grant
from openmem._model.requests import ListQuery, View
from openmem._model.scopes import parse_pattern
from openmem.errors import ScopeDeniedError

SCOPES = [None, "a", "a/b", "a/b/c", "ab", "b", "b/c", "a/bc"]
GRANTS = [
    f"{verb}:{pattern}"
    for verb in ("read", "write", "delete", "admin")
    for pattern in ("*", "a", "a/*", "a/b", "a/b/*", "b/*")
]
NOW = datetime(2026, 1, 2, tzinfo=UTC)
ANYTHING: list[Any] = [None, "read:a", 7, ("read:a",)]


def access(*grants: str, user_id: str | None = "ann") -> Access:
    return Access(user_id, tuple(parse_grant(grant) for grant in grants))


@pytest.mark.parametrize(
    ("grants", "patterns"),
    [
        ((), ()),
        (("write:a",), ()),
        (("read:*", "read:a"), None),
        (("admin:*",), None),
        (("read:b/*", "read:a/*", "read:a/b", "read:a", "read:a/b/*"), ("a/*", "b/*")),
        (("read:a", "admin:b/c"), ("a", "b/c")),
    ],
)
def test_patterns_are_the_widest_grants_of_a_verb(grants: tuple[str, ...], patterns: tuple[str, ...] | None) -> None:
    found = access(*grants).patterns("read")
    assert (None if found is None else tuple(map(str, found))) == patterns


@given(st.lists(st.sampled_from(GRANTS), max_size=5), st.sampled_from(["read", "write", "delete"]))
def test_patterns_say_what_may_says(grants: list[str], verb: str) -> None:
    caller = access(*grants)
    for scope in SCOPES:
        assert matches_any(caller.patterns(verb), scope) == caller.may(verb, scope)
        either = caller.may(verb, scope) or caller.may("read", scope)
        assert matches_any(caller.patterns("read", verb), scope) == either


@given(st.permutations(["read:a/b", "read:b/*", "read:c", "read:d/*", "admin:e"]))
def test_order_of_grants_does_not_matter(grants: list[str]) -> None:
    assert access(*grants).patterns("read") == access(*sorted(grants)).patterns("read")


@pytest.mark.parametrize(("scope", "missing"), [("b", "read:b"), (None, "read:*"), (parse_pattern("a/*"), "read:a/*")])
def test_error_names_the_missing_grant(scope: Any, missing: str) -> None:
    with pytest.raises(ScopeDeniedError, match=r"^missing grant read:") as denied:
        access("read:a", "write:*").need("read", scope)
    assert denied.value.details == {"missing": missing}


def test_only_an_admin_of_all_users_is_an_admin() -> None:
    assert access("admin:*", user_id=None).is_admin()
    assert not access("admin:*").is_admin()
    assert not access("admin:a/*", "read:*", user_id=None).is_admin()


def test_nothing_private_is_shown() -> None:
    assert "ann" not in repr(access("read:a/*"))
    assert "read:a/*" in repr(access("read:a/*"))
    assert "4711" not in repr(IdempotencySeed(NOW, 4711))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Access("", ()),
        lambda: Access("*", ()),
        lambda: Access("ann", ANYTHING[3]),
        lambda: Access("ann", ANYTHING[1]),
        lambda: Access("ann", None),  # type: ignore[arg-type]
        lambda: IdempotencySeed(datetime(2026, 1, 2), 1),
        lambda: IdempotencySeed("2026-01-02", 1),  # type: ignore[arg-type]
        lambda: IdempotencySeed(NOW, -1),
        lambda: IdempotencySeed(NOW, 1 << 71),
        lambda: IdempotencySeed(NOW, True),
        lambda: IdempotencySeed(NOW, 1.0),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_refused(make: Any) -> None:
    with pytest.raises(InvalidRequestError):
        make()


def test_seed_is_the_same_in_every_time_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5)))
    assert IdempotencySeed(elsewhere, 7) == IdempotencySeed(NOW, 7)
    assert IdempotencySeed(elsewhere, 7).at.tzinfo == UTC


def test_cursor_is_bound_to_what_may_be_seen() -> None:
    patterns = (parse_pattern("a/*"),)
    bindings = [ListQuery(View("ann", visible=some)).binding for some in (None, (), patterns, (*patterns, *patterns))]
    assert len({repr(binding) for binding in bindings}) == 4


def test_access_shows_its_grants_and_not_its_user() -> None:
    assert repr(access("read:a", "admin:*")) == "<Access of one user: read:a, admin:*>"
    assert repr(access(user_id=None)) == "<Access of any user: nothing>"
    assert repr(IdempotencySeed(NOW, 7)) == "<IdempotencySeed>"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IdempotencySeed(ANYTHING[0], 7), "seed.at must be a timezone-aware datetime"),
        (lambda: IdempotencySeed(NOW, -1), "seed.entropy must be a whole number of at most 71 bits"),
        (lambda: IdempotencySeed(NOW, 1 << 71), "seed.entropy must be a whole number of at most 71 bits"),
        (lambda: IdempotencySeed(NOW, True), "seed.entropy must be a whole number of at most 71 bits"),
        (lambda: Access("ann", ANYTHING[1]), "grants must be a sequence of Grant"),
        (lambda: Access("ann", ANYTHING[2]), "grants must be a sequence of Grant"),
        (
            lambda: Access("ann", ANYTHING[3]),
            "grants must hold Grant objects: parse_grant makes them from text",
        ),
        (lambda: Access(" ann", ()), "user_id must not start or end with white space"),
    ],
)
def test_nonsense_is_refused_in_these_words(make: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make()
    assert caught.value.message == message


def test_largest_seed_and_grants_of_any_sequence_pass() -> None:
    assert IdempotencySeed(NOW, (1 << 71) - 1).entropy == (1 << 71) - 1
    given: Any = [parse_grant("read:a")]
    assert Access("ann", given).grants == (parse_grant("read:a"),)
    assert matches_any(None, None)
    assert not matches_any((), "a")


def test_errors_say_what_is_missing() -> None:
    with pytest.raises(ScopeDeniedError) as caught:
        access("read:a").need("write", "a")
    assert (caught.value.message, caught.value.details) == ("missing grant write:a", {"missing": "write:a"})
    assert missing_grant("read", None).message == "missing grant read:*"
    assert key_denied().message == "key names a memory outside the scopes that may be written"
