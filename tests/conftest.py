"""Fixtures of every test: an environment of its own, an address for a store, and a guard over the event loop."""

from __future__ import annotations

import gc
import inspect
import itertools
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

from tests.one_form import is_at_length
from tests.postgres_fixtures import (  # noqa: F401 - fixtures
    _own_postgres,
    _shared_postgres_url,
    emptied_postgres_url,
    empty_postgres_url,
    own_postgres,
    postgres,
    postgres_template,
    postgres_url,
)
from tests.server_stores import server_store_url_  # noqa: F401 - a fixture

# A run in the background may ignore Ctrl-C, and the programs that the tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests start hundreds of programs. Where containers forbid bytecode files, each would compile the project again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A store waits for its disk at every commit, for longer than all else takes: the folders of tests lie in memory, where
# there is room. They are removed with each test that passed (see pyproject.toml), so they take little of it.
MEMORY_DISK, ROOM = Path("/dev/shm"), 3 << 30
if os.access(MEMORY_DISK, os.W_OK) and shutil.disk_usage(MEMORY_DISK).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_DISK))

# Modules and collected tests live until the end: to look for garbage among them is in vain.
gc.disable()

_homes = itertools.count(1)
MOST_COMPUTED = 20.0
"""Seconds of processor that a test may take with the programs it runs; one that may take longer has its own timeout."""

# How long an example takes says more about the machine, which others may use too, than about the code.
settings.register_profile("openmem", deadline=None)
settings.load_profile("openmem")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once for each reason how many tests were skipped, instead of once for each test."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason}")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave a test to the long run whose twin in the other form is always run."""
    if is_at_length(item.path.relative_to(item.config.rootpath).as_posix(), item.name):
        item.add_marker(pytest.mark.long)


def pytest_collection_finish() -> None:
    """Look for garbage from here on, in what the tests make."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that computes too long: how long it lasts says more about what else runs on the machine."""
    before = sum(os.times()[:4])
    result = yield
    computed = sum(os.times()[:4]) - before
    if item.get_closest_marker("timeout") is None and computed > MOST_COMPUTED:
        pytest.fail(f"took {computed:.0f} s of processor, {MOST_COMPUTED:.0f} are allowed", pytrace=False)
    return result


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the settings and the default store of the user who runs the tests out of them."""
    for name in [*os.environ]:
        if name.startswith("OMP_"):
            monkeypatch.delenv(name)
    # Not `tmp_path`: most tests need no folder, and to make one pytest reads the names of all that there are.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "homes" / str(next(_homes))))


@pytest.fixture(autouse=True)
def loop_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a coroutine test in which openmem blocks the event loop; pytest itself and the kit may."""
    if not inspect.iscoroutinefunction(getattr(request.node, "function", None)):
        yield
        return
    with blockbuster_ctx("openmem", excluded_modules=["openmem.testing"]):
        yield


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """The file of a store that does not exist yet."""
    return tmp_path / "store.db"


@pytest.fixture
def store_url(store_path: Path) -> str:
    """The address of that store."""
    return f"sqlite:///{store_path}"
