"""docs/types.md has a row for every field of every public model, and says what every flag means."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from scripts.providers_table import capabilities_of_all

from openmem.types import CapabilityFeatures
from tests.type_tables import models, row_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "types.md"
TEXT = PAGE.read_text(encoding="utf-8")
MODELS = models()


def rows_below(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"{PAGE.name} has no heading {heading!r}"
    lines = [line for line in found[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize("name", MODELS)
def test_table_of_a_model_has_its_fields_and_nothing_else(name: str) -> None:
    rows = rows_below(name)
    assert [tuple(row[:3]) for row in rows] == [row_of(*each) for each in MODELS[name].model_fields.items()]
    assert [row[0] for row in rows if len(row[3]) < 8] == [], "a field without a meaning"


def test_page_describes_no_model_that_there_is_not() -> None:
    headings = re.findall(r"^### (\w+)$", TEXT, re.MULTILINE)
    assert sorted(headings) == sorted(MODELS)


def test_every_flag_that_a_provider_shows_is_described() -> None:
    shown = set(CapabilityFeatures.model_fields) | {"idempotency_keys"}
    for said in asyncio.run(capabilities_of_all()).values():
        shown |= said.features.model_dump().keys()
    described = {row[0].strip("`") for row in rows_below("What each flag means")}
    assert shown - described == set(), "flags without an explanation"
    assert described - shown == set(), "flags that are not shown"
