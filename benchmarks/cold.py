"""Cost of the first instance of a process: `python -m benchmarks.cold [ROUNDS]`.

Each round is a fresh process for each provider and form. It measures processor time, so that a busy machine does not
show, of three things: `import openmem`, the first access to the class, and the constructor.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

GOAL = 5.0
"""Milliseconds that a constructor may take."""
MADE = {
    "sqlite": "('sqlite', url='m.db')",
    "postgres": "('postgres', url='postgresql://u:p@127.0.0.1/d')",
    "passthrough": "(base_url='http://127.0.0.1:1', api_key='k')",
    "mem0": "('mem0', client=types.SimpleNamespace(add=print))",
    "supermemory": "('supermemory', api_key='k')",
    "letta": "('letta', base_url='http://127.0.0.1:1')",
    "third party": "('acme', colour='red')",
}
_SPEC = """
from openmem.providers import ProviderSpec
SPEC = ProviderSpec("acme", "acme_p:A", "acme_p:B", options=frozenset({"colour"}))
"""
_FILES = {
    "acme_spec.py": _SPEC,
    "acme_p.py": "import numpy\nfrom openmem.providers import AsyncProvider as A, Provider as B\n",
    "acme-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n",
    "acme-1.0.dist-info/entry_points.txt": "[openmem.providers]\nacme = acme_spec:SPEC\n",
}
_PROGRAM = """
import sys, types
from time import process_time
sys.path.append({folder!r})
times = [process_time()]
import openmem
times.append(process_time())
kind = openmem.{face}
times.append(process_time())
made = kind{arguments}
times.append(process_time())
print(*(1000 * (later - earlier) for earlier, later in zip(times, times[1:])))
"""


def measure(face: str, arguments: str, folder: str) -> list[float]:
    """Return the milliseconds of the import, of the access and of the constructor in a new process."""
    program = _PROGRAM.format(face=face, arguments=arguments, folder=folder)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip().splitlines()[-1])
    return [float(word) for word in done.stdout.split()]


def main(rounds: int) -> None:
    """Print the table."""
    print("| provider | form | import openmem | the class | the constructor | goal | |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in _FILES.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        for provider, arguments in MADE.items():
            for face in ("AsyncMemory", "Memory"):
                runs = [measure(face, arguments, folder) for _ in range(rounds)]
                medians = [statistics.median(column) for column in zip(*runs, strict=True)]
                shown = " | ".join(f"{value:.1f} ms" for value in medians)
                print(
                    f"| {provider} | {face} | {shown} | < {GOAL:g} | {'PASS' if medians[-1] < GOAL else '**MISS**'} |"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
