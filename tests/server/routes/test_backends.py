"""A server and what is behind it: an embedder, a pool that has no more to give, another server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from openmem.testing.postgres import PostgresServer
from tests.openai_stub import DIM, OpenAIStub
from tests.server.process import Process, Reply, request, run, started, until
from tests.tcp_proxy import PASS, REFUSE, TcpProxy

MEANINGS = [("car", "automobile", "drives"), ("tea", "beverage", "drinks"), ("cat", "pet", "kitten")]
BLOCKED = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


class Meanings(OpenAIStub):
    """A model that knows a few words, and which of them mean the same."""

    def answer(self, body: Any) -> bytes:
        vectors = [[float(any(word in text for word in words)) for words in MEANINGS] for text in body["input"]]
        items = [
            {"index": index, "embedding": [*vector, *[0.1] * (DIM - len(MEANINGS))]}
            for index, vector in enumerate(vectors)
        ]
        return json.dumps({"object": "list", "data": items}).encode()


def add(server: Process, content: str) -> Reply:
    return server.ask("POST", "/memories", json.dumps({"content": content, "user_id": "ann"}).encode())


def search(server: Process, words: str, mode: str) -> list[str]:
    reply = server.ask("GET", f"/memories/search?user_id=ann&q={words}&mode={mode}")
    assert reply.status == 200
    return [result["memory"]["content"] for result in reply.json()["results"]]


def test_fault_05_server_searches_by_meaning_with_the_embedder_it_was_given(tmp_path: Path) -> None:
    with (
        Meanings() as model,
        started("--url", str(tmp_path / "m.db"), "--embedder", "openai:meanings", OPENAI_BASE_URL=model.url) as server,
    ):
        assert server.ask("GET", "/capabilities").json()["features"]["vector_search"] is True
        known = {"automobile": "Ann has a car", "beverage": "Ann likes tea", "pet": "Ann has a cat"}
        for content in known.values():
            assert add(server, content).status == 201
        for words, content in known.items():
            assert search(server, words, "keyword") == []
            assert search(server, words, "vector")[0] == content
            assert search(server, words, "hybrid")[0] == content
        assert {received.body["model"] for received in model.received} == {"meanings"}


def test_fault_16_request_for_which_no_connection_is_free_is_a_503_in_its_time(
    postgres: PostgresServer, postgres_template: str
) -> None:
    url = postgres.new_database(template=postgres_template)
    with (
        started("--pool-size", "1", OMP_URL=url) as server,
        psycopg.connect(url, autocommit=True) as watcher,
        server.connect() as wire,
    ):
        assert add(server, "likes tea").status == 201
        (table,) = watcher.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables where tablename = 'memories'"
        ).fetchone() or ("",)
        with psycopg.connect(url) as locker:
            locker.execute(f"lock table {table} in access exclusive mode".encode())
            wire.send(request("GET", "/memories?user_id=ann"))
            until(lambda: watcher.execute(BLOCKED).fetchone() == (1,))
            reply = server.ask("GET", "/memories?user_id=ann", x_omp_timeout="1")
            assert (reply.status, reply.code) == (503, "provider_unavailable")
            assert int(reply.headers["retry-after"]) >= 1
            assert "pool exhausted" in reply.json()["error"]["message"]
            assert watcher.execute(BLOCKED).fetchone() == (1,)
        assert len(wire.reply().json()["items"]) == 1
        assert server.ask("GET", "/memories?user_id=ann").status == 200
        assert server.stop() == 0
    postgres.drop_database(url)


def test_size_of_the_pool_is_refused_where_there_is_none(tmp_path: Path) -> None:
    ended = run("--url", str(tmp_path / "m.db"), "--pool-size", "3")
    assert ended.returncode == 2
    assert "pool_max_size" in ended.stderr


@pytest.mark.parametrize("named", [True, False])
def test_fault_21_health_in_front_of_another_server_is_that_of_the_other(tmp_path: Path, named: bool) -> None:
    with started("--url", str(tmp_path / "m.db")) as upstream, TcpProxy("127.0.0.1", upstream.port) as line:
        place = ["--base-url", f"http://127.0.0.1:{line.port}", "--store", str(tmp_path / "front.db")]
        with started(*place, *(["--provider", "passthrough"] if named else [])) as server:
            for path in ("/healthz", "/health/ready"):
                for method in ("GET", "HEAD"):
                    assert server.ask(method, path).status == 200
            line.mode = REFUSE
            line.reset_connections()
            until(lambda: server.ask("GET", "/healthz").status == 503)
            reply = server.ask("GET", "/healthz")
            assert (reply.code, reply.headers["retry-after"]) == ("provider_unavailable", "1")
            assert server.ask("GET", "/health/live").status == 200
            line.mode = PASS
            until(lambda: server.ask("GET", "/healthz").status == 200)
