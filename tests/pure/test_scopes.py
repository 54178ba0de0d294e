"""Scopes, patterns and grants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.scopes import EVERYTHING, Grant, ScopePattern, parse_grant, parse_pattern, parse_scope
from openmem.errors import InvalidRequestError

SEGMENT = st.text(st.sampled_from("ab%_.é- "), min_size=1, max_size=4).filter(lambda text: not text.isspace())
SCOPE = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)
PATTERN = st.one_of(SCOPE, SCOPE.map(lambda scope: f"{scope}/*"), st.just("*"))

BAD_SCOPES = [
    "",
    " ",
    "/",
    "/a",
    "a/",
    "a//b",
    "a/ /b",
    "*",
    "a/*",
    "a*",
    "a/*/b",
    "a\x00",
    "a\nb",
    "a\x85",
    "\ud800",
]
BAD_PATTERNS = ["", "/*", "**", "a*", "*a", "a/*/b", "*/a", "a/**", "a//*", "a/*/*", "a\x00/*", "a/", " "]


@pytest.mark.parametrize(
    ("pattern", "scope", "expected"),
    [
        ("coding", "coding", True),
        ("coding", "coding/x", False),
        ("coding", "Coding", False),
        ("coding", None, False),
        ("coding/*", "coding", True),
        ("coding/*", "coding/x", True),
        ("coding/*", "coding/x/y", True),
        ("coding/*", "coding2", False),
        ("coding/*", "other/coding/x", False),
        ("coding/*", None, False),
        ("*", None, True),
        ("*", "anything/at/all", True),
        ("a%", "ab", False),
        ("a_", "ab", False),
        ("a_/*", "ab/c", False),
    ],
)
def test_pattern_against_a_scope_matches_as_promised(pattern: str, scope: str | None, expected: bool) -> None:
    assert parse_pattern(pattern).matches(scope) is expected


@pytest.mark.parametrize("text", [*BAD_SCOPES, "a" * 513, None, 3, b"a", ["a"]])
def test_bad_scope_is_refused_by_name(text: object) -> None:
    with pytest.raises(InvalidRequestError, match=r"^where "):
        parse_scope(text, "where")


@pytest.mark.parametrize("text", [*BAD_PATTERNS, "a" * 513, None, 3, b"*"])
def test_bad_pattern_is_refused_by_name(text: object) -> None:
    with pytest.raises(InvalidRequestError, match=r"^where "):
        parse_pattern(text, "where")


def test_longest_scope_is_accepted() -> None:
    assert parse_scope("a" * 512) == "a" * 512


@given(PATTERN)
def test_pattern_as_text_parses_to_itself(text: str) -> None:
    assert str(parse_pattern(text)) == text


@given(SCOPE)
def test_every_scope_is_a_pattern_of_itself_only(scope: str) -> None:
    pattern = parse_pattern(parse_scope(scope))
    assert pattern == ScopePattern(scope, False)
    assert pattern.matches(scope)
    assert not pattern.matches(f"{scope}/x")


@given(PATTERN, PATTERN, st.one_of(st.none(), SCOPE))
def test_covering_pattern_matches_whatever_the_covered_one_does(one: str, two: str, scope: str | None) -> None:
    wide, narrow = parse_pattern(one), parse_pattern(two)
    if wide.covers(narrow):
        assert wide.matches(scope) or not narrow.matches(scope)
    elif narrow.path:
        # A pattern that is not covered holds a scope that the other does not match.
        probes = [narrow.path, *([f"{narrow.path}/zz"] if narrow.subtree else [])]
        assert not all(wide.matches(probe) for probe in probes)


def test_everything_covers_and_is_covered_by_itself_only() -> None:
    assert EVERYTHING.covers(EVERYTHING)
    assert not parse_pattern("a/*").covers(EVERYTHING)
    assert not parse_pattern("a").covers(parse_pattern("a/*"))


@pytest.mark.parametrize("text", ["read:coding/*", "write:coding/preferences", "delete:health/*", "read:*", "admin:*"])
def test_grant_as_text_parses_to_itself(text: str) -> None:
    assert str(parse_grant(text)) == text


@pytest.mark.parametrize(
    "text", ["read", "read:", ":a", "READ:a", "list:a", "read:a*", "read: ", "", None, "read:a\x00"]
)
def test_bad_grant_is_refused_by_name(text: object) -> None:
    with pytest.raises(InvalidRequestError, match="grant"):
        parse_grant(text)


@pytest.mark.parametrize(
    ("grant", "verb", "scope", "expected"),
    [
        ("read:coding/*", "read", "coding/x", True),
        ("read:coding/*", "write", "coding/x", False),
        ("read:coding/*", "admin", "coding/x", False),
        ("read:coding/*", "read", "health", False),
        ("read:coding/*", "read", None, False),
        ("admin:coding/*", "delete", "coding/x", True),
        ("admin:coding/*", "admin", "coding", True),
        ("admin:coding/*", "delete", "health", False),
        ("write:*", "write", None, True),
    ],
)
def test_grant_allows_its_verb_within_its_pattern(grant: str, verb: str, scope: str | None, expected: bool) -> None:
    assert parse_grant(grant).allows(verb, scope) is expected


def test_grant_allows_a_filter_only_when_it_covers_it() -> None:
    grant = Grant("read", parse_pattern("coding/*"))
    assert grant.allows("read", parse_pattern("coding/python/*"))
    assert not grant.allows("read", parse_pattern("*"))
    assert not parse_grant("read:coding").allows("read", parse_pattern("coding/*"))


def test_string_subclass_comes_back_as_plain_text() -> None:
    class Text(str):
        pass

    assert type(parse_scope(Text("a/b"))) is str
    assert type(parse_pattern(Text("a/b")).path) is str


def test_scope_and_pattern_are_called_so_unless_they_have_another_name() -> None:
    for parse in (parse_scope, parse_pattern):
        for name, more in (("scope", ()), ("grant", ("grant",))):
            with pytest.raises(InvalidRequestError) as caught:
                parse("a//b", *more)
            assert caught.value.message == f"{name} must not have an empty segment: write a/b/c"
    with pytest.raises(InvalidRequestError) as caught:
        parse_scope("a/*")
    assert caught.value.message == "scope may hold '*' only as the last segment of a filter or grant"
    with pytest.raises(InvalidRequestError) as caught:
        parse_grant("read")
    assert caught.value.message == "grant must have the form verb:scope, such as read:coding/*"
