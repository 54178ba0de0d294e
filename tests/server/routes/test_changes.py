"""The feed of changes over HTTP: pages, and a stream of events that ends well and loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from openmem._protocol.event_stream import beat, wants_events
from openmem.server.middleware.admission import Streams
from openmem.server.routes import changes
from tests.server.process import started, until
from tests.server.running import Place, RouteOptions, running_with_store

EVENTS = {"Accept": "text/event-stream"}


@dataclass
class Stream:
    """An open stream, read event by event as a browser does."""

    reply: httpx.Response
    last_id: str = ""

    def __post_init__(self) -> None:
        self.lines = self.reply.iter_lines()

    def next(self) -> dict[str, Any]:
        """Return the data of the next event that has any; an empty object at the end of the stream."""
        data, id_ = [], self.last_id
        for line in self.lines:
            if line:
                name, _, value = line.partition(": ")
                id_ = value if name == "id" else id_
                data += [value] if name == "data" else []
                continue
            self.last_id = id_
            if data:
                return dict(json.loads("\n".join(data)))
        return {}

    def contentless(self, count: int) -> list[tuple[Any, ...]]:
        found = [self.next() for _ in range(count)]
        return [(one["action"], one.get("memory_id"), one.get("version")) for one in found]


@contextmanager
def listening(url: httpx.URL | str, headers: dict[str, str] | None = None, **params: Any) -> Iterator[Stream]:
    with (
        httpx.Client(base_url=url, timeout=30) as client,
        client.stream("GET", "/changes", params=params, headers={**EVENTS, **(headers or {})}) as reply,
    ):
        assert reply.status_code == 200, reply.read()
        assert reply.headers["content-type"] == "text/event-stream"
        yield Stream(reply)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    url, options = f"sqlite:///{tmp_path / 'm.db'}", RouteOptions(verb_timeout=10)
    with running_with_store(url, f"sqlite:///{tmp_path / 's.db'}", options=options) as place:
        yield place


def add(client: httpx.Client, content: str = "tea", user_id: str = "ann", **more: Any) -> str:
    reply = client.post("/memories", json={"content": content, "user_id": user_id, **more})
    return str(reply.json()["id"])


def test_page_holds_changes_and_where_the_feed_goes_on(place: Place) -> None:
    ids = [add(place.client, scope="home"), add(place.client, "rice", user_id="bob")]
    page = place.client.get("/changes", params={"user_id": "ann"}).json()
    [change] = page["items"]
    assert (change["action"], change["memory_id"], change["scope"], change["version"]) == ("add", ids[0], "home", 1)
    assert page["has_more"] is False
    everything = place.client.get("/changes", params={"limit": 1}).json()
    assert (len(everything["items"]), everything["has_more"]) == (1, True)
    rest = place.client.get("/changes", params={"cursor": everything["next_cursor"]}).json()
    assert {one["memory_id"] for one in everything["items"] + rest["items"]} == set(ids)
    assert place.client.head("/changes", headers=EVENTS).headers["content-type"] == "application/json"


def test_stream_sends_what_was_and_then_what_comes(place: Place) -> None:
    first = add(place.client)
    with listening(place.client.base_url, user_id="ann") as stream:
        assert stream.contentless(1) == [("add", first, 1)]
        place.client.patch(f"/memories/{first}", json={"content": "green tea"})
        add(place.client, user_id="bob")
        place.client.delete(f"/memories/{first}")
        assert stream.contentless(2) == [("update", first, 2), ("delete", first, 2)]


def test_stream_goes_on_behind_the_event_that_a_client_saw_last(place: Place) -> None:
    ids = [add(place.client, f"fact {number}") for number in range(4)]
    with listening(place.client.base_url, user_id="ann") as stream:
        stream.contentless(2)
        seen = stream.last_id
    old = place.client.get("/changes", params={"user_id": "ann", "limit": 1}).json()["next_cursor"]
    with listening(place.client.base_url, {"Last-Event-ID": seen}, user_id="ann", cursor=old) as stream:
        assert [one[1] for one in stream.contentless(2)] == ids[2:]


def test_stream_without_changes_says_where_to_go_on(place: Place) -> None:
    with listening(place.client.base_url, user_id="ann") as stream:
        line = next(line for line in stream.lines if line.startswith("id: "))
    first = add(place.client)
    with listening(place.client.base_url, {"Last-Event-ID": line.removeprefix("id: ")}, user_id="ann") as stream:
        assert stream.contentless(1) == [("add", first, 1)]


def test_quiet_stream_gives_signs_of_life(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "BEAT", 0.01)
    monkeypatch.setattr(changes, "PAUSE", 0.02)
    with listening(place.client.base_url, user_id="ann") as stream:
        signs = [line for line, _ in zip((line for line in stream.lines if line == ":"), range(3), strict=False)]
        assert signs == [":"] * 3
    assert beat("abc") == b":\nid: abc\n\n"


def test_wrong_request_is_an_error_and_no_stream(place: Place) -> None:
    for params, status in (({"cursor": "junk"}, 400), ({"limit": "0"}, 400)):
        reply = place.client.get("/changes", params={"user_id": "ann", **params}, headers=EVENTS)
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, "invalid_request")
    reply = place.client.get("/changes", params={"user_id": "ann"}, headers={**EVENTS, "Last-Event-ID": "junk"})
    assert reply.status_code == 400


def test_stream_shows_what_the_key_may_read_and_ends_with_the_key(place: Place) -> None:
    admin = place.key()
    made = place.store.create_key(app="notes", user_id="ann", grants=["read:home/*"])
    mine = {"Authorization": f"Bearer {made.secret}"}
    body = {"content": "tea", "user_id": "ann"}
    assert place.client.get("/changes", params={"user_id": "bob"}, headers={**mine, **EVENTS}).status_code == 403
    assert place.client.get("/changes", headers={**place.key("read:*"), **EVENTS}).status_code == 403
    with listening(place.client.base_url, mine) as stream:
        place.client.post("/memories", json={**body, "scope": "work"}, headers=admin)
        shown = place.client.post("/memories", json={**body, "scope": "home/kitchen"}, headers=admin).json()
        assert stream.contentless(1) == [("add", shown["id"], 1)]
        place.store.revoke_key(made.info.id)
        assert stream.next() == {}


def test_streams_are_bounded_and_those_that_end_make_room(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "PAUSE", 0.02)
    with listening(place.client.base_url, user_id="ann") as first:
        next(first.lines)
        monkeypatch.setattr(Streams, "are_full", property(lambda self: self._open >= 1))
        refused = place.client.get("/changes", params={"user_id": "ann"}, headers=EVENTS)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"]
        assert place.client.get("/changes", params={"user_id": "ann"}).status_code == 200
    until(lambda: _opens(place.client.base_url))


def _opens(url: httpx.URL) -> bool:
    with (
        httpx.Client(base_url=url) as client,
        client.stream("GET", "/changes?user_id=ann", headers=EVENTS) as reply,
    ):
        return reply.status_code == 200


def test_streams_hold_no_place_among_requests_and_end_when_the_server_stops(tmp_path: Path) -> None:
    with started("--concurrency", "1", "--workers", "2", OMP_URL=f"sqlite:///{tmp_path / 'm.db'}") as server:
        url = f"http://127.0.0.1:{server.port}"
        with httpx.Client(base_url=url, timeout=20) as client, listening(url, user_id="ann") as stream:
            next(stream.lines)

            def added() -> bool:
                return client.post("/memories", json={"content": "tea", "user_id": "ann"}).status_code == 201

            until(added)
            [(action, _, _)] = stream.contentless(1)
            assert action == "add"
            assert server.stop() == 0
            assert stream.next() == {}


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("text/event-stream", True),
        ("application/json;q=0.5, Text/Event-Stream ; q=0.9", True),
        ("text/event-stream;q=0", False),
    ],
)
def test_events_are_sent_to_a_client_that_asks_for_them(accept: str | None, wanted: bool) -> None:
    assert wants_events(accept) is wanted
