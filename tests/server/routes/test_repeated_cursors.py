"""Exports, by the server and by the command, of a provider that gives its cursors again and again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from openmem import AsyncMemory
from openmem.server import create_app
from tests.omp_stub import RECORD, Answer, Asked, OmpStub
from tests.server.running import serving
from tests.shell import omp

ENOUGH = 20


@pytest.fixture(params=[1, 3])
def stub(request: pytest.FixtureRequest) -> Iterator[OmpStub]:
    """A server whose cursors come round after one or three pages."""
    with OmpStub() as server:

        def rule(asked: Asked) -> Answer:
            number = len(server.verbs)
            line = json.dumps({"memory": {**RECORD, "id": f"m-{number}", "user_id": "ann"}})
            cursor = {"X-Next-Cursor": f"c{number % request.param}"} if number < ENOUGH else {}
            return Answer(200, f"{line}\n".encode(), {"Content-Type": "application/x-ndjson", **cursor})

        server.rule = rule
        yield server


def test_export_of_the_command_ends(stub: OmpStub) -> None:
    said = omp("export", "--user", "ann", "--url", stub.url, code=1).stderr
    assert re.search("a cursor again|pages come to no end", said)
    assert len(stub.verbs) < ENOUGH


def test_export_of_the_server_breaks_off(stub: OmpStub) -> None:
    with (
        serving(create_app(AsyncMemory(base_url=stub.url))) as url,
        httpx.stream("GET", f"{url}/export?user_id=ann") as reply,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        reply.read()
    assert len(stub.verbs) < ENOUGH
