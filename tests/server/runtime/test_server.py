"""The life of a server: how it starts, what it says, and how it stops, as real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from openmem import ServerStore
from openmem.server.runtime.boot import listen
from openmem.server.runtime.settings import ServerSettings
from openmem.testing.postgres import PostgresServer
from tests.server.process import Process, command, environment, request, run, started, until

HINT = "omp keys create --app NAME --user '*' --grant 'admin:*'"


def body_of(number: int) -> bytes:
    return json.dumps({"content": f"memory number {number}", "user_id": "ann"}).encode()


def stored(file: Path) -> int:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        return int(database.execute("select count(*) from memories").fetchone()[0])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "m.db"


# Starting


def test_server_without_keys_says_so_and_how_to_make_one(file: Path) -> None:
    with started("--url", str(file)) as server:
        assert len(server.first_lines) == 2
        assert "no keys" in server.first_lines[0]
        assert HINT in server.first_lines[0]
        assert server.first_lines[1] == f"omp-server: serving sqlite at http://127.0.0.1:{server.port}"
        assert server.ask("GET", "/version").json()["server"]


def test_server_without_keys_answers_on_loopback_only(file: Path) -> None:
    done = run("--url", str(file), "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 1
    assert "loopback only" in done.stderr
    assert HINT in done.stderr
    flags = ("--host", "0.0.0.0", "--insecure", "--allowed-host", "memories.lan,other.lan")
    with started("--url", str(file), *flags) as server:
        for host in ("192.0.2.7:8080", "[2001:db8::1]", "localhost", "Memories.lan:8080", "other.lan"):
            assert server.ask("GET", "/memories?user_id=ann", host=host).status == 200
        # A name that is not listed may be that of a page which makes it point to this machine.
        for host in ("attacker.example", "memories.lan.attacker.example", "x@memories.lan", "192.0.2.7.nip.io", "[bad"):
            refused = server.ask("GET", "/memories?user_id=ann", host=host)
            assert (refused.status, refused.code) == (403, "scope_denied")
            assert "--allowed-host" in refused.json()["error"]["message"]


def test_server_with_keys_may_listen_anywhere_and_asks_for_them(file: Path) -> None:
    store = f"sqlite:///{file}-keys.db"
    with ServerStore(store) as keys:
        secret = keys.create_key(app="notes", user_id="ann", grants=["read:*", "write:*"]).secret
    with started("--url", str(file), "--store", store, "--host", "0.0.0.0") as server:
        assert len(server.first_lines) == 1
        assert server.ask("GET", "/memories").status == 401
        reply = server.ask("GET", "/memories", authorization=f"Bearer {secret}", origin="https://any.example")
        assert reply.status == 200
        assert secret not in server.output()


def test_body_does_not_wait_until_the_head_is_acknowledged() -> None:
    # Without that option a reply on a connection that is kept took 40 ms longer.
    with (
        listen(ServerSettings(host="127.0.0.1", port=0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_rate_limit_holds_over_the_socket(file: Path) -> None:
    with started("--url", str(file), "--rate-limit", "5") as server:
        replies = [server.ask("GET", "/memories?user_id=ann") for _ in range(6)]
        assert [reply.status for reply in replies] == [200] * 5 + [429]
        assert 1 <= int(replies[-1].headers["retry-after"]) <= 60


def test_secret_address_comes_from_a_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"sqlite:///{file}\n")
    with started(OMP_URL_FILE=str(tmp_path / "url")) as server:
        assert server.ask("POST", "/memories", body_of(1)).status == 201
    assert stored(file) == 1


def test_store_that_cannot_be_opened_fails_the_start(tmp_path: Path) -> None:
    (tmp_path / "m.db").write_text("this is no database, and it is longer than a header" * 10)
    done = run("--url", str(tmp_path / "m.db"), "--port", "0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"omp-server: the memories cannot be opened at {tmp_path / 'm.db'}: ")
    assert "Traceback" not in done.stderr


def test_postgres_that_does_not_answer_fails_the_start_in_time() -> None:
    # A start that fails at once says what a process takes on this machine just now.
    begun = time.monotonic()
    assert run("--url", "postgresql://omp@127.0.0.1:1/omp", "--port", "0", "--boot-timeout", "1").returncode == 1
    at_once = time.monotonic() - begun
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://omp:hidden@127.0.0.1:{silent.getsockname()[1]}/omp"
        begun = time.monotonic()
        done = run("--url", url, "--port", "0", "--boot-timeout", "1")
    assert time.monotonic() - begun < 2 * at_once + 5
    assert "no answer in 1 seconds" in done.stderr
    assert done.returncode == 1
    assert done.stderr.startswith("omp-server: the memories cannot be opened at postgresql://127.0.0.1:")
    assert "hidden" not in done.stderr


def test_port_that_is_taken_fails_the_start(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("--url", str(file), "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr


def test_command_omp_serve_is_the_same(file: Path) -> None:
    from tests.shell import start

    done = subprocess.run(
        [*start(), "serve", "--url", str(file), "--port", "x"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("omp-server: bad config")
    shown = subprocess.run([*start(), "serve", "--help"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0
    assert "--max-request-bytes" in shown.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_that_is_told_to_stop_while_it_starts_ends_at_once(number: int) -> None:
    # The first process of a container hears only the signals that it handles: it started all the same.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        flags = ("--url", f"postgresql://omp@127.0.0.1:{silent.getsockname()[1]}/omp", "--port", "0")
        process = subprocess.Popen(command(*flags), env=environment(), stderr=subprocess.PIPE, text=True)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(number)
            said = process.communicate()[1]
    assert (process.returncode, said) == (0, "")


def test_server_that_is_told_to_stop_before_its_routes_are_loaded_stops_well(file: Path) -> None:
    code = """
