"""One word for one idea: words that gave way to the field's own do not come back. docs/glossary.md has those in use."""

from __future__ import annotations

import ast
import io
import re
import tokenize
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
    r"_hand_on": "_release_to_waiter",
    r"_write_late": "_write_after_close",
    r"_OtherWay": "_TryNextTlsMode",
    r"Stopwatch": "milliseconds_since",
    r"opens no door|which door|the doors": "entry, command",
    r"this room|map of rooms|the rooms|which room": "package, layer",
}
# In docstrings and comments: who or what is meant has a name (caller, client, user, process, thread).
VAGUE = re.compile(r"\b(nobody|somebody|anybody|everybody|whoever|whomever|anew)\b", re.IGNORECASE)
INVERTED = re.compile(r"(What|Whatever|Who|Whom|Whose|Whoever|Where|How|Which|When)\b")
NAME = re.compile(r"^ *(?:async )?def test_(\w+)", re.MULTILINE)
INVERTED_NAME = re.compile(r"(what|whatever|who|whom|whose|whoever|where|how|which|when)_|\w*(nobody|somebody|anew)")
PLACES = ("src", "tests", "docs", "scripts", "benchmarks", "examples", "README.md", "CONTRIBUTING.md", "Makefile")
SPOKEN = re.compile(r"(content|text)=|\"[^\"]*\bdoor\b[^\"]*\"|'[^']*\bdoor\b[^']*'")  # memories of examples


def files() -> list[Path]:
    found = [path for place in PLACES for path in (ROOT / place, *sorted((ROOT / place).rglob("*")))]
    return [p for p in found if p.suffix in {".py", ".md", ""} and p.is_file() and p != Path(__file__).resolve()]


ANY_RETIRED = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(RETIRED)})(?![A-Za-z])".lower())


def retired_words(text: str) -> list[str]:
    """Return the retired words of a text, each with what to write instead."""
    if not ANY_RETIRED.search(text.lower()):  # quicker than one word after the other, and than in any case
        return []
    return [
        f"{match[0]}: write {instead}"
        for word, instead in RETIRED.items()
        for line in text.splitlines()
        if not SPOKEN.search(line)
        for match in re.finditer(rf"(?<![A-Za-z])(?:{word})(?![A-Za-z])", line, re.IGNORECASE)
    ]


def sources() -> list[Path]:
    """Return the files of Python, but for generated ones: those follow their source."""
    return [path for path in files() if path.suffix == ".py" and "_sync" not in path.parts]


def said_of_code(text: str) -> list[str]:
    """Return the docstrings of a file, and its comments if any word in it is vague."""
    strings = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)]
    found = [node.value for node in strings if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    if not VAGUE.search(text):  # to take a file apart for its comments takes long
        return found
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return found + [token.string for token in tokens if token.type == tokenize.COMMENT]


def inverted_or_vague(text: str) -> list[str]:
    """Return docstrings that begin with a question word, and docstrings and comments that name no subject."""
    return [said for said in said_of_code(text) if INVERTED.match(said) or VAGUE.search(said)]


def test_docstrings_and_comments_name_their_subject_and_begin_with_it() -> None:
    found = {path.relative_to(ROOT).as_posix(): inverted_or_vague(path.read_text("utf-8")) for path in sources()}
    assert len(found) > 300
    assert not {name: said for name, said in found.items() if said}


def test_docstring_without_a_subject_is_found() -> None:
    assert inverted_or_vague('"""What is kept."""\nx = 1  # nobody asks again\n') == [
        "What is kept.",
        "# nobody asks again",
    ]
    assert not inverted_or_vague('"""The retention of a store."""\nuser = "nobody"  # an account of Unix\n')


def test_name_of_a_test_begins_with_its_subject() -> None:
    """The rules of the kit keep their names: those who write a provider leave rules out by them."""
    names = [name for path in (ROOT / "tests").rglob("test_*.py") for name in NAME.findall(path.read_text("utf-8"))]
    assert len(names) > 2_000
    assert [name for name in names if INVERTED_NAME.match(name)] == []


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
