"""Keys: found by their secret while they are good, and their secret is nowhere."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, AsyncServerStore, InvalidRequestError, NotFoundError, OMPError, ProviderError
from openmem._io.concurrency.primitives import async_gather
from openmem._model.scopes import parse_grant
from openmem.server import NewKey
from tests.postgres_catalog import execute, plain_role
from tests.server_stores import written

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
HOUR = timedelta(hours=1)


async def make(store: AsyncServerStore, **given: Any) -> NewKey:
    return await store.create_key(
        **{"app": "editor", "user_id": "ann", "grants": ["read:coding/*"], "now": NOW, **given}
    )


async def test_key_is_found_by_its_secret_and_says_who_may_do_what(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        grants = ["read:coding/*", parse_grant("write:a b/ü"), "read:coding/*"]
        made = await make(store, grants=grants, expires_at=NOW + HOUR)
        info = made.info
        assert await store.find_key(made.secret, now=NOW) == info
    assert (info.app, info.user_id, info.created_at, info.expires_at) == ("editor", "ann", NOW, NOW + HOUR)
    assert [str(grant) for grant in info.grants] == ["read:coding/*", "write:a b/ü"]
    assert (info.last_used_at, info.revoked_at, info.state(NOW)) == (None, None, "active")
    assert info.access.may("read", "coding/x")
    assert not info.access.may("write", "coding/x")
    assert made.secret.startswith(f"omp_{info.id}_")
    assert (len(info.id), len(made.secret)) == (12, 4 + 12 + 1 + 43)


async def test_key_of_any_user_outlives_the_instance_that_made_it(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        made = await make(store, user_id=None, now=None)
    async with AsyncServerStore(server_store_url_) as store:
        found = await store.find_key(made.secret)
        assert found == made.info
        assert found.user_id is None


async def test_only_the_whole_secret_finds_a_key(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        secret, other = (await make(store)).secret, (await make(store)).secret
        last = "A" if secret[-1] != "A" else "B"
        wrong = [secret[:-1] + last, secret[:17] + other[17:], secret[:-1], secret + "A", f"{secret}\n", f" {secret}"]
        wrong += ["", "omp_", secret[4:], secret.upper(), "omp_000000000000_" + secret[17:], "ö" * 60, "\x00\ud800"]
        for text in wrong:
            assert await store.find_key(text, now=NOW) is None, repr(text)
        assert await store.find_key(None, now=NOW) is None  # type: ignore[arg-type]
        assert await store.find_key(secret, now=NOW) is not None


async def test_key_is_good_until_the_moment_it_expires(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        made = await make(store, expires_at=NOW + HOUR)
        moment = timedelta(microseconds=1)
        assert await store.find_key(made.secret, now=NOW + HOUR - moment) == made.info
        assert await store.find_key(made.secret, now=NOW + HOUR) is None
        assert await store.find_key(made.secret) is None  # it expired long ago
        assert made.info.state(NOW + HOUR) == "expired"


async def test_revoked_key_never_comes_back(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store, AsyncServerStore(server_store_url_) as other:
        made, kept = await make(store), await make(store)
        assert await other.find_key(made.secret, now=NOW) is not None
        revoked = await store.revoke_key(made.info.id, now=NOW + HOUR)
        assert (revoked.revoked_at, revoked.state(NOW)) == (NOW + HOUR, "revoked")
        assert await other.find_key(made.secret, now=NOW) is None
        await store.touch_keys({made.info.id: NOW + 3 * HOUR})
        assert (await store.revoke_key(made.info.id, now=NOW + 2 * HOUR)).revoked_at == NOW + HOUR
        assert await store.find_key(made.secret, now=NOW + 2 * HOUR) is None
        assert await store.find_key(kept.secret, now=NOW) == kept.info


@pytest.mark.parametrize("id_", ["000000000000", "", "short", "'; drop table keys; --", "\x00\ud800", None, 7])
async def test_key_that_is_not_there_cannot_be_revoked(tmp_path: Path, id_: Any) -> None:
    async with AsyncServerStore(str(tmp_path / "server.db")) as store:
        with pytest.raises(NotFoundError, match="no key has this id"):
            await store.revoke_key(id_)


async def test_list_shows_all_keys_oldest_first(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        assert await store.list_keys() == []
        second = await make(store, now=NOW + HOUR)
        first = await make(store, expires_at=NOW + HOUR)
        gone = await store.revoke_key((await make(store, now=NOW + 2 * HOUR)).info.id)
        assert await store.list_keys() == [first.info, second.info, gone]


async def test_revoking_the_last_key_opens_no_door(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        assert not await store.has_keys()
        made = await make(store)
        assert await store.has_keys()
        await store.revoke_key(made.info.id)
        assert await store.has_keys()


async def test_last_use_is_stored_and_never_goes_back(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        ids = [(await make(store)).info.id for _ in range(3)]
        await store.touch_keys({})
        await store.touch_keys({ids[0]: NOW + HOUR, ids[1]: NOW, "000000000000": NOW, "nonsense": NOW})
        await store.touch_keys({ids[0]: NOW, ids[1]: NOW + HOUR})
        used = {info.id: info.last_used_at for info in await store.list_keys()}
        assert used == {ids[0]: NOW + HOUR, ids[1]: NOW + HOUR, ids[2]: None}
        with pytest.raises(InvalidRequestError):
            await store.touch_keys({ids[0]: datetime(2026, 1, 1)})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"app": None}, "app is required"),
        ({"app": " "}, "app must not be blank"),
        ({"app": "a\nb"}, "app must not contain"),
        ({"user_id": ""}, "user_id is required"),
        ({"user_id": "*"}, r"'\*' is not allowed"),
        ({"user_id": 7}, "user_id must be a string"),
        ({"grants": []}, "1 to 100 entries"),
        ({"grants": "read:*"}, "grants must be a list"),
        ({"grants": ["read:*"] * 101}, "1 to 100 entries"),
        ({"grants": ["read:*", "look:*"]}, r"grants\[1\] must be one of read"),
        ({"grants": ["read"]}, r"grants\[0\] must have the form"),
        ({"grants": ["read:a*b"]}, "only as the last segment"),
        ({"grants": [None]}, r"grants\[0\] must be a string"),
        ({"expires_at": NOW}, "in the future"),
        ({"expires_at": NOW - HOUR}, "in the future"),
        ({"expires_at": datetime(2030, 1, 1)}, "timezone-aware"),
        ({"expires_at": 7}, "expires_at must be a datetime"),
    ],
)
async def test_wrong_key_is_refused_and_nothing_is_stored(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    async with AsyncServerStore(str(tmp_path / "server.db")) as store:
        with pytest.raises(InvalidRequestError, match=message):
            await make(store, **given)
        assert await store.list_keys() == []


async def test_secret_is_nowhere(server_store_url_: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with AsyncServerStore(server_store_url_) as store:
        made = await make(store)
        await store.find_key(made.secret, now=NOW)
        token = made.secret[-20:]
        assert hashlib.sha256(made.secret.encode()).hexdigest().encode() in written(server_store_url_)
        assert token.encode() not in written(server_store_url_)
        with pytest.raises(OMPError) as caught:
            await store.revoke_key(made.secret)
        shown = f"{made!r}{made}{made.info!r}{store!r}{caplog.text}{''.join(traceback.format_exception(caught.value))}"
        assert token not in shown
        assert "ann" not in repr(made)
    assert token.encode() not in written(server_store_url_)


async def test_keys_are_made_side_by_side(server_store_url_: str) -> None:
    async with AsyncServerStore(server_store_url_) as store:
        made = await async_gather(*[lambda: make(store)] * 20)
        found = await async_gather(*[lambda one=one: store.find_key(one.secret, now=NOW) for one in made])
        assert found == [one.info for one in made]
        assert len({one.info.id for one in made}) == 20


# --- the address ---


async def test_file_is_of_its_own_kind_and_private(tmp_path: Path) -> None:
    path, memories = tmp_path / "server.db", tmp_path / "memories.db"
    store = AsyncServerStore(path.as_posix())
    assert not path.exists()
    async with store, AsyncMemory(url=memories, embedder="none") as memory:
        await memory.add(content="x", user_id="ann")
        assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(ProviderError, match="another application"):
        async with AsyncServerStore(str(memories)):
            pass
    with pytest.raises(ProviderError, match="another application"):
        async with AsyncMemory(url=path, embedder="none"):
            pass


async def test_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    async with AsyncServerStore(str(path)):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version=99")
    connection.close()
    with pytest.raises(ProviderError, match="newer version"):
        async with AsyncServerStore(str(path)):
            pass


async def test_newer_schema_is_refused(empty_postgres_url: str) -> None:
    async with AsyncServerStore(empty_postgres_url):
        pass
    execute(empty_postgres_url, "insert into openmem_server.migrations values(99)")
    with pytest.raises(ProviderError, match="newer version"):
        async with AsyncServerStore(empty_postgres_url):
            pass


async def test_role_without_rights_is_told_what_to_do_and_needs_no_more(empty_postgres_url: str) -> None:
    with plain_role(empty_postgres_url) as (role, url):
        with pytest.raises(ProviderError, match="CREATE SCHEMA openmem_server AUTHORIZATION"):
            async with AsyncServerStore(url):
                pass
        execute(empty_postgres_url, f"create schema openmem_server authorization {role}")
        async with AsyncServerStore(url) as store:
            assert await store.find_key((await make(store)).secret, now=NOW) is not None
        execute(empty_postgres_url, "drop schema openmem_server cascade")


async def test_database_needs_no_extension_and_connections_are_used_again(empty_postgres_url: str) -> None:
    execute(empty_postgres_url, "drop extension if exists vector cascade")
    async with AsyncServerStore(empty_postgres_url) as store:
        for _ in range(5):
            await make(store)
        assert store._place._db.stats() == {"size": 1, "idle": 1, "waiting": 0}  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["", " ", None, 7, "http://127.0.0.1", "mysql://x/y", "sqlite://", ":memory:"])
def test_text_that_is_no_address_is_refused(url: Any) -> None:
    with pytest.raises(InvalidRequestError):
        AsyncServerStore(url)


async def test_closed_store_says_so(server_store_url_: str) -> None:
    store = AsyncServerStore(server_store_url_)
    assert "unused" in repr(store)
    await store.has_keys()
    assert "open" in repr(store)
    await store.close()
    await store.close()
    with pytest.raises(RuntimeError, match="ServerStore is closed"):
        await store.has_keys()
