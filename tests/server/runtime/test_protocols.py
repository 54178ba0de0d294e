"""The server where the parser in C is not installed: the same limits, the same answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from openmem.server.runtime.protocols import GuardedH11, protocol_class
from tests.server.hostile import all_requests
from tests.server.middleware.test_limits import (  # noqa: F401 - these are the tests
    LIMITS,
    test_bytes_that_are_no_http_get_an_envelope,
    test_chunked_body_is_counted,
    test_chunked_body_within_the_limit_is_taken,
    test_client_that_sends_all_first_still_reads_the_refusal,
    test_half_a_head_after_a_request_is_given_up,
    test_head_that_is_too_large_is_refused,
    test_import_may_be_longer_than_the_limit_line_by_line,
    test_line_of_an_import_above_the_limit_is_refused_and_named,
)
from tests.server.process import Process, started, without_httptools
from tests.server.routes import test_hostile

SMALL = 1_200  # bytes that are within all limits of this server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("h11")
    flags = [text for name, value in LIMITS.items() for text in (name, str(value))]
    with started("--url", str(folder / "m.db"), *flags, PYTHONPATH=without_httptools(folder)) as process:
        yield process
        assert process.stop() == 0
        assert "Traceback" not in process.output()


def test_parser_in_python_is_taken_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httptools", None)
    assert protocol_class() is GuardedH11


def test_small_hostile_requests_get_the_right_status(server: Process) -> None:
    small = [hostile for hostile in all_requests() if len(hostile.data) <= SMALL]
    assert len(small) > 200
    for hostile in small:
        test_hostile.test_hostile_request_gets_the_envelope_and_the_right_status(
            hostile, test_hostile.Target(server.port)
        )
