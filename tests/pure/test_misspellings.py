"""A misspelt name is told from one of the caller's own."""

from __future__ import annotations

from typing import Any

import pytest

from openmem._text.misspellings import closest, did_you_mean, explain_call, innermost, near_miss, shown
from openmem.types import MemoryInput, MemorySource

FIELDS = tuple(MemoryInput.model_fields)
SLIPS = {
    "content": "contnt contnet conent contents Content",
    "user_id": "user userid userId User_ID usr_id user_ids",
    "scope": "scoope scop scpoe scopes",
    "tags": "tag tgas taggs Tags",
    "source": "sorce srouce sources",
    "confidence": "confidance confidnce confidence_",
    "valid_from": "valid_form validFrom valid_frm",
    "valid_to": "validto valid_too",
    "supersedes": "supercedes superseeds supersede",
    "key": "keys kye Key",
}
OWN = (
    "score context course superseded topic note notes lang language metadata priority uri url text "
    "memory namespace labels users uid owner colour stage kind x-a later created"
)


@pytest.mark.parametrize(("slip", "meant"), [(slip, meant) for meant in SLIPS for slip in SLIPS[meant].split()])
def test_near_miss_is_the_name_that_was_meant(slip: str, meant: str) -> None:
    assert near_miss(slip, FIELDS) == meant
    assert closest(slip, FIELDS) == meant


@pytest.mark.parametrize("name", [*OWN.split(), *FIELDS, "", "c" * 41, "content" * 100])
def test_name_of_ones_own_is_no_near_miss(name: str) -> None:
    assert near_miss(name, FIELDS) is None


@pytest.mark.parametrize("name", ["uri", "url", "href", "rev", "api", "page", "name", "ap", "kind", "session"])
def test_short_names_of_a_source_are_not_taken_for_one_another(name: str) -> None:
    assert near_miss(name, MemorySource.model_fields) is None


def test_name_is_shown_short_and_in_ascii() -> None:
    assert shown("a\u202e") == "'a\\u202e'"
    assert len(shown("x" * 1000)) < 100


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("user-id", "user_id", True),
        ("user id", "user_id", True),
        ("user", "user_id", True),
        ("abcdefg", "abcdefh", True),
        ("abcdefg", "abcdehi", False),
        ("abcdefgh", "abcdefij", True),
        ("abcdefgh", "abcdejkl", False),
        ("abcdefghijk", "abcdefgh", False),
        ("abcdefghij", "abcdefgh", True),
        ("badc", "abcd", True),
        ("abce", "abcd", False),
        ("abcde", "abcd", True),
        ("acb", "abc", True),
        ("cba", "abc", False),
        ("abcs", "abc", True),
        ("abd", "abc", False),
        ("abcdeghf", "abcdefgh", True),
        ("bacdefhg", "abcdefgh", True),
        ("bcdefgha", "abcdefgh", True),
    ],
)
def test_slip_is_a_letter_or_two_of_a_name(name: str, known: str, meant: bool) -> None:
    assert near_miss(name, [known]) == (known if meant else None)


def test_name_of_so_many_letters_can_be_misspelt_and_no_longer_one() -> None:
    name = "abcdefghij" * 4
    assert near_miss(name[:-1] + "x", [name]) == name
    assert closest(name[:-1] + "x", [name]) == name
    assert near_miss(name + "x", [name]) is None
    assert closest(name + "x", [name]) is None


def test_name_that_is_the_same_but_for_its_signs_wins_over_a_slip() -> None:
    assert near_miss("user-id", ["used_id", "user_id"]) == "user_id"


def test_closest_name_is_like_it_or_its_beginning() -> None:
    assert closest("colour", ["color", "size"]) == "color"
    assert closest("limit_of_results", ["limit", "li"]) == "limit"
    assert closest("limit", ["li"]) is None
    assert closest("zebra", ["limit", "tags"]) is None
    assert (did_you_mean(None), did_you_mean("tags")) == ("", ": did you mean 'tags'?")
    assert (shown("x" * 80), shown("x" * 81)) == (f"'{'x' * 80}'", f"'{'x' * 80}'…")


class Shop:
    """A class with a method of named arguments."""

    def buy(self, colour: str, size: int = 1) -> None:
        raise TypeError(f"{colour} {size}")


def explained(**named: object) -> str | None:
    call: Any = Shop().buy
    try:
        call(**named)
    except TypeError as error:
        inner = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        return explain_call(Shop.buy, named, inner)
    return None


def test_argument_that_a_function_has_not_is_told_with_the_one_that_was_meant() -> None:
    assert explained(color="red") == "buy() has no argument 'color': did you mean 'colour'?"
    assert explained(colour="red", sise=2) == "buy() has no argument 'sise': did you mean 'size'?"
    assert explained(zebra="red") is None
    assert explained(colour="red", colours=2) is None
    assert explained(selff=1) is None


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("top_k", ("query", "limit"), "limit"),
        ("text", ("query", "limit"), "query"),
        ("text", ("content", "tags"), "content"),
        ("maxTokens", ("query", "token_budget"), "token_budget"),
        ("namespace", ("scope", "tags"), "scope"),
        ("q", ("query", "scope"), "query"),
        ("k", ("query", "scope"), None),
    ],
)
def test_word_of_others_is_told_with_what_it_is_called_here(
    name: str, known: tuple[str, ...], meant: str | None
) -> None:
    assert closest(name, known) == meant


def test_member_of_the_callers_own_is_no_word_of_others() -> None:
    assert near_miss("text", ("content", "query")) is None
    assert near_miss("namespace", ("scope",)) is None


def test_error_from_within_a_function_is_not_explained_as_a_call() -> None:
    call: Any = Shop().buy
    with pytest.raises(TypeError) as caught:
        call(colour="red")
    assert explain_call(Shop.buy, {"color": 1}, caught.value) is None
    last = innermost(caught.value.__traceback__)
    assert last is not None
    assert last.tb_frame.f_code.co_name == "buy"
    assert innermost(None) is None
