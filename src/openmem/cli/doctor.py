"""`omp doctor`: what is there, whether it works, and what to do if not."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

import openmem
from openmem._config.extras import install_extra
from openmem.cli import output
from openmem.cli.session import FAILED, Session

if TYPE_CHECKING:
    from openmem import Memory, OMPError
    from openmem.types import Capabilities, Health

# What must be importable for an extra to work.
EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "async": ("asyncpg", "pgvector", "psycopg"),
    "cli": ("typer", "rich"),
    "letta": ("letta_client",),
    "local": ("fastembed",),
    "mem0": ("mem0",),
    "otel": ("opentelemetry",),
    "postgres": ("asyncpg", "pgvector", "psycopg"),
    "server": ("httptools", "prometheus_client", "pydantic_settings", "starlette", "uvicorn"),
    "supermemory": ("supermemory",),
    "testing": ("hypothesis", "pytest", "pytest_asyncio"),
}
_REMEDIES: Final = {
    "unauthorized": "check the user and password in the URL, or OMP_API_KEY",
    "provider_unavailable": "check that --url is right, that it can be reached, and that you may write there",
    "deadline_exceeded": "check the connection, or give it more time with --timeout",
    "invalid_request": "change the option or the environment variable that the message names",
    "unsupported_capability": "choose another provider or embedder",
}
_EMBEDDING: Final = frozenset({"sqlite", "postgres"})  # those that keep vectors of an embedder of this side
_NEWEST: Final = 100
_OTHER_REMEDY: Final = "see the message; another store can be named with --url"


@dataclass
class Findings:
    """The findings."""

    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[dict[str, str]] = field(default_factory=list)

    def add(self, what: str, remedy: str) -> None:
        """Note something that is broken and what to do about it."""
        self.problems.append({"problem": what, "remedy": remedy})

    def failed(self, error: OMPError) -> None:
        """Note a call that failed."""
        self.add(error.message, _REMEDIES.get(error.code, _OTHER_REMEDY))


def doctor(
    session: Session,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Use the embedder, too; may fetch the model, leaves a search in the audit log."),
    ] = False,
) -> None:
    """Show what is there and whether it works.

    If something is broken, it says what to do, and the exit code is 1.
    """
    found = Findings(_surroundings())
    _examine(session, probe, found)
    if session.as_json:
        output.show_json({"ok": not found.problems, **found.facts, "problems": found.problems})
    else:
        output.show_pairs(_lines(found.facts))
        for trouble in found.problems:
            output.say(f"Error: {output.printable(trouble['problem'])}")
            output.say(f"  To do: {output.printable(trouble['remedy'])}")
        if output.on_terminal() and not found.problems:
            output.show("All is well.")
    if found.problems:
        raise typer.Exit(FAILED)


def _surroundings() -> dict[str, Any]:
    set_here = sorted(name for name, value in os.environ.items() if name.startswith("OMP_") and value)
    return {
        "openmem": openmem.__version__,
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "extras": {name: all(map(_importable, modules)) for name, modules in EXTRAS.items()},
        "environment": set_here,
    }


def _importable(module: str) -> bool:
    return find_spec(module) is not None


def _examine(session: Session, probe: bool, found: Findings) -> None:
    from openmem import InvalidRequestError, OMPError

    if session.url is not None:
        found.facts["url"] = openmem.redacted_url(session.url)
    try:
        try:
            memory = session.memory()
        except InvalidRequestError as error:
            # The embedder may be to blame: the store is worth a look without it.
            memory, probe = replace(session, embedder="none").memory(), False
            found.failed(error)
        with memory:
            _look_into(memory, found)
            _look_for_words_only(memory, session, found)
            if probe:
                memory.search("probe", session.owner(), mode="vector", limit=1)
                found.facts["probe"] = "the embedder works"
    except OMPError as error:
        if all(trouble["problem"] != error.message for trouble in found.problems):
            found.failed(error)


def _look_into(memory: Memory, found: Findings) -> None:
    health, able = memory.health(), memory.capabilities()
    extra = able.features.model_extra or {}
    found.facts |= {
        "provider": health.provider,
        "healthy": health.ok,
        "latency_ms": round(health.latency_ms or 0.0, 2),
        "store": health.detail,
        "embedder": extra.get("embedding_model"),
        "capabilities": output.fields_of(able),
    }
    if not health.ok:
        found.add(f"the provider {health.provider} is not well", _REMEDIES["provider_unavailable"])
    _compare_models(health, able, found)


def _compare_models(health: Health, able: Capabilities, found: Findings) -> None:
    own, stored = (able.features.model_extra or {}).get("embedding_model"), health.detail.get("models") or []
    if own is not None and stored and own not in stored:
        found.add(
            f"the memories were embedded with {', '.join(stored)}, but the embedder is {own}",
            "run omp reembed, or choose the embedder that they were made with",
        )


def _look_for_words_only(memory: Memory, session: Session, found: Findings) -> None:
    own, detail = found.facts["embedder"], found.facts["store"]
    if own is None or found.facts["provider"] not in _EMBEDDING:
        return
    bare, among = detail.get("without_vector"), detail.get("memories")
    if bare is None:  # a store too large to count in says it of its newest
        newest = memory.list(session.owner(), limit=_NEWEST).items
        bare, among = sum(item.embedding_model is None for item in newest), len(newest)
    if bare:
        found.add(
            f"{bare} of {among} memories have no vector of the embedder {own}: a search compares only their words",
            "run omp reembed, or choose --embedder none",
        )


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        if name == "extras":
            yield name, ", ".join(f"{extra} {'yes' if there else 'no'}" for extra, there in value.items())
        elif name == "embedder":
            advice = "" if facts["extras"]["local"] else f" ({install_extra('local')} adds search by meaning)"
            yield name, value or f"none: search by words only{advice}"
        elif name == "store":
            yield from ((f"store {part}", _shown(detail)) for part, detail in value.items())
        elif name == "capabilities":
            yield "verbs", _shown([*value["verbs"], *value.get("x-openmem", {}).get("verbs", ())])
            yield from ((f"can {feature}", _shown(detail)) for feature, detail in value["features"].items())
        else:
            yield name, _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
