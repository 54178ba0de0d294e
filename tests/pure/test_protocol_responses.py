"""Replies of an OMP server: what is right is read as the protocol means it, all else is refused and not quoted."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from openmem._protocol.http_errors import Endpoint
from openmem._protocol.http_messages import HttpReply
from openmem._protocol.json_size import MOST_OF_A_PAGE, MOST_OF_A_REPLY
from openmem._protocol.responses import (
    BLOCK,
    ENTRIES,
    LINE,
    PAGE,
    READ_AT_ONCE,
    RECORD,
    RECORDS,
    REPORT,
    read,
    read_capabilities,
    read_export,
    read_found,
    read_history,
    read_place,
)
from openmem.errors import ProviderError
from openmem.types import UTC, ImportReport

ENDPOINT = Endpoint("https://omp.test", "omp.test", "remote")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MEMORY: dict[str, Any] = {"id": "a", "content": "tea", "user_id": "ann", "created_at": NOW.isoformat()}
SAID: dict[str, Any] = {"omp_version": "0.1", "provider": "acme", "verbs": ["add"], "features": {"temporal": True}}


def reply(value: Any, **headers: str) -> HttpReply:
    return HttpReply(200, headers, value if isinstance(value, bytes) else json.dumps(value).encode())


def refusal(kind: Any, value: Any, member: str | None = None) -> str:
    with pytest.raises(ProviderError) as caught:
        read(ENDPOINT, reply(value), kind, member)
    assert caught.value.provider == "remote"
    assert caught.value.message.startswith("omp.test answered ")
    return caught.value.message.removeprefix("omp.test answered ")


def test_record_is_read_with_what_is_unknown_in_it() -> None:
    record = read(ENDPOINT, reply({**MEMORY, "x-kit": None}), RECORD)
    assert (record.id, record.created_at, record.model_extra) == ("a", NOW, {"x-kit": None})


def test_member_is_read_and_so_is_its_value_alone() -> None:
    for value in ({"items": [MEMORY]}, [MEMORY]):
        assert [one.id for one in read(ENDPOINT, reply(value), RECORDS, "items")] == ["a"]
    entry = {"action": "add", "memory_id": "a"}
    for value in ({"entries": [entry]}, [entry]):
        assert [one.memory_id for one in read(ENDPOINT, reply(value), ENTRIES, "entries")] == ["a"]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (RECORD, b" \n", "with an empty response"),
        (RECORD, b"{", "something that is not JSON"),
        (RECORD, {**MEMORY, "version": "1"}, "something unexpected: version: Input should be a valid integer"),
        (RECORD, {**MEMORY, "user_id": None}, "something unexpected: user_id: Input should be a valid string"),
        (RECORD, [], "something unexpected: the reply: "),
        (RECORD, {**MEMORY, "version": 0}, "a version that is none"),
        (RECORD, {**MEMORY, "version": 1 << 63}, "a version that is none"),
        (RECORD, {**MEMORY, "id": " "}, "a memory without its id or its user"),
        (RECORD, {**MEMORY, "user_id": " "}, "a memory without its id or its user"),
        (RECORDS, [MEMORY, {**MEMORY, "id": ""}], "a memory without its id or its user"),
        (PAGE, {"items": [{**MEMORY, "version": -1}]}, "a version that is none"),
        (LINE, {"memory": 7}, "something unexpected: memory: "),
        (REPORT, {"imported": True}, "something unexpected: imported: "),
        (RECORD, {**MEMORY, "x-kit": [1e308]} | {"x-kit": 0}, ""),
    ],
)
def test_reply_that_is_wrong_says_what_is_wrong(kind: Any, value: Any, message: str) -> None:
    if message:
        assert refusal(kind, value).startswith(message)
    else:
        assert read(ENDPOINT, reply(value), kind).id == "a"


def test_number_that_is_not_finite_is_refused() -> None:
    body = json.dumps({**MEMORY, "x-kit": [7]}).replace("7", "1e999").encode()
    assert refusal(RECORD, body) == "a number that is not finite"


@pytest.mark.parametrize(("score", "right"), [(0, True), (1, True), (-0.01, False), (1.01, False)])
def test_score_lies_between_zero_and_one(score: float, right: bool) -> None:
    found = {"results": [{"memory": MEMORY, "score": score}]}
    block = {"text": "t", "citations": [{"memory_id": "a", "score": score}], "token_count": 1}
    if right:
        assert read_found(ENDPOINT, reply(found))[0].score == score
        assert read(ENDPOINT, reply(block), BLOCK).citations[0].score == score
        return
    assert refusal(BLOCK, block) == "a score that is not between 0 and 1"
    for answer in (found, found["results"]):  # in its frame it went unseen
        with pytest.raises(ProviderError, match="a score that is not between 0 and 1"):
            read_found(ENDPOINT, reply(answer))


@pytest.mark.parametrize("spoilt", [{"version": 0}, {"version": 1 << 63}, {"id": " "}, {"user_id": ""}])
def test_memory_that_is_none_is_refused_wherever_it_stands(spoilt: dict[str, Any]) -> None:
    memory = {**MEMORY, **spoilt}
    result = {"memory": memory, "score": 0.5}
    for call, answer in (
        (read_found, {"results": [result]}),
        (read_found, [result]),
        (read_history, {"items": [memory]}),
        (read_history, [memory]),
        (read_export, {"memory": memory}),
    ):
        with pytest.raises(ProviderError, match=r"a version that is none|a memory without its id or its user"):
            call(ENDPOINT, reply(answer))


def test_place_of_what_is_wrong_is_shown_in_short_and_on_one_line() -> None:
    long = refusal(REPORT, {"imported": 1, "skipped": "x" * 500})
    assert long == "something unexpected: skipped: Input should be a valid integer"
    deep = refusal(LINE, {"memory": {**MEMORY, "source": {"type": "no\x1bne"}}})
    assert "\x1b" not in deep
    assert deep.startswith("something unexpected: memory.source.type: Input should be 'extracted', ")
    assert "no" not in deep.split("type: ")[1].split()[0]
    name = "\x1b" + "n" * 200
    tags = refusal(RECORDS, [{**MEMORY, "tags": [name, 7]}])
    assert tags.startswith("something unexpected: 0.tags.1: ")


def test_reply_that_would_take_too_much_memory_is_refused_unread() -> None:
    many = b"[" + b"[" * (MOST_OF_A_REPLY // 80)
    assert refusal(REPORT, many) == "more values than a reply may hold"
    assert refusal(PAGE, many) == "something that is not JSON"  # a page may hold more


def test_long_page_is_read_as_a_short_one() -> None:
    memories = [{**MEMORY, "id": f"m{number}", "content": "t" * 500} for number in range(READ_AT_ONCE // 500)]
    page = read(ENDPOINT, reply({"items": memories, "next_cursor": "c"}), PAGE)
    assert ([one.id for one in page.items], page.next_cursor) == ([one["id"] for one in memories], "c")
    records = read(ENDPOINT, reply({"items": memories}), RECORDS, "items")
    assert [one.id for one in records] == [one["id"] for one in memories]
    memories[40]["tags"] = 7
    assert refusal(PAGE, {"items": memories}).startswith("something unexpected: items.40.tags: ")


def test_search_is_read_with_and_without_its_frame() -> None:
    result = {"memory": MEMORY, "score": 0.5}
    framed = read_found(ENDPOINT, reply({"results": [result], "truncated": True}))
    assert ([one.memory.id for one in framed], framed.truncated) == (["a"], True)
    bare = read_found(ENDPOINT, reply(b" " + json.dumps([result]).encode()))
    assert ([one.memory.id for one in bare], bare.truncated) == (["a"], False)


def test_history_is_read_with_and_without_its_frame() -> None:
    framed = read_history(ENDPOINT, reply({"items": [MEMORY], "next_cursor": "c"}))
    assert ([one.id for one in framed], framed.next_cursor) == (["a"], "c")
    bare = read_history(ENDPOINT, reply(b"\n" + json.dumps([MEMORY]).encode()))
    assert ([one.id for one in bare], bare.next_cursor) == (["a"], None)


def test_capabilities_are_read_whatever_later_versions_say() -> None:
    said = read_capabilities(ENDPOINT, reply(SAID))
    assert said is not None
    assert (said.provider, said.features.temporal) == ("acme", True)
    later = {**SAID, "features": {"temporal": True, "scopes": "fractal"}, "limits": {"max_search_results": "many"}}
    said = read_capabilities(ENDPOINT, reply(later))
    assert said is not None
    assert (said.features.temporal, said.features.scopes) == (True, type(said.features)().scopes)
    assert said.limits is not None
    assert said.limits.max_search_results is None


@pytest.mark.parametrize("value", [b"<html>", [], {}, {**SAID, "omp_version": 1}, {**SAID, "provider": None}])
def test_server_that_does_not_speak_the_protocol_has_no_capabilities(value: Any) -> None:
    assert read_capabilities(ENDPOINT, reply(value)) is None


def lines(*values: Any) -> bytes:
    return b"\n".join(json.dumps(value).encode() for value in values)


def test_export_is_read_line_by_line_with_its_cursor() -> None:
    body = lines({"format": "omp"}, {"memory": MEMORY}, {"memory": {**MEMORY, "id": "b"}}) + b"\n\n"
    records, cursor = read_export(ENDPOINT, HttpReply(200, {"x-next-cursor": "c"}, body))
    assert ([one.id for one in records], cursor) == (["a", "b"], "c")
    assert read_export(ENDPOINT, HttpReply(200, {"x-next-cursor": ""}, b"{}")) == ([], None)
    assert read_export(ENDPOINT, HttpReply(200, {}, b"")) == ([], None)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lines([]), "something unexpected instead of an export"),
        (b"{", "something that is not JSON"),
        (lines({"memory": {**MEMORY, "version": 0}}), "a version that is none"),
        (lines({"other": 1}), "something unexpected: memory: Field required"),
        (b"[" * (MOST_OF_A_PAGE // 80), "more values than a reply may hold"),
    ],
)
def test_export_with_a_line_that_is_wrong_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(ProviderError) as caught:
        read_export(ENDPOINT, HttpReply(200, {}, body))
    assert caught.value.message == f"omp.test answered {message}"


def test_report_is_read() -> None:
    assert read(ENDPOINT, reply({"imported": 2}), REPORT) == ImportReport(imported=2)


def test_time_with_an_offset_is_read_as_utc() -> None:
    there = (NOW + timedelta(hours=2)).isoformat().replace("+00:00", "+02:00")
    assert read(ENDPOINT, reply({**MEMORY, "created_at": there}), RECORD).created_at == NOW


@pytest.mark.parametrize(
    ("place", "id_"),
    [
        ("/memories/mem_1", "mem_1"),
        ("/omp/memories/a%2Fb%20%C3%A9", "a/b é"),
        ("https://omp.test/memories/mem_1", "mem_1"),
        ("mem_1", "mem_1"),
        ("/memories/", None),
        ("", None),
        (None, None),
        (f"/memories/{'a' * 257}", None),
    ],
)
def test_place_of_a_memory_tells_its_id(place: str | None, id_: str | None) -> None:
    headers = {} if place is None else {"content-location": place}
    assert read_place(HttpReply(204, headers, b"")) == id_
