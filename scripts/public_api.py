"""Print every public name with its signature, a line each; tests/public_api.txt holds them as of the last release.

python scripts/public_api.py              print what is there now
python scripts/public_api.py --release    write it to tests/public_api.txt, as part of a release
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
SNAPSHOT: Final = ROOT / "tests" / "public_api.txt"
MODULES: Final = (
    "openmem",
    "openmem.cli",
    "openmem.errors",
    "openmem.providers",
    "openmem.server",
    "openmem.testing",
    "openmem.testing.postgres",
    "openmem.types",
)


def signatures() -> list[str]:
    """Return a line for each public name, and for each public member of each public class."""
    return [line for module in MODULES for line in _lines(module)]


def _lines(module: str) -> Iterator[str]:
    found = import_module(module)
    for name in sorted(found.__all__):
        yield from _described(f"{module}.{name}", getattr(found, name))


def _described(name: str, value: Any) -> Iterator[str]:
    home = f"{getattr(value, '__module__', '')}.{getattr(value, '__name__', '')}"
    if home != name and home.rpartition(".")[0] in MODULES:
        yield f"{name} = {home}"
    elif inspect.isclass(value):
        yield f"{name}({', '.join(base.__name__ for base in value.__bases__)})"
        yield from (
            f"{name}.{field}: {kind}" for field, kind in inspect.get_annotations(value).items() if field[0] != "_"
        )
        yield from _members(name, value)
    elif inspect.isroutine(value):
        yield f"{name}{inspect.signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def _members(name: str, owner: type) -> Iterator[str]:
    for member in sorted(dir(owner)):
        value = inspect.getattr_static(owner, member)
        ours = any(member in vars(base) and base.__module__.startswith("openmem") for base in owner.__mro__)
        if not ours or (member.startswith("_") and member != "__init__"):
            continue
        plain = getattr(value, "__func__", value)
        if inspect.isfunction(plain):
            yield f"{name}.{member}{inspect.signature(plain)}"
        elif isinstance(value, property):
            yield f"{name}.{member}: property"


def main() -> int:
    """Print the names, or write them down."""
    text = "\n".join(signatures()) + "\n"
    if "--release" in sys.argv[1:]:
        SNAPSHOT.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
