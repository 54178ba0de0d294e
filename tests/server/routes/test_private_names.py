"""Private names of uvicorn, httptools and asyncio that the server uses: they are there, and versions are bounded."""

from __future__ import annotations

import asyncio
import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.h11_impl import RequestResponseCycle as H11Cycle
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle as HttpToolsCycle
from uvicorn.server import Server
from uvicorn.supervisors.multiprocess import Multiprocess, Process

PYPROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


@pytest.mark.parametrize("name", ["uvicorn", "httptools"])
def test_version_is_bounded_as_private_names_are_used(name: str) -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    (wanted,) = (text for text in project["project"]["optional-dependencies"]["server"] if text.startswith(name))
    bound = re.search(r"<(\d+(?:\.\d+)*)", wanted)
    assert bound, f"{wanted} has no upper bound: read protocol.py against the new version, then raise it"

    def parts(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split(".")[:2])

    assert parts(version(name)) < parts(bound[1])
    assert wanted in project["dependency-groups"]["test"]


@pytest.mark.parametrize(
    ("kind", "methods"),
    [
        (HttpToolsProtocol, ["on_message_begin", "on_header", "on_headers_complete", "on_body"]),
        (HttpToolsProtocol, ["data_received", "on_response_complete", "send_400_response", "pause_writing"]),
        (H11Protocol, ["data_received", "on_response_complete", "send_400_response", "pause_writing"]),
        (FlowControl, ["pause_reading", "resume_reading"]),
        (Server, ["startup", "on_tick", "capture_signals", "handle_exit"]),
        (Multiprocess, ["init_processes", "keep_subprocess_alive", "join_all", "handle_hup", "handle_ttin"]),
        (Process, ["always_pong", "wait_until_ready"]),
    ],
)
def test_methods_that_are_overridden_are_there(kind: type[Any], methods: list[str]) -> None:
    assert [name for name in methods if name not in vars(kind)] == []


@pytest.mark.parametrize("cycle", [H11Cycle, HttpToolsCycle])
def test_state_of_a_request_has_the_names_that_are_read(cycle: type[Any]) -> None:
    source = inspect.getsource(cycle.__init__)
    for name in ("scope", "more_body", "response_started", "response_complete"):
        assert f"self.{name} = " in source


def test_requests_ahead_wait_in_the_queue_that_is_looked_at() -> None:
    assert "self.pipeline.appendleft(" in inspect.getsource(HttpToolsProtocol.on_headers_complete)
    assert "self.write_paused = " in inspect.getsource(FlowControl.__init__)


async def test_size_of_a_read_is_that_of_the_transport() -> None:
    """Else a connection could make the server hold back a quarter of a megabyte."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert isinstance(writer.transport.max_size, int)  # type: ignore[attr-defined]
        writer.close()
        await reader.read()
