"""Put small faults into the pure packages, one at a time, and count how many their tests notice.

    python -m scripts.mutate [--all] [--sample N] [--seed N] [--jobs N] [PATH ...]

`PATH` names packages or modules below `src/openmem`. Exit code 1 when fewer than 90 % are noticed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from scripts.mutant_trials import BROKEN, KILLED, SURVIVED, TIMEOUT, UNTESTED, Trials, imports_of, tests_of
from scripts.mutants import (
    EQUIVALENT,
    ROOT,
    Mutant,
    all_mutants,
    equivalents,
    is_same_in_other_letters,
    pure_packages,
    sample,
)

GOAL = 0.9
TESTS = ("tests/pure",)
STORES = {"_sql/sqlite/": "tests/pure/sqlite_steps", "_sql/server/": "tests/pure/server_steps"}
"""Tests of statements, which run on a store as a whole: each is one of every module of the package."""
ON_A_SERVER = "_sql/postgres/"
"""Statements for a database server. They are tried where they are named only: their tests need one."""
WITHOUT_STATEMENTS = tuple(
    f"{ON_A_SERVER}{name}.py" for name in ("errors", "hnsw_trials", "names", "options", "url", "values")
)
"""The modules beside them that say nothing to a server."""
TIMING = "test_linear_time.py"
"""Tests of time: they say nothing of results."""
OPTIONS = ("-q", "-s", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "-o", "timeout=0")


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    os.chdir(ROOT)
    every = all_mutants(pure_packages())
    reasons = equivalents()
    stale = reasons.keys() - {mutant.key for mutant in every}
    if stale:
        print(f"{EQUIVALENT.name}: no mutant is like that any more:\n\n" + "\n\n".join(sorted(stale)))
        return 1
    meant = [mutant for mutant in every if _is_meant(mutant, tuple(asked.paths))]
    same = [mutant for mutant in meant if mutant.key in reasons or is_same_in_other_letters(mutant)]
    known = {mutant.name for mutant in same}
    mutants = [mutant for mutant in meant if mutant.name not in known]
    if not mutants:
        print(f"no mutants in {' '.join(asked.paths)}")
        return 2
    chosen = mutants if asked.all else sample(mutants, asked.sample, asked.seed)
    own = _own_tests(chosen, asked.tests or TESTS, every_test=bool(asked.tests))
    trials = Trials(chosen, own, asked.jobs, _tell)
    files = sorted({str(path) for paths in own.values() for path in paths})
    code = pytest.main([*files, *OPTIONS], plugins=[trials])
    if code not in {0, pytest.ExitCode.NO_TESTS_COLLECTED} or len(trials.outcomes) < len(chosen):
        return 2
    for test in sorted(trials.baseline.failed):
        print(f"left out, as it fails without a fault: {test}")
    if not asked.paths:
        print(f"left out: {sum(not _is_meant(m, ()) for m in every)} mutants of statements in {ON_A_SERVER}")
    return _report(chosen, trials.outcomes, Counter(mutant.package for mutant in same))


def _is_meant(mutant: Mutant, paths: tuple[str, ...]) -> bool:
    if paths:
        return mutant.path.startswith(paths)
    return not mutant.path.startswith(ON_A_SERVER) or mutant.path in WITHOUT_STATEMENTS


def _own_tests(mutants: Sequence[Mutant], places: Sequence[str], *, every_test: bool) -> dict[str, list[Path]]:
    """Return the files with the tests of each module: by import or by package, or each asked for."""
    given = [path for place in places for path in _below(place)]
    imported = {path: imports_of(path) for path in given if path.name != TIMING}
    own: dict[str, list[Path]] = {}
    for module, path in {mutant.module: mutant.path for mutant in mutants}.items():
        whole = [test for begin, place in STORES.items() if path.startswith(begin) for test in _below(place)]
        own[module] = given if every_test else sorted({*tests_of(module, imported), *whole})
    return own


def _below(place: str) -> list[Path]:
    return sorted((ROOT / place).rglob("test_*.py")) or [ROOT / place]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "paths", nargs="*", help="packages or modules below src/openmem, such as _rules or _text/skeleton.py"
    )
    parser.add_argument("--all", action="store_true", help="try each mutant, which takes an hour, not a sample")
    parser.add_argument("--sample", type=int, default=400, help="how many to try (default: 400)")
    parser.add_argument("--seed", type=int, default=1, help="which sample (default: 1)")
    parser.add_argument("--tests", nargs="+", help="the tests to run (default: tests/pure)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: 2)")
    return parser


def _tell(mutant: Mutant, outcome: str) -> None:
    if outcome in {SURVIVED, UNTESTED, BROKEN}:
        print(f"{outcome}: {mutant.key}\n", flush=True)


def _report(mutants: Sequence[Mutant], outcomes: dict[str, str], equivalent: Counter[str]) -> int:
    """Print the table and return the exit code."""
    row = "{:<14}{:>9}{:>9}{:>10}{:>10}{:>10}{:>8}{:>12}{:>8}".format
    print("\n" + row("package", "mutants", KILLED, TIMEOUT, SURVIVED, UNTESTED, BROKEN, "equivalent", "share"))
    for package in [*sorted({mutant.package for mutant in mutants}), "all"]:
        found = Counter(outcomes[mutant.name] for mutant in mutants if package in {mutant.package, "all"})
        share = (found[KILLED] + found[TIMEOUT]) / found.total()
        known = equivalent.total() if package == "all" else equivalent[package]
        counts = [found[outcome] for outcome in (KILLED, TIMEOUT, SURVIVED, UNTESTED, BROKEN)]
        print(row(package, found.total(), *counts, known, f"{share:.1%}"))
    if share < GOAL:
        print(f"fewer than {GOAL:.0%} of the faults are noticed")
    return int(share < GOAL)


if __name__ == "__main__":
    sys.exit(main())
