"""Keys come and go while the server runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from openmem import ServerStore
from openmem.server import NewKey
from openmem.server.services.authentication import REMEMBERED
from tests.server.running import Place, RouteOptions, running_with_store


def status(place: Place, key: dict[str, str]) -> int:
    return place.client.get("/memories?user_id=ann", headers=key).status_code


def wait_for(place: Place, key: dict[str, str], expected: int) -> float:
    """Return the seconds until the server answers like this."""
    started = time.monotonic()
    while status(place, key) != expected:
        assert time.monotonic() - started < 10
        time.sleep(0.02)
    return time.monotonic() - started


def test_revoked_key_stops_working_within_two_seconds(keyed_server: Place) -> None:
    key = keyed_server.key()
    assert status(keyed_server, key) == 200
    keyed_server.store.revoke_key(key["Authorization"].split("_")[1])
    assert wait_for(keyed_server, key, 401) < REMEMBERED + 0.5


def test_key_expires_to_the_moment_even_if_it_is_remembered(keyed_server: Place) -> None:
    end = datetime.now(UTC) + timedelta(seconds=0.7)
    made = keyed_server.store.create_key(app="a", user_id=None, grants=["admin:*"], expires_at=end)
    key = {"X-API-Key": made.secret}
    assert status(keyed_server, key) == 200
    wait_for(keyed_server, key, 401)
    assert timedelta(0) <= datetime.now(UTC) - end < timedelta(seconds=1)


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_import_stores_nothing_more_once_its_key_does_not_work(keyed_server: Place, end: str) -> None:
    user = f"user-{end}"
    made = key_that_ends(keyed_server, user, end)
    key = {"X-API-Key": made.secret}

    def body() -> Iterator[bytes]:
        yield lines_of(user, 0, 500)
        wait_until_stored(keyed_server, user)
        stop(keyed_server, made, end)
        wait_for(keyed_server, key, 401)
        yield lines_of(user, 500, 1_500)

    reply = keyed_server.client.post("/import", content=body(), headers=key)
    assert (reply.status_code, reply.json()["error"]["details"]["done"]["imported"]) == (401, 500)
    assert count_of(keyed_server, user) == 500


def test_import_that_only_ends_after_its_key_stores_nothing_more(keyed_server: Place) -> None:
    made = key_that_ends(keyed_server, "late", "revoked")
    key = {"X-API-Key": made.secret}

    def body() -> Iterator[bytes]:
        yield lines_of("late", 0, 10)
        stop(keyed_server, made, "revoked")
        wait_for(keyed_server, key, 401)

    assert keyed_server.client.post("/import", content=body(), headers=key).status_code == 401
    assert count_of(keyed_server, "late") == 0


def test_export_breaks_off_once_its_key_does_not_work(keyed_server: Place) -> None:
    reader = keyed_server.key()
    text = "".join(line_of("much", number, "x" * 40_000) for number in range(1_000))
    assert keyed_server.client.post("/import", content=text, headers=reader).json()["imported"] == 1_000
    made = key_that_ends(keyed_server, "much", "revoked")
    with keyed_server.client.stream("GET", "/export", headers={"X-API-Key": made.secret}) as reply:
        parts = reply.iter_raw()
        got = len(next(parts))
        stop(keyed_server, made, "revoked")
        wait_for(keyed_server, {"X-API-Key": made.secret}, 401)
        with pytest.raises(httpx.RemoteProtocolError):
            got += sum(map(len, parts))
    assert got < len(text)


def key_that_ends(place: Place, user: str, end: str) -> NewKey:
    expires = datetime.now(UTC) + timedelta(seconds=2) if end == "expired" else None
    return place.store.create_key(app="a", user_id=user, grants=["read:*", "write:*"], expires_at=expires)


def stop(place: Place, made: NewKey, end: str) -> None:
    if end == "revoked":
        place.store.revoke_key(made.info.id)


def line_of(user: str, number: int, content: str = "x") -> str:
    record = {"id": f"{user}-{number}", "user_id": user, "content": content, "created_at": "2026-01-01T00:00:00Z"}
    return json.dumps({"memory": record}) + "\n"


def lines_of(user: str, start: int, end: int) -> bytes:
    return "".join(line_of(user, number) for number in range(start, end)).encode()


def count_of(place: Place, user: str) -> int:
    return place.client.get(f"/export?user_id={user}", headers=place.key()).text.count("\n") - 1


def wait_until_stored(place: Place, user: str) -> None:
    started = time.monotonic()
    while not count_of(place, user):
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("why", ["unknown", "expired", "revoked"])
def test_why_a_key_does_not_work_is_not_told(keyed_server: Place, why: str) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    made = keyed_server.store.create_key(
        app="a",
        user_id=None,
        grants=["admin:*"],
        expires_at=past if why == "expired" else None,
        now=past - timedelta(days=1),
    )
    if why == "revoked":
        keyed_server.store.revoke_key(made.info.id)
    secret = made.secret if why != "unknown" else "omp_" + "z" * 12 + "_" + "a" * 43
    reply = keyed_server.client.get("/memories?user_id=a", headers={"X-API-Key": secret})
    assert reply.json()["error"]["message"] == "the API key is missing or not valid"
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")


def test_first_key_closes_an_open_server_for_good(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'server.db'}"
    with running_with_store(f"sqlite:///{tmp_path / 'memories.db'}", store) as place:
        assert status(place, {}) == 200
        key = place.key()
        assert wait_for(place, {}, 401) < REMEMBERED + 0.5
        assert status(place, key) == 200
        place.store.revoke_key(key["Authorization"].split("_")[1])
        wait_for(place, key, 401)
        assert status(place, {}) == 401


def test_use_of_a_key_is_written_down_at_the_latest_when_the_server_stops(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'server.db'}"
    with running_with_store(f"sqlite:///{tmp_path / 'memories.db'}", store) as place:
        used, unused = place.key(), place.key()
        assert [status(place, used) for _ in range(3)] == [200] * 3
    with ServerStore(store) as opened:
        last = {info.id: info.last_used_at for info in opened.list_keys()}
    assert last[used["Authorization"].split("_")[1]] is not None
    assert last[unused["Authorization"].split("_")[1]] is None


def test_server_that_may_not_be_open_asks_for_a_key_even_if_there_is_none(tmp_path: Path) -> None:
    options = RouteOptions(open_without_keys=False)
    with running_with_store(
        f"sqlite:///{tmp_path / 'memories.db'}", f"sqlite:///{tmp_path / 'server.db'}", options=options
    ) as place:
        assert status(place, {}) == 401
        assert place.client.get("/capabilities").status_code == 200


def test_documentation_in_the_browser_is_there_on_request(tmp_path: Path) -> None:
    with running_with_store(
        f"sqlite:///{tmp_path / 'memories.db'}", f"sqlite:///{tmp_path / 'server.db'}", options=RouteOptions(docs=True)
    ) as place:
        reply = httpx.get(place.client.base_url.join("/docs"))
        assert (reply.status_code, "docs/start.js" in reply.text) == (200, True)
