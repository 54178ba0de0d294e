"""One word for one idea: words that gave way to the field's own do not come back. docs/glossary.md has those in use."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The word, as it would stand in code or in a sentence, and what to write instead.
RETIRED = {
    r"crews?": "executor",
    r"alarms?": "deadline timer",
    r"errands?": "work item",
    r"households?": "sample memories",
    r"outsiders?": "other client",
    r"let_go": "dispose",
    r"time_anew": "fresh_deadline",
    r"opens no door|which door|the doors": "entry, command",
    r"this room|map of rooms|the rooms|which room": "package, layer",
}
PLACES = ("src", "tests", "docs", "scripts", "benchmarks", "examples", "README.md", "CONTRIBUTING.md", "Makefile")
SPOKEN = re.compile(r"(content|text)=|\"[^\"]*\bdoor\b[^\"]*\"|'[^']*\bdoor\b[^']*'")  # memories of examples


def files() -> list[Path]:
    found = [path for place in PLACES for path in (ROOT / place, *sorted((ROOT / place).rglob("*")))]
    return [p for p in found if p.suffix in {".py", ".md", ""} and p.is_file() and p != Path(__file__).resolve()]


def retired_words(text: str) -> list[str]:
    """Return the retired words of a text, each with what to write instead."""
    return [
        f"{match[0]}: write {instead}"
        for word, instead in RETIRED.items()
        for line in text.splitlines()
        if not SPOKEN.search(line)
        for match in re.finditer(rf"(?<![A-Za-z])(?:{word})(?![A-Za-z])", line, re.IGNORECASE)
    ]


def test_no_file_uses_a_retired_word() -> None:
    found = {path.relative_to(ROOT).as_posix(): retired_words(path.read_text(encoding="utf-8")) for path in files()}
    assert len(found) > 300
    assert not {name: words for name, words in found.items() if words}


def test_retired_word_is_found() -> None:
    assert retired_words("self._crew = None  # opens no door") == [
        "crew: write executor",
        "opens no door: write entry, command",
    ]
    assert not retired_words('memory.add(content="Ada painted the door navy")')
