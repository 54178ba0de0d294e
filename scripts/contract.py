"""Writes the contract that the package ships, as JSON, from the one that is written by hand.

python scripts/contract.py            # write
python scripts/contract.py --check    # fail if the two differ
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "openapi" / "omp-0.1.yaml"
SHIPPED = ROOT / "src" / "openmem" / "server" / "omp-0.1.json"


def shipped_text(source: str) -> str:
    """Return the document as the package ships it."""
    return json.dumps(yaml.safe_load(source), ensure_ascii=False, separators=(",", ":")) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check; return the exit code."""
    text = shipped_text(SOURCE.read_text(encoding="utf-8"))
    if "--check" not in arguments:
        SHIPPED.write_text(text, encoding="utf-8")
        return 0
    if SHIPPED.read_text(encoding="utf-8") == text:
        return 0
    print(f"{SHIPPED.relative_to(ROOT)} is not what {SOURCE.relative_to(ROOT)} says: run python scripts/contract.py")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
