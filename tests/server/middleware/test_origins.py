"""The outermost layers, seen through the socket of a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.process import Process, started, until

SECRET = "swordfish"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("edge")
    with started("--url", str(folder / "m.db"), "--cors-origins", "https://app.example", "--docs") as process:
        yield process


def add(server: Process, user: str = "ann") -> str:
    body = json.dumps({"content": f"the password is {SECRET}", "user_id": user}).encode()
    reply = server.ask("POST", "/memories", body)
    assert reply.status == 201
    return str(reply.json()["id"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/capabilities", 200),
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/memories", 405),
        ("GET", "/memories/none", 404),
        ("GET", "/memories", 400),
    ],
)
def test_every_reply_has_the_id_of_its_request(server: Process, method: str, path: str, status: int) -> None:
    reply = server.ask(method, path, x_request_id="my-id_1.2")
    assert reply.status == status
    assert reply.headers["x-request-id"] == "my-id_1.2"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"
    assert "server" not in reply.headers
    assert "date" in reply.headers
    if status >= 400:
        assert reply.json()["error"]["request_id"] == "my-id_1.2"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "é", "a/b", "<script>"])
def test_improper_id_is_replaced(server: Process, given: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", server.ask("GET", "/health/live", x_request_id=given).headers["x-request-id"])


def test_line_tells_the_template_and_nothing_of_the_request(server: Process) -> None:
    id_ = add(server, "henrietta")
    server.ask("GET", f"/memories/{id_}", x_user_id="henrietta", x_request_id="line-1")
    server.ask("GET", f"/memories/search?q={SECRET}&user_id=henrietta", x_request_id="line-2")
    server.ask("GET", f"/memories/{id_}/history", x_user_id="henrietta", x_request_id="line-3")
    server.ask("GET", f"/{SECRET}/{id_}", authorization=f"Bearer {SECRET}", x_request_id="line-4")
    until(lambda: any(line[4] == "line-4" for line in server.lines()))
    found = {line[4]: (line[1], line[2], line[3]) for line in server.lines()}
    assert found["line-1"] == ("GET", "/memories/{id}", "200")
    assert found["line-2"] == ("GET", "/memories/search", "200")
    assert found["line-3"] == ("GET", "/memories/{id}/history", "200")
    assert found["line-4"] == ("GET", "unmatched", "404")
    output = server.output()
    assert not [word for word in (id_, "henrietta", SECRET) if word in output]
    assert len(server.lines()) == len([line for line in output.splitlines() if "req=" in line])


def test_strange_method_is_not_repeated_in_the_log(server: Process) -> None:
    reply = server.ask("PROPFIND", "/memories", x_request_id="odd-1")
    assert reply.status in (400, 405)
    assert "PROPFIND" not in server.output()


def test_listed_page_may_ask_first(server: Process) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    reply = server.ask("OPTIONS", "/memories", origin="https://app.example", x_request_id="pre-1", **asked)
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-credentials" not in reply.headers
    assert reply.headers["x-request-id"] == "pre-1"
    other = server.ask("OPTIONS", "/memories", origin="https://evil.example", **asked)
    assert (other.status, other.code) == (400, "invalid_request")
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("given", [None, "mine-1", "not proper", "x" * 65])
def test_page_that_may_not_ask_is_told_the_id_of_its_request(server: Process, given: str | None) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    reply = server.ask("OPTIONS", "/memories", **asked, **({} if given is None else {"x-request-id": given}))
    assert reply.status == 400
    id = reply.headers["x-request-id"]
    assert reply.json()["error"]["request_id"] == id
    assert re.fullmatch("mine-1" if given == "mine-1" else "[0-9a-f]{32}", id)


def test_error_can_be_read_by_a_listed_page(server: Process) -> None:
    reply = server.ask("GET", "/nowhere", origin="https://app.example")
    assert reply.status == 404
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    assert "X-Request-Id" in reply.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"host": "evil.example:8080"}, {"host": "[bad"}],
)
def test_other_page_gets_nothing_from_a_server_without_keys(server: Process, headers: dict[str, str]) -> None:
    reply = server.ask("GET", "/capabilities", **headers)
    assert (reply.status, reply.code) == (403, "scope_denied")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:99", "[::1]:8080"])
def test_name_of_this_machine_is_served(server: Process, host: str) -> None:
    assert server.ask("GET", "/capabilities", host=host).status == 200
    assert server.ask("GET", "/capabilities", host=host, origin=f"http://{host}").status == 200


def test_without_origins_there_is_no_cors(tmp_path: Path) -> None:
    with started("--url", str(tmp_path / "m.db"), "--no-metrics") as server:
        asked = {"access-control-request-method": "GET"}
        reply = server.ask("OPTIONS", "/memories", origin="https://app.example", **asked)
        assert reply.status >= 400
        assert not [name for name in reply.headers if name.startswith("access-control")]
        assert server.ask("GET", "/metrics").status == 404
