"""A provider's class is loaded by the first verb, and the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from openmem import AsyncMemory, DeadlineExceededError, InvalidRequestError, Memory
from openmem._config.registry import BUILT_IN
from openmem._io.plugins import find_async_provider, find_provider
from openmem.providers import ProviderName

PROGRAM = Path(__file__).resolve().parent.parent / "programs" / "first_verbs.py"
SMALL = ("thread.", "queue.", "_queue.", "loop_executor.", "deadlines.", "executor.")
"""Files of a few kilobytes that the first use of a thread needs."""

_SLOW = """
from acme_gate import begun, opened
begun.set()
opened.wait(5)
from openmem.providers import AsyncProvider
from openmem.types import MemoryRecord

class AsyncSlow(AsyncProvider):
    name = "slow"

    async def get(self, id, user_id, call):
        return MemoryRecord(id=id, content="tea", user_id="ann", created_at=call.now)
"""
_GATE = "import threading\nbegun, opened = threading.Event(), threading.Event()\n"
_SPEC = 'from openmem.providers import ProviderSpec\nSPEC = ProviderSpec("slow", "acme_slow:AsyncSlow", None)\n'
_FILES = {
    "acme_gate.py": _GATE,
    "acme_spec.py": _SPEC,
    "acme_slow.py": _SLOW,
    "acme-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n",
    "acme-1.0.dist-info/entry_points.txt": "[openmem.providers]\nslow = acme_spec:SPEC\n",
}


class Gate:
    """A provider's module, whose import begins and then waits, and an instance without a call yet."""

    def __init__(self, begun: threading.Event, opened: threading.Event) -> None:
        self.begun, self.opened = begun, opened
        self.memory = AsyncMemory(ProviderName("slow"))  # here: to be found, it takes a look at what is installed


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    for name, text in _FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    events = importlib.import_module("acme_gate")
    yield Gate(events.begun, events.opened)
    events.opened.set()
    for name in ("acme_gate", "acme_spec", "acme_slow"):
        sys.modules.pop(name, None)


def first_verbs(**given: object) -> list[str]:
    """Return what the loop's thread of a new process opened to import from, but for what is small."""
    command = [sys.executable, str(PROGRAM), json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [name for name in json.loads(done.stdout) if not Path(name).name.startswith(SMALL)]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_spec_says_the_same_as_the_classes(name: str) -> None:
    spec = BUILT_IN[name]
    for kind in (find_async_provider(name).load(), find_provider(name).load()):
        assert (kind.name, kind.options, kind.embeds) == (name, spec.options, spec.embeds)
        assert kind.takes_retry == spec.takes_retry


def test_first_verbs_on_a_file_import_nothing_on_the_event_loop(store_url: str) -> None:
    assert first_verbs(url=store_url, embedder="none") == []


def test_first_verbs_on_postgres_import_nothing_on_the_event_loop(postgres_url: str) -> None:
    assert first_verbs(url=postgres_url, embedder="none") == []


def test_location_of_the_store_can_be_asked_before_the_first_verb(store_path: Path) -> None:
    memory = Memory(url=str(store_path), embedder="none")
    assert (memory.place, memory.made_store) == (str(store_path), False)
    assert not store_path.exists()


async def test_the_event_loop_goes_on_while_a_class_is_loaded(gate: Gate) -> None:
    async with asyncio.timeout(10):
        memory = gate.memory
        assert repr(memory) == "<AsyncMemory provider='slow' unused>"
        verbs = [asyncio.create_task(memory.get("x")) for _ in range(3)]
        await asyncio.to_thread(gate.begun.wait)
        assert not any(verb.done() for verb in verbs)
        gate.opened.set()
        assert [record.content for record in await asyncio.gather(*verbs)] == ["tea"] * 3
        await memory.close()


async def test_a_first_verb_keeps_its_deadline_and_the_next_one_works(gate: Gate) -> None:
    memory = gate.memory
    with pytest.raises(DeadlineExceededError) as caught:
        await memory.get("x", timeout=0.05)
    assert caught.value.provider == "slow"
    gate.opened.set()
    assert (await memory.get("x")).content == "tea"
    await memory.close()


async def test_a_cancelled_first_verb_leaves_an_instance_that_works(gate: Gate) -> None:
    memory = gate.memory
    verb = asyncio.create_task(memory.get("x"))
    await asyncio.to_thread(gate.begun.wait)
    verb.cancel()
    with pytest.raises(asyncio.CancelledError):
        await verb
    gate.opened.set()
    assert (await memory.get("x")).content == "tea"
    await memory.close()


async def test_closing_while_a_class_is_loaded_opens_nothing_afterwards(gate: Gate) -> None:
    memory = gate.memory
    verb = asyncio.create_task(memory.get("x"))
    await asyncio.to_thread(gate.begun.wait)
    await memory.close()
    gate.opened.set()
    with pytest.raises(RuntimeError, match="AsyncMemory is closed"):
        await verb
    assert repr(memory) == "<AsyncMemory provider='slow' closed>"


@pytest.mark.parametrize(("name", "module"), [("AsyncMemory", "asyncpg"), ("Memory", "psycopg")])
def test_a_driver_that_is_missing_is_named_at_construction(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    with pytest.raises(InvalidRequestError, match=rf"{module}.*pip install 'openmem-sdk\[postgres\]'"):
        {"AsyncMemory": AsyncMemory, "Memory": Memory}[name]("postgres", url="postgresql://h/d", embedder="none")


def test_many_threads_may_do_the_first_verb_of_a_process(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM.with_name("opens_at_once.py")), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'likes tea'}"
