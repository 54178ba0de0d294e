"""The documentation is part of the product: its code runs, its output is what is printed, nothing is left out.

In README.md and docs/*.md, the ```python blocks of a page are run in order, in one namespace and one folder. A
block may await at its top level. What it prints must stand in a ```text block right after it. In a ```console block the
commands of TYPED behind a `$` are typed, and must print what follows them; an `omp-server` runs on until the next one
or the end of the page. ```sql blocks are run by psql as the administrator. A block that cannot run here is marked
`no-run` after the language, with its reason in an HTML comment before it; Python is compiled all the same.
docs/postgres.md has a Postgres of its own, docs/server.md a database.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import itertools
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scripts import providers_table

import openmem
from openmem import AsyncMemory, FastEmbed, OMPError, OpenAIEmbedder
from openmem._config import registry, settings
from openmem._io.plugins import load_async_provider
from openmem.server.runtime.cli import flag_of
from openmem.server.runtime.settings import VARIABLES, ServerSettings
from openmem.testing._postgres.install import find_install
from openmem.testing.postgres import PostgresServer
from tests.terminal import Terminal
from tests.vendor.stubs import stub_store

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LINKED = [*PAGES, *(page for page in (ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md") if page.exists())]
RUN = ("python", "sql", "console")
TYPED = re.compile(r"\$ (\w+=\S+ )*(omp|omp-server|curl|echo|psql|pg_dump|pg_restore)\b")
OWN_SETTINGS = {"provider", "url", "base_url", "api_key", "embedder", "app", "timeout", "retry", "create"}

FENCE = re.compile(r"^(?P<ticks>```+)(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=ticks)[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
ERRORS = [value for name in openmem.__all__ if inspect.isclass(value := getattr(openmem, name))]
OLD_NAMES = {"acting"}  # docs/stability.md has them
VERBS = [
    name for name, _ in inspect.getmembers(AsyncMemory, inspect.isfunction) if name[0] != "_" and name not in OLD_NAMES
]


@dataclass(frozen=True)
class Block:
    line: int
    info: str
    body: str
    before: str  # the text since the block before it


def blocks(page: Path) -> list[Block]:
    text, found, end = page.read_text(encoding="utf-8"), [], 0
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(line, match["info"].strip(), match["body"], text[end : match.start()]))
        end = match.end()
    return found


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def section(page: Path, heading: str) -> str:
    """Return what stands below a heading, up to the next one."""
    found = re.search(rf"^#+ +{re.escape(heading)}\s*$(.*?)(?=^#|\Z)", prose(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no heading {heading!r}"
    return found[1]


def name_of(page: Path) -> str:
    return page.name


def run(block: Block, page: Path, namespace: dict[str, Any], runner: asyncio.Runner, terminal: Terminal) -> str:
    """Run one block and return what it printed."""
    # Line numbers of a traceback are those of the page.
    source = "\n" * block.line + terminal.typed(block.body)
    code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = eval(code, namespace)
        if inspect.iscoroutine(result):
            runner.run(result)
    return terminal.shown(printed.getvalue())


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Runner]:
    """The environment of a reader: an empty folder, no settings, no model, so that the output is always the same."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "LOCALAPPDATA", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("OMP_EMBEDDER", "none")
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def service(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A stand-in for the service that a page is about; the environment names it, as that of a reader would."""
    if page.stem not in ("letta", "supermemory"):
        yield
        return
    with stub_store(page.stem, tmp_path, lambda: request.getfixturevalue("postgres")) as stub:
        monkeypatch.setenv("OMP_BASE_URL", stub.service.url)
        monkeypatch.setenv(f"{page.stem.upper()}_API_KEY", str(stub.key))
        yield


@pytest.fixture
def programs(page: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The needs of the page on Postgres: empty databases, one of them for its reader, and the server's programs."""
    if page.name == "server.md":
        monkeypatch.setenv("POSTGRES_URL", request.getfixturevalue("empty_postgres_url"))
    if page.name != "postgres.md":
        yield []
        return
    server: PostgresServer = request.getfixturevalue("own_postgres")  # of its own, for the roles that the page makes
    ours, other = server.new_database(), server.new_database()
    for name, url in (("ADMIN_URL", ours), ("OMP_URL", ours.replace("//postgres@", "//app@")), ("OTHER_URL", other)):
        monkeypatch.setenv(name, url)
    yield [find_install().binaries]
    for url in (ours, other):
        server.drop_database(url)


def run_sql(text: str, programs: list[Path]) -> str:
    command = [str(programs[0] / "psql"), os.environ["ADMIN_URL"], "--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_runs_and_prints_what_is_shown(
    page: Path, reader: asyncio.Runner, tmp_path: Path, programs: list[Path], service: None
) -> None:
    with contextlib.closing(Terminal(tmp_path, *programs)) as terminal:
        follow(page, reader, terminal, programs)


def follow(page: Path, reader: asyncio.Runner, terminal: Terminal, programs: list[Path]) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    found = [*blocks(page), Block(0, "", "", "")]
    for block, following in itertools.pairwise(found):
        shows = following.info == "text" and not following.before.strip()
        expected = following.body if shows else ""
        if block.info == "python":
            printed = run(block, page, namespace, reader, terminal)
        elif block.info == "sql":
            printed = run_sql(block.body, programs)
        elif block.info == "console" and TYPED.match(block.body) and os.name != "nt":
            expected, printed = block.body, terminal.follow(block.body)
        else:
            continue
        assert printed == expected, f"{page.name}:{block.line} prints this"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_that_is_not_run_says_why_and_compiles(page: Path) -> None:
    for block in blocks(page):
        language, _, mark = block.info.partition(" ")
        if language not in RUN or not mark:
            continue
        assert mark == "no-run", f"{page.name}:{block.line}: unknown mark {mark!r}"
        assert block.before.rstrip().endswith("-->"), f"{page.name}:{block.line}: no reason for no-run"
        if language == "python":
            compile(block.body, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_relative_links_resolve(page: Path) -> None:
    dead = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def anchors(page: Path) -> set[str]:
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(page))}


