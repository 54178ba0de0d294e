"""The memory that JSON takes once it is read is known before, and never said to be less than half of what it is."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from openmem._protocol.json_size import is_larger_than

MANY = 100_000
SHAPES = {
    "objects": b"[" + b"{}," * MANY + b"{}]",
    "lists": b"[" + b"[]," * MANY + b"[]]",
    "numbers": b"[" + b"1.5," * MANY + b"1.5]",
    "large numbers": b"[" + b"1234567890123," * MANY + b"1]",
    "strings": b"[" + b",".join(b'"%d"' % number for number in range(MANY)) + b"]",
    "members": b"{" + b",".join(b'"k%d":1' % number for number in range(MANY)) + b"}",
    "small objects": b"[" + b",".join(b'{"a":"b%d"}' % number for number in range(MANY)) + b"]",
    "one string": b'"' + b"x" * MANY + b'"',
}


@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES)
def test_size_is_about_what_reading_takes(body: bytes) -> None:
    tracemalloc.start()
    try:
        value = json.loads(body)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert value
    assert is_larger_than(body, taken // 3)
    assert not is_larger_than(body, 4 * taken + 1_000)


@pytest.mark.parametrize("sign", [",", "[", "{", ":", '\\"', "\\\\", '",[', "\\u0022"])
def test_signs_inside_strings_do_not_count(sign: str) -> None:
    body = json.dumps({"content": sign * MANY}).encode()
    assert not is_larger_than(body, 2 * len(body) + 1_000)


@pytest.mark.parametrize("body", [b"", b'"', b'"\\', b'"\\"', b"\xff", b'"' * 99, b'["a', b"\\\\\\"])
def test_text_that_is_no_json_has_a_size_too(body: bytes) -> None:
    assert is_larger_than(body, 100_000) is False
    assert is_larger_than(body, -1) is True


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (b'["",""]', 80 + 32 + 2 * (60 + 2)),
        (b'{"a":"b"}', 80 + 60 + 2 * (60 + 3)),
        (b'"abc"', 60 + 5),
        (b'[[""],[1]]', 3 * 80 + 32 + 60 + 2),
    ],
)
def test_size_is_that_of_strings_values_and_members(body: bytes, size: int) -> None:
    assert is_larger_than(body, size - 1)
    assert not is_larger_than(body, size)
