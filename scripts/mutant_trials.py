"""Trials of mutants: the tests that call a function, run once for each of its mutants, each time in a fork of its own.

The tests are imported and collected once. A fork puts the faulty code into the function, runs the quickest of its
tests first, and ends with the first that fails. The process itself runs no test, so no cache of it is warm.
"""

from __future__ import annotations

import ast
import hashlib
import os
import pickle
import resource
import signal
import sys
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from scripts.mutants import CACHE, SRC, Mutant, pure_packages

KILLED, SURVIVED, TIMEOUT, UNCALLED, BROKEN = "killed", "survived", "timeout", "uncalled", "broken"
"""`uncalled`: no test calls the function. `broken`: the faulty code could not be put in its place."""
OUTCOMES = {0: SURVIVED, 1: KILLED, 2: BROKEN}
# A fork that hangs: so many times as long as its tests took before, and so many seconds on top.
PATIENCE, GRACE = 10, 3
MEMORY = 4 << 30
# Of the tests that call a function, the quickest are run, as many as take so many seconds of processor together.
BUDGET = 4.0


@dataclass
class Baseline:
    """The behaviour of the tests when nothing is wrong: which functions they call, and how long they take."""

    callers: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """Ids of tests by path and name of the function."""
    seconds: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def take(self, other: Baseline) -> None:
        """Add what other tests do."""
        for function, tests in other.callers.items():
            self.callers.setdefault(function, set()).update(tests)
        self.seconds |= other.seconds
        self.failed |= other.failed


class Trials:
    """A plugin of pytest whose loop tries mutants instead of running each test once."""

    def __init__(self, mutants: Sequence[Mutant], jobs: int, tell: Callable[[Mutant, str], None]) -> None:
        self.mutants = mutants
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
        items = {item.nodeid: item for item in session.items}
        running: dict[int, Mutant] = {}
        for mutant in self.mutants:
            tests = self._tests_of(mutant)
            if not tests:
                self._note(mutant, UNCALLED)
                continue
            if len(running) == self._jobs:
                self._reap(running)
            running[self._start(mutant, [items[test] for test in tests])] = mutant
        while running:
            self._reap(running)
        return True

    def run(self, item: pytest.Item, following: pytest.Item | None) -> bool:
        """Run one test and return whether it passed."""
        self._failed = False
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return not self._failed

    def _tests_of(self, mutant: Mutant) -> list[str]:
        called = self.baseline.callers.get((mutant.path, mutant.function), set()) - self.baseline.failed
        quickest = sorted(called, key=lambda test: (self.baseline.seconds[test], test))
        spent = [*accumulate(self.baseline.seconds[test] for test in quickest)]
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
    module = ".".join(["openmem", *mutant.path.removesuffix(".py").removesuffix("/__init__").split("/")])
    owner: Any = sys.modules[module]
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
        whole.take(pickle.loads(kept.read_bytes()))
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
        called: set[CodeType] = set()

        def note(frame: FrameType, event: str, argument: object, called: set[CodeType] = called) -> None:
            called.add(frame.f_code)

        started = time.process_time()
        threading.settrace(note)
        sys.settrace(note)
        passed = trials.run(item, None)
        sys.settrace(None)
        threading.settrace(None)
        baseline.seconds[item.nodeid] = time.process_time() - started
        if not passed:
            baseline.failed.add(item.nodeid)
        for code in called:
            if code.co_filename.startswith(f"{SRC}/"):
                function = code.co_qualname.split(".<locals>")[0]
                baseline.callers.setdefault((code.co_filename[len(str(SRC)) + 1 :], function), set()).add(item.nodeid)
    return baseline
