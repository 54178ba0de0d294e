"""A misspelt name is told from one of the caller's own."""

from __future__ import annotations

import pytest

from openmem._text.misspellings import closest, near_miss, shown
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