import signal, socket, sys
from openmem.server.runtime.settings import read_settings
from openmem.server.runtime.server import ServerConfig, ServerProcess
server = ServerProcess(ServerConfig(read_settings({"url": sys.argv[1]}, {})))
server.handle_exit(signal.SIGTERM, None)
server.run([socket.create_server(("127.0.0.1", 0))])
print(server.started)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


# Running


def test_log_as_json(file: Path) -> None:
    with started("--url", str(file), "--log-format", "json") as server:
        server.ask("GET", "/memories/secret-id", x_request_id="j1")
        until(lambda: '"j1"' in server.output())
        line = json.loads(next(line for line in server.output().splitlines() if '"j1"' in line))
    milliseconds = line.pop("milliseconds")
    assert isinstance(milliseconds, int)
    line.pop("time")
    assert line == {
        "level": "INFO",
        "logger": "openmem.server.access",
        "method": "GET",
        "route": "/memories/{id}",
        "status": 404,
        "request_id": "j1",
    }


def test_health_follows_the_database(own_postgres: PostgresServer) -> None:
    url = own_postgres.new_database()
    with started("--url", url, "--request-timeout", "2") as server:
        for path in ("/healthz", "/health/ready", "/health/live"):
            assert server.ask("GET", path).json() == {"status": "ok"}
        metrics = server.ask("GET", "/metrics").body.decode()
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(metrics)
            for sample in family.samples
        }
        assert found["omp_provider_up",] == 1.0
        assert found["omp_pool", "size"] >= 1.0
        own_postgres.stop()
        try:
            until(lambda: server.ask("GET", "/health/ready").status == 503)
            down = server.ask("GET", "/healthz")
            assert (down.status, down.code) == (503, "provider_unavailable")
            assert "retry-after" in down.headers
            assert server.ask("GET", "/health/live").status == 200
            assert b"omp_provider_up 0.0" in server.ask("GET", "/metrics").body
        finally:
            own_postgres.restart()
        until(lambda: server.ask("GET", "/health/ready").status == 200)


# Stopping


def test_nothing_acknowledged_is_lost_when_stopped_under_load(file: Path) -> None:
    acknowledged: list[int] = []
    refused: list[int] = []

    def write(server: Process, number: int) -> None:
        try:
            with server.connect() as wire:
                while True:
                    reply = wire.ask("POST", "/memories", body_of(number))
                    (acknowledged if reply.status == 201 else refused).append(reply.status)
        except (OSError, AssertionError):
            return  # the connection was closed

    with started("--url", str(file)) as server:
        writers = [threading.Thread(target=write, args=(server, number)) for number in range(4)]
        for writer in writers:
            writer.start()
        until(lambda: len(acknowledged) > 40)
        assert server.stop() == 0
        for writer in writers:
            writer.join(10)
        assert "Traceback" not in server.output()
    assert set(refused) <= {503}
    assert stored(file) == len(acknowledged)


