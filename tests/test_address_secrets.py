"""Every form of an address through every entry: nothing that is raised, printed or logged shows its secret."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from openmem import (
    AsyncMemory,
    AsyncServerStore,
    InvalidRequestError,
    Memory,
    OMPError,
    OpenAIEmbedder,
    ServerStore,
    redacted_url,
    server_store_url,
)
from openmem.cli.app import app
from openmem.providers import ProviderName, Retry
from openmem.server.runtime.settings import read_settings
from openmem.server.services.stores import make_memory, make_store
from tests.address_forms import FORMS, PARTS, UNREACHABLE, UNREADABLE
from tests.server.process import run as run_server

Entry = Callable[[str], Any]
VARIABLES = (
    *("OMP_URL", "OMP_POSTGRES_URL", "OMP_DB_PATH", "OMP_BASE_URL", "OMP_PROVIDER", "OMP_SERVER_STORE"),
    *("OMP_PASSTHROUGH_BASE_URL", "OPENAI_BASE_URL", "SUPERMEMORY_BASE_URL", "LETTA_BASE_URL"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OTEL_EXPORTER_OTLP_ENDPOINT"),
)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that hang on it, those that a traceback does not show too."""
    pending, seen = [error], set[int]()
    while pending:
        found = pending.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        pending += [more for more in (found.__cause__, found.__context__) if more is not None]
        pending += getattr(found, "exceptions", ())


def words_of(error: BaseException) -> str:
    """Return everything that a log or a reporter of errors could show of an error."""
    words = ["".join(traceback.format_exception(error))]
    for found in chain(error):
        words += [str(found), repr(found), repr(found.args), repr(vars(found)), repr(getattr(found, "__notes__", ""))]
        if isinstance(found, OMPError):
            words += [repr(found.to_envelope()), repr(vars(pickle.loads(pickle.dumps(found))))]
        if isinstance(found, UnicodeError):
            words.append(repr(getattr(found, "object", "")))
    return "\n".join(words)


def told(make: Callable[[], Any], use: Callable[[Any], Any]) -> str:
    """Return what an instance and its failure say."""
    made: Any = None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            made = make()
            use(made)
        except OMPError as error:
            said = words_of(error)
        else:
            said = ""
    settings = getattr(getattr(made, "_provider", None), "settings", None)
    shown = "" if isinstance(made, str) else repr(made)  # what returns the address itself has to
    return f"{said}\n{shown}\n{settings!r}\n{[str(each.message) for each in warned]}"


async def _open(memory: Any) -> None:
    async with memory:
        pass


def _use_async(memory: Any) -> None:
    asyncio.run(_open(memory))


def _use(memory: Any) -> None:
    with memory:
        pass


def _add(memory: Any) -> None:
    with memory:
        memory.add(content="a", user_id="ann")


def _store(address: str) -> Any:
    return server_store_url(store=address, environ={})


SDK: dict[str, tuple[Entry, Callable[[Any], Any]]] = {
    "AsyncMemory(url=)": (lambda a: AsyncMemory(url=a, embedder="none", timeout=5), _use_async),
    "Memory(url=)": (lambda a: Memory(url=a, embedder="none", timeout=5), _use),
    "AsyncMemory(postgres, url=)": (lambda a: AsyncMemory("postgres", url=a, embedder="none", timeout=5), _use_async),
    "Memory(postgres, url=)": (lambda a: Memory("postgres", url=a, embedder="none", timeout=5), _use),
    "Memory(sqlite, url=)": (lambda a: Memory("sqlite", url=a, embedder="none", timeout=5), _use),
    "Memory(passthrough, url=)": (lambda a: Memory("passthrough", url=a, timeout=5), _use),
    "Memory(provider)": (lambda a: Memory(ProviderName(a), embedder="none"), _use),
    "AsyncMemory(base_url=)": (lambda a: AsyncMemory(base_url=a, timeout=5), _use_async),
    "Memory(mem0, base_url=)": (lambda a: Memory("mem0", base_url=a, api_key="k", timeout=5), _use),
    "Memory(letta, base_url=)": (lambda a: Memory("letta", base_url=a, timeout=5), _use),
    "Memory(supermemory, base_url=)": (lambda a: Memory("supermemory", base_url=a, api_key="k", timeout=5), _use),
    "OpenAIEmbedder(base_url=)": (
        lambda a: Memory("sqlite", url="m.db", embedder=OpenAIEmbedder("m", base_url=a, api_key="k", retries=0)),
        _add,
    ),
    "AsyncServerStore": (lambda a: AsyncServerStore(a, timeout=5), lambda s: asyncio.run(_open(s))),
    "ServerStore": (lambda a: ServerStore(a, timeout=5), _use),
    "server_store_url": (_store, repr),
}


@pytest.fixture
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A folder of its own for files whose names come out of an address, and every logger at its loudest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (None, "openmem", "asyncpg", "psycopg", "psycopg.pool", "httpx", "httpcore", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)


def check(said: str, form: str) -> None:
    for part in PARTS:
        assert part not in said, f"{form}: {said}"


