"""Lean columns: parts of a memory that the first statement on Postgres reads, and large ones that it does not."""

from __future__ import annotations

from openmem._rules.paging import PAGE_BYTES
from openmem._sql.postgres import large
from openmem._sql.postgres.rows import RECORD_NAMES

MOST_CANDIDATES = 100
COMPRESSION = 255  # what Postgres compresses has a 255th of its size at least


def test_two_small_texts_of_all_candidates_are_less_than_a_page() -> None:
    assert MOST_CANDIDATES * 2 * large.SMALL < PAGE_BYTES


def test_json_that_is_not_written_out_for_its_length_is_small() -> None:
    assert large._SURELY_SMALL * COMPRESSION <= large.SMALL


def test_no_sum_of_lengths_is_worked_out_for_a_small_memory() -> None:
    *shown, size = large.lean("m", RECORD_NAMES, "$9").split(", case when not ")

    assert "+" in size
    assert "+" not in ", ".join(shown)
    assert size.endswith(
        "then octet_length(m.content) + coalesce(octet_length(m.extensions::text), 0) "
        "+ coalesce(octet_length(m.metadata::text), 0) end"
    )