@pytest.fixture(scope="module")
def sources() -> list[str]:
    """The paths of all Python files, with a slash before each."""
    folders = ("src", "tests", "scripts", "benchmarks", "examples")
    return [f"/{file.relative_to(ROOT).as_posix()}" for folder in folders for file in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_source_file_that_a_page_names_exists(page: Path, sources: list[str]) -> None:
    named = re.findall(r"`([\w./-]+\.py)`", prose(page))
    assert [name for name in named if not any(source.endswith(f"/{name}") for source in sources)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_installs_from_a_clone_or_a_wheel(page: Path) -> None:
    """Nothing is published: `pip install openmem-sdk` into an empty environment fails, or brings another package."""
    elsewhere = re.findall(r"^pip install '?openmem-sdk(?!.* @ ).*", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert elsewhere == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=name_of)
def test_every_page_is_in_the_index(page: Path) -> None:
    assert page.name == "index.md" or f"]({page.name})" in prose(DOCS / "index.md")


@pytest.mark.parametrize("cls", [cls for cls in ERRORS if issubclass(cls, OMPError)], ids=lambda cls: cls.__name__)
def test_every_error_has_its_heading_code_and_status(cls: type[OMPError]) -> None:
    text = section(DOCS / "errors.md", cls.__name__)
    assert f"`{cls.code}`" in text
    assert f"HTTP {cls.http_status}" in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_heading_with_all_its_arguments(verb: str) -> None:
    text = section(DOCS / "verbs.md", verb)
    names = [
        name for name in inspect.signature(getattr(AsyncMemory, verb)).parameters if name not in ("self", "timeout")
    ]
    shown = {name: f"`{'x-…' if name == 'extensions' else name}`" for name in names}
    assert [name for name in names if shown[name] not in text] == []


def test_every_setting_has_a_row() -> None:
    text = section(DOCS / "verbs.md", "The constructor")
    given = {name for name in inspect.signature(AsyncMemory).parameters if name != "options"}
    assert given == OWN_SETTINGS
    assert [name for name in sorted(given) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("provider", sorted(registry.BUILT_IN))
def test_every_option_of_a_provider_is_explained(provider: str) -> None:
    options = load_async_provider(provider).options
    text = prose(DOCS / ("remote.md" if provider == "passthrough" else f"{provider}.md"))
    assert [name for name in sorted(options) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("cls", [FastEmbed, OpenAIEmbedder], ids=lambda cls: cls.__name__)
def test_every_option_of_an_embedder_is_explained(cls: type) -> None:
    text = (DOCS / "embedders.md").read_text(encoding="utf-8")
    assert [name for name in inspect.signature(cls).parameters if name not in text] == []


@pytest.mark.parametrize("provider", [*registry.BUILT_IN])
def test_every_provider_has_its_status_in_the_readme(provider: str) -> None:
    assert re.search(rf"^\| `{provider}`.*\bready\b", prose(ROOT / "README.md"), re.MULTILINE)


CONTRACT = json.loads((ROOT / "src" / "openmem" / "server" / "omp-0.1.json").read_text(encoding="utf-8"))
ROUTED = [
    f"{verb.upper()} {path}"
    for path, verbs in CONTRACT["paths"].items()
    for verb in verbs
    if "operationId" in verbs[verb]
]


@pytest.mark.parametrize("route", ROUTED)
def test_every_route_is_described_and_tried(route: str) -> None:
    page, path = DOCS / "http.md", route.partition(" ")[2]
    if f"### {route}" not in prose(page):
        assert f"`{path}`" in prose(DOCS / "server.md") or path == "/openapi.json"
        assert re.search(rf"`(GET )?{path}`", section(page, "The routes"))
    else:
        assert f"`{route}`" in section(page, "The routes")
        assert "localhost:8080" in followed_by(page, route)


def followed_by(page: Path, heading: str) -> str:
    """Return what stands below a heading, blocks too, up to the next one."""
    return re.split(r"^#+ ", page.read_text(encoding="utf-8").partition(f"\n### {heading}\n")[2], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("name", [*VARIABLES])
def test_every_setting_of_the_server_has_a_row_with_its_default(name: str) -> None:
    flag = flag_of(name)
    row = re.search(rf"^\| `{flag}` \| `{VARIABLES[name]}` \| ([^|]*) \|", prose(DOCS / "server.md"), re.MULTILINE)
    assert row, name
    default = getattr(ServerSettings(), name)
    if isinstance(default, bool):
        assert row[1] == ("yes" if default else "no")
    elif isinstance(default, (int, float)):
        assert re.split(r"[: ]", row[1])[0] == f"{default:.0f}"
    elif isinstance(default, str):
        assert row[1] == default


def test_table_of_providers_is_what_they_say_of_themselves() -> None:
    page = providers_table.PAGE.read_text(encoding="utf-8")
    assert page.count(f"| {providers_table.HERE} |") > 20
    assert providers_table.filled(page) == page, "run: python -m scripts.providers_table"


def test_every_code_of_a_failure_is_in_the_table() -> None:
    codes = CONTRACT["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"]
    rows = re.findall(r"^\| \d{3} \| `(\w+)` \|", section(DOCS / "http.md", "Failures"), re.MULTILINE)
    assert set(rows) == set(codes)


def test_security_names_tests_that_exist() -> None:
    tests = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    known = {path.name for path in tests} | {str(path.relative_to(ROOT / "tests")) for path in tests}
    known |= set(re.findall(r"def (test_\w+)\(", "".join(tests.values())))
    named = set(re.findall(r"`((?:[a-z_]+/)*test_\w+(?:\.py)?)`", prose(DOCS / "security.md")))
    assert len(named) > 20
    assert named - known == set()


def test_every_environment_variable_is_explained() -> None:
    source = inspect.getsource(settings)
    named = set(re.findall(r"\b(?:OMP_[A-Z_]+|[A-Z0-9]+_API_KEY)\b", source))
    assert named >= {"OMP_URL", "OMP_EMBEDDER"}
    assert [name for name in sorted(named) if f"`{name}`" not in prose(DOCS / "verbs.md")] == []


@pytest.mark.parametrize("name", sorted(openmem.__all__))
def test_every_public_name_is_mentioned(name: str) -> None:
    assert any(re.search(rf"\b{name}\b", page.read_text(encoding="utf-8")) for page in PAGES)