def test_request_that_runs_ends_and_nothing_new_is_taken_on(file: Path) -> None:
    with started("--url", str(file)) as server:
        kept, running, idle = server.connect(), server.connect(), server.connect()
        body = body_of(1)
        assert idle.ask("GET", "/health/ready").status == 200
        head = request("POST", "/memories", content_length=str(len(body)), content_type="application/json")
        for wire in (kept, running):
            wire.send(head + body[:5])
        until(lambda: b"omp_requests_in_flight 3.0" in server.ask("GET", "/metrics").body)
        server.process.send_signal(signal.SIGTERM)
        assert idle.is_closed()
        idle.__exit__()
        until(lambda: not _accepts(server.port))
        for wire in (kept, running):
            wire.send(body[5:])
            reply = wire.reply()
            assert reply.status == 201
            assert wire.is_closed()
            wire.__exit__()
        assert server.process.wait(10) == 0
    assert stored(file) == 2


def test_request_that_never_ends_is_given_up_after_the_drain_time(file: Path) -> None:
    with started("--url", str(file), "--drain-seconds", "1") as server, server.connect() as wire:
        wire.send(request("POST", "/memories", content_length="100") + b"{")
        until(lambda: b"omp_requests_in_flight 2.0" in server.ask("GET", "/metrics").body)
        before = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - before < 6


def test_second_signal_ends_at_once(file: Path) -> None:
    with started("--url", str(file)) as server, server.connect() as wire:
        wire.send(request("POST", "/memories", content_length="100") + b"{")
        until(lambda: b"omp_requests_in_flight 2.0" in server.ask("GET", "/metrics").body)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not _accepts(server.port))
        before = time.monotonic()
        assert server.stop() == 1
        assert time.monotonic() - before < 2


def test_interrupt_stops_it_well(file: Path) -> None:
    with started("--url", str(file)) as server:
        assert server.stop(signal.SIGINT) == 0
        assert "Traceback" not in server.output()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


# Several workers


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if "spawn_main" in _told(child, "cmdline")]


def _told(pid: int | str, name: str) -> str:
    """Return what the system says of a process, nothing of one that is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_workers_share_the_store_and_add_up_their_metrics(file: Path) -> None:
    with started("--url", str(file), "--workers", "2") as server:
        for number in range(12):
            assert server.ask("POST", "/memories", body_of(number)).status == 201
        # A request is counted once its reply is out, perhaps by the worker that does not answer here.
        counted = 'omp_requests_total{method="POST",route="/memories",status="201"} 12.0'
        until(lambda: counted in server.ask("GET", "/metrics").body.decode())
        assert len(_children(server.process.pid)) == 2
        assert len(server.lines()) >= 12
        assert server.stop() == 0
        assert "Traceback" not in server.output()
    assert stored(file) == 12


def test_worker_that_dies_is_replaced_and_its_gauges_are_forgotten(file: Path) -> None:
    with started("--url", str(file), "--workers", "2", PROMETHEUS_MULTIPROC_DIR=str(file.parent)) as server:
        first = _children(server.process.pid)
        gauges = file.parent / f"gauge_livesum_{first[0]}.db"
        assert gauges.exists()
        os.kill(first[0], signal.SIGKILL)
        until(lambda: first[0] not in (now := _children(server.process.pid)) and len(now) == 2)
        until(lambda: not gauges.exists())
        assert server.ask("POST", "/memories", body_of(1)).status == 201


def test_workers_end_with_their_parent(file: Path) -> None:
    with started("--url", str(file), "--workers", "2") as server:
        children = _children(server.process.pid)
        server.process.kill()
        server.process.wait()
        until(lambda: not [child for child in children if _runs(child)])


def _runs(pid: int) -> bool:
    state = _told(pid, "stat")
    return state != "" and ") Z " not in state
