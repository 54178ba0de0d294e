"""A page is used like the list that it holds, and a model shows what is set in it."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

import openmem
from openmem import MemoryPage, MemoryRecord
from openmem.types import Error, ExportPage, MemorySource, OMPModel

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
RECORDS = [MemoryRecord(id=f"m{n}", content=f"tea {n}", user_id="ann", created_at=NOON) for n in range(3)]
PAGES: list[tuple[MemoryPage | ExportPage, list[Any]]] = [
    (MemoryPage(items=RECORDS, next_cursor="c"), RECORDS),
    (ExportPage(lines=["a", "b", "c"], next_cursor="c"), ["a", "b", "c"]),
]


@pytest.mark.parametrize(("page", "items"), PAGES, ids=["memories", "lines"])
def test_page_is_used_like_its_list(page: MemoryPage | ExportPage, items: list[Any]) -> None:
    assert [*page] == items
    assert [*reversed(page)] == items[::-1]
    assert len(page) == 3
    assert page[0] == items[0]
    assert page[-1] == items[-1]
    assert page[1:] == items[1:]
    assert items[1] in page
    assert page
    with pytest.raises(IndexError):
        page[3]


def test_page_without_items_is_false_whatever_comes_after_it() -> None:
    assert not MemoryPage(items=[], next_cursor="c")
    assert not ExportPage(lines=[])


@pytest.mark.parametrize("page", [page for page, _ in PAGES], ids=["memories", "lines"])
def test_page_is_still_a_model(page: MemoryPage | ExportPage) -> None:
    kind = type(page)
    name = next(iter(kind.model_fields))
    assert dict(page) == {name: getattr(page, name), "next_cursor": "c"}
    assert page["next_cursor"] == "c"
    with pytest.raises(KeyError):
        page["model_config"]
    assert kind.model_validate_json(page.model_dump_json()) == page == kind.model_validate(page.model_dump())
    assert page.model_copy(deep=True) == page == pickle.loads(pickle.dumps(page))
    more = kind.model_validate({**page.model_dump(), "x-a": 1})
    assert dict(more)["x-a"] == 1
    assert json.loads(more.model_dump_json())["x-a"] == 1


@pytest.mark.parametrize("name", sorted(set(openmem.__all__) - {"UNSET", "__version__"}))
def test_public_name_is_the_one_that_the_object_bears(name: str) -> None:
    """The name that a traceback, a schema or a type checker shows can be imported."""
    found = getattr(openmem, name)
    assert found.__name__ == name
    if isinstance(found, type) and issubclass(found, OMPModel):
        assert found.model_json_schema()["title"] == name
        assert repr(found.model_construct()).startswith(f"{name}(")


def test_schema_of_what_holds_records_refers_to_them_by_their_public_name() -> None:
    assert set(MemoryPage.model_json_schema()["$defs"]) == {"MemoryRecord", "MemorySource"}


def test_repr_shows_what_is_set_and_not_too_much_of_it() -> None:
    record = RECORDS[0]
    assert repr(record) == (
        "MemoryRecord(id='m0', content='tea 0', user_id='ann', "
        "created_at=datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.timezone.utc), version=1)"
    )
    whole = record.model_copy(update={"source": MemorySource(app="notes"), "tags": ["a"] * 9, "content": "x" * 1_000})
    text = repr(whole)
    assert "source=MemorySource(app='notes')" in text
    assert "tags=['a', 'a', 'a', 'a', 'a', … (9 in all)]" in text
    assert "… (1,000 characters)" in text
    assert len(text) < 600
    assert len(repr(MemoryPage(items=[whole] * 500))) < 4_000


def test_error_body_is_a_model() -> None:
    error = openmem.NotFoundError("no memory has the id 'm'", provider="sqlite", request_id="r1")
    body = Error.model_validate(error.to_envelope())
    assert (body.error.code, body.error.type, body.error.request_id) == ("not_found", "not_found", "r1")
    assert isinstance(openmem.OMPError.from_response_dict(body.model_dump()), openmem.NotFoundError)