@pytest.mark.parametrize("entry", SDK)
@pytest.mark.usefixtures("quiet_place")
def test_no_error_of_the_sdk_holds_a_part_of_the_secret(
    entry: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    make, use = SDK[entry]
    for form, address in FORMS.items():
        check(told(lambda address=address: make(address), use), form)  # type: ignore[misc]
    check(caplog.text + repr([record.args for record in caplog.records]), entry)
    check("".join(capfd.readouterr()), entry)


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.usefixtures("quiet_place")
def test_no_variable_of_the_environment_shows_its_secret(
    variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    embedder = "openai:small" if variable == "OPENAI_BASE_URL" else "none"
    providers = {"LETTA_BASE_URL": "letta", "SUPERMEMORY_BASE_URL": "supermemory"}
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    for form, address in FORMS.items():
        if "\0" in address or "\udc80" in address:
            continue  # no environment can hold it
        monkeypatch.setenv(variable, address)
        more: dict[str, Any] = {"url": str(tmp_path / "m.db")} if variable == "OPENAI_BASE_URL" else {}
        if "PROXY" in variable:
            more = {"base_url": "http://127.0.0.1:1", "retry": Retry(backoff=0)}
        provider = providers.get(variable)
        more |= {"api_key": "k"} if provider else {}
        check(
            told(
                lambda more=more, provider=provider: Memory(provider, embedder=embedder, timeout=5, **more),  # type: ignore[misc]
                _add,
            ),
            form,
        )
        if variable.startswith("OMP_"):
            check(told(lambda: make_memory(_read({})), _use_async), form)
            check(told(lambda: make_store(_read({})), repr), form)
    check(caplog.text, variable)


def _read(flags: dict[str, Any]) -> Any:
    import os

    try:
        return read_settings(flags, os.environ)
    except ValueError as error:
        raise InvalidRequestError(words_of(error)) from None


COMMANDS: dict[str, list[str]] = {
    "list": ["list", "--url", "{}"],
    "remember": ["remember", "x", "--url", "{}"],
    "doctor": ["doctor", "--url", "{}"],
    "doctor as JSON": ["doctor", "--json", "--url", "{}"],
    "migrate": ["migrate", "--url", "{}"],
    "copy from": ["copy", "--from", "{}", "--to", "b.db"],
    "copy to": ["copy", "--from", "here.db", "--to", "{}"],
    "copy to a service": ["copy", "--from", "here.db", "--to", "mem0+{}"],
    "keys": ["keys", "list", "--store", "{}"],
    "keys by the memories": ["keys", "list", "--url", "{}"],
    "keys create": ["keys", "create", "--app", "a", "--user", "*", "--grant", "read:*", "--store", "{}"],
    "provider": ["list", "--provider", "{}"],
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.usefixtures("quiet_place")
def test_the_command_line_shows_no_part_of_the_secret(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with Memory(url="here.db", embedder="none") as memory:
        memory.add(content="a", user_id="ann")
    for form, address in FORMS.items():
        arguments = [argument.replace("{}", address) for argument in COMMANDS[name]]
        done = CliRunner().invoke(app, [*arguments], prog_name="omp", env={"OMP_EMBEDDER": "none"})
        check(done.output, form)
        if done.exception is not None:
            assert isinstance(done.exception, SystemExit), (form, done.exception)
            check(words_of(done.exception), form)
    check(caplog.text, name)


@pytest.mark.usefixtures("quiet_place")
@pytest.mark.parametrize("flag", ["url", "base_url", "store", "provider", "cors_origins", "trusted_proxies", "host"])
def test_no_setting_of_the_server_shows_a_part_of_the_secret(flag: str, caplog: pytest.LogCaptureFixture) -> None:
    is_place = flag in ("url", "base_url", "provider")
    for form, address in FORMS.items():
        value = (address,) if flag in ("cors_origins", "trusted_proxies") else address
        check(told(lambda value=value: make_memory(_read({flag: value})), _use_async if is_place else repr), form)  # type: ignore[misc]
        check(told(lambda value=value: make_store(_read({flag: value})), lambda s: asyncio.run(_open(s))), form)  # type: ignore[misc]
    check(caplog.text, flag)


@pytest.mark.usefixtures("quiet_place")
@pytest.mark.parametrize("name", ["OMP_URL", "OMP_SERVER_STORE", "OMP_BASE_URL", "OMP_API_KEY"])
def test_a_file_with_an_address_shows_no_part_of_the_secret(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for form, address in FORMS.items():
        file = tmp_path / "secret"
        file.write_text(address, encoding="utf-8", errors="surrogatepass")
        monkeypatch.setenv(f"{name}_FILE", str(file))
        check(told(lambda: make_memory(_read({})), _use_async), form)
        check(told(lambda: make_store(_read({})), repr), form)
        if "\udc80" not in address:
            monkeypatch.setenv(f"{name}_FILE", address)  # the address itself where a file's name belongs
            check(told(lambda: make_memory(_read({})), repr), form)


@pytest.mark.parametrize("form", ["template in brackets", "keywords", "no server there", "unknown service"])
def test_a_server_that_does_not_start_shows_no_part_of_the_secret(form: str, tmp_path: Path) -> None:
    flags = ("--boot-timeout", "1", "--port", "0", "--log-level", "debug")
    done = run_server("--url", FORMS[form], *flags, HOME=str(tmp_path))
    assert done.returncode != 0
    check(done.stdout + done.stderr, form)


@pytest.mark.parametrize("form", UNREADABLE)
def test_an_address_that_cannot_be_read_is_refused_at_once_and_never_shown(form: str) -> None:
    address = UNREADABLE[form]
    for kind in (AsyncMemory, Memory):
        with pytest.raises(InvalidRequestError) as caught:
            kind(url=address, embedder="none")
        assert caught.value.__context__ is None
    check(redacted_url(address), form)


@pytest.mark.parametrize("form", UNREACHABLE)
def test_an_address_that_can_be_read_is_shown_without_its_secret(form: str) -> None:
    shown = redacted_url(UNREACHABLE[form])
    assert shown.startswith("postgresql://")
    check(shown, form)
