"""A long list in a reply is read slice by slice, with the outcome that reading the whole has."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from openmem._protocol.responses import PAGE, RECORDS
from openmem._protocol.slices import MOST_ITEMS, SLICE_CHARACTERS, SLICE_ITEMS, Sliced, read_in_slices
from openmem.types import MemoryRecord

HOW = Sliced(RECORDS, "items")


class Items(TypedDict):
    items: list[MemoryRecord]


ITEMS = TypeAdapter(Items)


def memory(number: int, **more: object) -> dict[str, object]:
    fields = {"id": f"m{number}", "user_id": "ann", "content": f"tea {number}", "created_at": "2026-01-01T00:00:00Z"}
    return {**fields, "version": 1, **more}


@given(
    st.lists(st.text(), max_size=3 * SLICE_ITEMS),
    st.sampled_from([None, 1, "\t", " \n"]),
    st.booleans(),
    st.sampled_from([None, 'c"],[{']),
)
def test_slices_give_what_the_whole_gives(texts: list[str], indent: int | None, last: bool, cursor: str | None) -> None:
    items = [memory(number, content=f"x{text}", **{"x-a": [text, {"items": [1]}]}) for number, text in enumerate(texts)]
    rest: dict[str, object] = {"x-more": {"items": [[]]}, "next_cursor": cursor}
    body = json.dumps({**rest, "items": items} if last else {"items": items, **rest}, indent=indent).encode()
    assert read_in_slices(body, PAGE, HOW) == PAGE.validate_json(body, strict=True)


def test_a_list_by_itself_is_read_too() -> None:
    body = json.dumps([memory(number) for number in range(200)]).encode()
    assert read_in_slices(body, RECORDS, Sliced(RECORDS)) == RECORDS.validate_json(body, strict=True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"items": {}}',
        b'{"items": [], "items": []}',
        b'{"items": [1',
        b'{"items": [1 2]}',
        b'{"items": [1,]}',
        b'{"item": []}',
        b'{"items": []',
        b'{"items": "\xff"}',
        b'{"items": [' + b"[" * 100_000,
        b'{"items": [' + b"9" * 5_000 + b"]}",
        b'{"items": [' + b"1," * (MOST_ITEMS + 1) + b"1]}",
    ],
)
def test_reply_without_such_a_list_is_left_to_be_read_as_a_whole(body: bytes) -> None:
    assert read_in_slices(body, PAGE, HOW) is None


@pytest.mark.parametrize("body", [b'{"items": []}x', b'{"items": [], "next_cursor": 1}', b'{"items": [{"id": 1}]}'])
def test_reply_that_is_not_as_it_must_be_is_refused(body: bytes) -> None:
    with pytest.raises(ValidationError):
        read_in_slices(body, PAGE, HOW)


def test_a_long_list_is_read_in_many_pieces() -> None:
    """The library lets no other thread run while it reads: a slice must be small."""
    sizes: list[int] = []

    class Counting:
        def validate_json(self, data: str, *, strict: bool) -> list[object]:
            sizes.append(len(data))
            return list(RECORDS.validate_json(data, strict=strict))

    body = json.dumps({"items": [memory(number) for number in range(10_000)]}).encode()
    page = read_in_slices(body, PAGE, Sliced(Counting(), "items"))  # type: ignore[arg-type]
    assert page is not None
    assert len(page.items) == 10_000
    assert max(sizes) < len(body) / 100


class Noting:
    """Reads a part of a list, and notes how many items and characters it has."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, int]] = []

    def validate_json(self, data: str, *, strict: bool) -> list[object]:
        items: list[object] = list(RECORDS.validate_json(data, strict=strict))
        self.parts.append((len(items), len(data) - 2))
        return items


def parts_of(items: list[dict[str, object]]) -> list[tuple[int, int]]:
    noting = Noting()
    read_in_slices(json.dumps(items).encode(), RECORDS, Sliced(noting))  # type: ignore[arg-type]
    return noting.parts


def test_slice_has_so_many_items_at_most() -> None:
    assert [count for count, _ in parts_of([memory(number) for number in range(2 * SLICE_ITEMS + 1)])] == [64, 64, 1]
    assert [count for count, _ in parts_of([memory(number) for number in range(SLICE_ITEMS)])] == [64]
    assert parts_of([]) == []


def test_slice_ends_as_soon_as_it_has_so_many_characters() -> None:
    size = len(json.dumps(memory(0, content="")))
    exact = [memory(0, content="x" * (SLICE_CHARACTERS - size)) for _ in range(3)]
    assert parts_of(exact) == [(1, SLICE_CHARACTERS)] * 3
    below = [memory(0, content="x" * (SLICE_CHARACTERS - size - 1)) for _ in range(3)]
    assert [count for count, _ in parts_of(below)] == [2, 1]


def test_list_in_a_plain_object_is_put_back_into_it() -> None:
    body = json.dumps({"items": [memory(1)]}).encode()
    assert read_in_slices(body, ITEMS, HOW) == ITEMS.validate_json(body, strict=True)


def test_list_of_as_many_as_are_allowed_is_read_in_slices() -> None:
    numbers = TypeAdapter(list[int])
    most = b"[" + b"1," * (MOST_ITEMS - 1) + b"1]"
    assert read_in_slices(most, numbers, Sliced(numbers)) == [1] * MOST_ITEMS
    assert read_in_slices(most[:-1] + b",1]", numbers, Sliced(numbers)) is None
