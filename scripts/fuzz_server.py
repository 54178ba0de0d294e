"""Fuzzes a running `omp-server` with everything that its contract allows and forbids, and says what came of it.

python scripts/fuzz_server.py                        # at least 20,000 requests, half of them with a key
python scripts/fuzz_server.py --requests 500 --seed 7
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from openmem import Memory, ServerStore  # noqa: E402
from tests.server.process import Process, started  # noqa: E402

PHASES = "examples,coverage,fuzzing"
CHAINS = "stateful"
CHAINS_FOR_EACH = 4  # chains of requests, for each example of an operation: they are what finds most
USERS = ("ann", "bob", "eve")  # those of whom fuzz_hooks.py lets most requests be about
# Statuses that a healthy server has no reason to give.
NEVER = {500, 502, 503}


@dataclass
class Outcome:
    """One request, its answer, and what schemathesis found wrong with it."""

    statuses: Counter[int] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    links: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """The number of requests that the server has seen, by its own log."""
        return self.statuses.total()

    def lines(self) -> Iterator[str]:
        """Yield what there is to tell."""
        told = {
            "by status": {str(status): count for status, count in sorted(self.statuses.items())},
            "by phase": dict(self.phases.most_common()),
            "by data": dict(self.modes.most_common()),
            "stateful steps that followed a link, by the operation they led to": dict(self.links.most_common()),
            "refused though valid": dict(self.excused.most_common()),
        }
        for name, counts in told.items():
            yield f"{name}: {', '.join(f'{label}: {count}' for label, count in counts.items()) or 'none'}"

    def read(self, events: Path, excuses: Path) -> None:
        """Add what schemathesis wrote down of a run."""
        with events.open(encoding="utf-8") as lines:
            for line in lines:
                scenario = json.loads(line).get("ScenarioFinished")
                for case in (scenario or {"recorder": {}})["recorder"].get("cases", {}).values():
                    self.phases[scenario["phase"]] += 1
                    self.modes[case["value"]["meta"]["generation"]["mode"]] += 1
                    if case["is_transition_applied"]:
                        self.links[f"{case['value']['method']} {case['value']['path']}"] += 1
        self.excused.update(json.loads(excuses.read_text(encoding="utf-8")))


def fuzz(
    outcome: Outcome, *, keyed: bool, examples: int, seed: int, phases: str = PHASES, only: Sequence[str] = ()
) -> None:
    """Let schemathesis loose on a server of its own, and add what happened to the outcome.

    Args:
        outcome: What to add to.
        keyed: Whether the server has keys, so that requests without one must be refused.
        examples: Requests per operation and phase.
        seed: The same seed sends the same requests.
        phases: Those of schemathesis, with commas between them.
        only: Ids of the operations to send; all of them unless given.
    """
    with _served(keyed) as (server, headers):
        command = [_schemathesis(), "--config-file", str(ROOT / "scripts" / "fuzz_server.toml"), "run"]
        command += [f"http://127.0.0.1:{server.port}/openapi.json", "--phases", phases, "--seed", str(seed)]
        command += ["--max-examples", str(examples), "--generation-database", "none", "--no-color", *headers]
        command += ["--output-sanitize", "false", "--generation-with-security-parameters", "false"]
        command += [part for name in only for part in ("--include-operation-id", name)]
        command += [] if keyed else ["--exclude-checks", "ignored_auth"]
        with tempfile.TemporaryDirectory() as folder:
            events, excuses = Path(folder) / "events.ndjson", Path(folder) / "excuses.json"
            command += ["--report", "ndjson", "--report-ndjson-path", str(events)]
            environment = _environment() | {"FUZZ_EXCUSES": str(excuses)}
            ran = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
            if excuses.exists():  # else it did not come as far as that
                outcome.read(events, excuses)
        statuses = Counter(int(line[3]) for line in server.lines())
        outcome.statuses += statuses
        outcome.complaints += [f"{statuses[status]} replies with {status}" for status in NEVER if statuses[status]]
        outcome.complaints += [line for line in server.output().splitlines() if " ERROR " in line]
        if ran.returncode != 0:
            outcome.complaints.append(ran.stdout + ran.stderr)


@contextmanager
def _served(keyed: bool) -> Iterator[tuple[Process, list[str]]]:
    with tempfile.TemporaryDirectory() as folder:
        store_url = f"sqlite:///{folder}/server.db"
        headers = []
        if keyed:
            with ServerStore(store_url) as store:
                made = store.create_key(app="fuzz", user_id=None, grants=["admin:*"])
            headers = ["--header", f"Authorization: Bearer {made.secret}"]
        memories = f"sqlite:///{folder}/memories.db"
        with Memory(url=memories, embedder="none") as memory:
            for user in USERS:
                memory.add_many([{"content": f"{user} drinks tea {number}", "user_id": user} for number in range(6)])
        with started("--url", memories, "--store", store_url) as server:
            yield server, headers


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    return {**os.environ, "PYTHONPATH": path, "SCHEMATHESIS_HOOKS": "scripts.fuzz_hooks", "PYTHONUTF8": "1"}


def _schemathesis() -> str:
    return str(Path(sys.executable).with_name("st"))


def main(arguments: list[str]) -> int:
    """Fuzz until enough requests were sent; print the verdict and return the exit code."""
    parser = argparse.ArgumentParser(description="Fuzz a running omp-server.")
    parser.add_argument("--requests", type=int, default=20_000, help="send at least so many, 20000")
    parser.add_argument("--examples", type=int, default=60, help="requests per operation and phase in a round, 60")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first round, 1")
    given = parser.parse_args(arguments)
    outcome, began, rounds = Outcome(), time.monotonic(), 0
    while not rounds or (outcome.requests < given.requests and not outcome.complaints):
        keyed, seed = rounds % 2 == 1, given.seed + rounds
        fuzz(outcome, keyed=keyed, examples=given.examples, seed=seed)
        fuzz(outcome, keyed=keyed, examples=given.examples * CHAINS_FOR_EACH, seed=seed, phases=CHAINS)
        rounds += 1
        print(f"round {rounds}: {outcome.requests} requests after {time.monotonic() - began:.0f} s", flush=True)
    if not outcome.links:
        outcome.complaints.append("no stateful step followed a link")
    for complaint in outcome.complaints:
        print(complaint)
    print(*outcome.lines(), sep="\n")
    print(f"{outcome.requests} requests: {'FAILED' if outcome.complaints else 'nothing wrong'}")
    return 1 if outcome.complaints else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
