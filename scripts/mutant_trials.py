"""Trials of mutants: the tests of a module, run once for each of its mutants, each time in a fork of its own.

The tests of a module are those in the files that import it. They are imported and collected once. A fork puts the
faulty code into the function, runs the quickest tests first, and ends with the first that fails. The process itself
runs no test, so no cache of it is warm.
"""

from __future__ import annotations

import ast
import hashlib
import os
import pickle
import resource
import signal
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from scripts.mutants import CACHE, SRC, Mutant, pure_packages

KILLED, SURVIVED, TIMEOUT, UNTESTED, BROKEN = "killed", "survived", "timeout", "untested", "broken"
"""`untested`: no test imports the module. `broken`: the faulty code could not be put in its place."""
OUTCOMES = {0: SURVIVED, 1: KILLED, 2: BROKEN}
# A fork that hangs: so many times as long as its tests took before, and so many seconds on top.
PATIENCE, GRACE = 10, 3
MEMORY = 4 << 30
# Of the tests of a module, the quickest are run, as many as take so many seconds of processor together.
BUDGET = 4.0


@dataclass
class Baseline:
    """The behaviour of the tests when nothing is wrong: how long they take, and which fail even so."""

    seconds: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)


def tests_of(module: str, files: Mapping[Path, set[str]]) -> list[Path]:
    """Return the files of tests that import a module, given what each imports."""
    return [path for path, imported in files.items() if module in imported]


def imports_of(path: Path) -> set[str]:
    """Return the modules that a file imports, or imports names from."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


class Trials:
    """A plugin of pytest whose loop tries mutants instead of running each test once."""

    def __init__(
        self,
        mutants: Sequence[Mutant],
        own: Mapping[str, list[Path]],
        jobs: int,
        tell: Callable[[Mutant, str], None],
    ) -> None:
        self.mutants, self._own = mutants, own
        # As they were imported: the files may be edited meanwhile.
        self._sources = {path: (SRC / path).read_text("utf-8") for path in {mutant.path for mutant in mutants}}
        self.outcomes: dict[str, str] = {}
        self.baseline = Baseline()
        self._jobs, self._tell, self._failed = jobs, tell, False

    def pytest_collection_finish(self) -> None:
        """Let drawn tests draw the same each time, and not look for the smallest example of a failure."""
        from hypothesis import Phase, settings  # pytest wants to see it first

        settings.register_profile(
            "mutants", database=None, derandomize=True, deadline=None, phases=[Phase.explicit, Phase.generate]
        )
        settings.load_profile("mutants")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("tests cannot be collected")
        self.baseline = _baseline(self, session.items)
        running: dict[int, Mutant] = {}
        for mutant in self.mutants:
            tests = self._tests_of(mutant, session.items)
            if not tests:
                self._note(mutant, UNTESTED)
                continue
            if len(running) == self._jobs:
                self._reap(running)
            running[self._start(mutant, tests)] = mutant
        while running:
            self._reap(running)
        return True

    def run(self, item: pytest.Item, following: pytest.Item | None) -> bool:
        """Run one test and return whether it passed."""
        self._failed = False
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return not self._failed

    def _tests_of(self, mutant: Mutant, items: list[pytest.Item]) -> list[pytest.Item]:
        files, seconds = self._own[mutant.module], self.baseline.seconds
        sound = (item for item in items if item.path in files and item.nodeid not in self.baseline.failed)
        quickest = sorted(sound, key=lambda item: seconds[item.nodeid])
        spent = [*accumulate(seconds[item.nodeid] for item in quickest)]
        return quickest[: max(1, bisect_right(spent, BUDGET))]

    def _start(self, mutant: Mutant, items: list[pytest.Item]) -> int:
        expected = sum(self.baseline.seconds[item.nodeid] for item in items)
        child = os.fork()
        if child == 0:
            code = 2
            try:
                _limit(int(expected * PATIENCE) + GRACE)
                apply(mutant, self._sources[mutant.path])
                code = 1
                code = 0 if all(self.run(item, None) for item in items) else 1
            finally:
                os._exit(code)  # also for what a fault raises that no test may catch, SystemExit among it
        return child

    def _reap(self, running: dict[int, Mutant]) -> None:
        child, status = os.wait()
        ended = OUTCOMES[os.WEXITSTATUS(status)] if os.WIFEXITED(status) else TIMEOUT
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) not in {signal.SIGALRM, signal.SIGXCPU}:
            ended = KILLED
        self._note(running.pop(child), ended)

    def _note(self, mutant: Mutant, outcome: str) -> None:
        self.outcomes[mutant.name] = outcome
        self._tell(mutant, outcome)


def apply(mutant: Mutant, source: str) -> None:
    """Put the faulty code into the function, wherever it is held by name; the source is that of its module."""
    function = function_of(mutant)
    path = SRC / mutant.path
    assert mutant.old in source, mutant.name
    source = source.replace(mutant.old, mutant.new, 1)
    function.__code__ = next(
        code for code in _codes(compile(source, path, "exec")) if code.co_qualname == mutant.function
    )
    alone = dict(_definitions(ast.parse(source)))[mutant.function]
    if alone.args.defaults or any(alone.args.kw_defaults):
        alone.decorator_list = []
        names = dict(function.__globals__)
        exec(compile(ast.Module([alone], []), path, "exec"), names)
        function.__defaults__, function.__kwdefaults__ = (
            names[alone.name].__defaults__,
            names[alone.name].__kwdefaults__,
        )


def function_of(mutant: Mutant) -> FunctionType:
    """Return the function itself, out of its module."""
    owner: Any = import_module(mutant.module)  # some are loaded on first use
    *classes, name = mutant.function.split(".")
    for part in classes:
        owner = vars(owner)[part]
    found = vars(owner)[name]
    function = getattr(found, "__func__", found)
    assert isinstance(function, FunctionType), mutant.name
    return function


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _definitions(module: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{part.name}", part) for part in node.body if isinstance(part, ast.FunctionDef))


def _limit(seconds: int) -> None:
    """End this process when it computes, waits or takes too much, and keep what it prints to itself."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)


def _baseline(trials: Trials, items: list[pytest.Item]) -> Baseline:
    """Return what each file of tests does; it is kept until that file or a source changes."""
    files = sorted(path for package in pure_packages() for path in (SRC / package).rglob("*.py"))
    sources = b"".join(path.read_bytes() for path in files)
    of_file: defaultdict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        of_file[item.path].append(item)
    whole = Baseline()
    for path, found in of_file.items():
        key = hashlib.sha256(path.read_bytes() + sources).hexdigest()[:32]
        kept = CACHE / f"{path.stem}-{key}.pickle"
        if not kept.exists():
            kept.write_bytes(pickle.dumps(_baseline_in_a_fork(trials, found)))
        part = pickle.loads(kept.read_bytes())
        whole.seconds |= part.seconds
        whole.failed |= part.failed
    return whole


def _baseline_in_a_fork(trials: Trials, items: list[pytest.Item]) -> Baseline:
    """Run each test once, elsewhere: what it leaves in memory must not hide a mutant."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _limit(3600)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(_measured(trials, items), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        baseline = pickle.load(pipe)
    os.waitpid(child, 0)
    assert isinstance(baseline, Baseline)
    return baseline


def _measured(trials: Trials, items: list[pytest.Item]) -> Baseline:
    baseline = Baseline()
    for item in items:
        started = time.process_time()
        if not trials.run(item, None):
            baseline.failed.add(item.nodeid)
        baseline.seconds[item.nodeid] = time.process_time() - started
    return baseline
