"""Write what each provider says of itself into docs/providers.md.

    python -m scripts.providers_table            write it
    python -m scripts.providers_table --check    change nothing; exit 1 if the page is not up to date

The block between the lines `<!-- providers -->` and `<!-- end -->` is replaced. No provider is opened and no SDK is
needed: capabilities are asked of providers over clients that are never used.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from openmem._config.settings import resolve_settings
from openmem._io.concurrency.call import Call
from openmem._io.plugins import load_async_provider
from openmem._rules.capabilities import with_arguments
from openmem._rules.understanding import LATER_ARGUMENTS
from openmem.testing import HashEmbedder
from openmem.types import Capabilities

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "providers.md"
NATIVE: Final = "native"
HERE: Final = "here"
NOT: Final = "—"

_BLOCK: Final = re.compile(r"^<!-- providers -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
_VERBS: Final = {"import": "`import_`", "tags": "`tags()`"}
_PARTS: Final = {
    "user_id": "users apart",
    "exact scope": '`scope="a"`',
    "scope/*": '`scope="a/*"`',
    "tags": "`tags`",
    "since": "`since`",
    "until": "`until`",
    "valid_from": "`valid_from`",
    "valid_to": "`valid_to`",
    "as_of": "`as_of`",
    "supersedes": "`supersedes`",
    "key": "`key`",
    "cursor": "pages",
    "get without user_id": "`get` without `user_id`",
    "score": "scores",
}
_ALIASES: Final = {"scope": "exact scope"}
_ARGUMENTS: Final = {
    "by_key": "`key` in the place of an id",
    "if_absent": "`add(if_absent=)`",
    "if_version": "`add(if_version=)`",
    "metadata": "`metadata`",
    "metadata_patch": "`update(metadata_patch=)`",
    "where": "`where`",
    "searchable": "`searchable=False`",
    "embedding": "`embedding`",
    "order": "`list(order=)`",
    "descending": "`list(descending=)`",
    "offset": "`search(offset=)`",
    "limit above 100": "`search(limit=)` above 100",
}
_FLAGS: Final = {
    "vector_search": '`search(mode="vector")`',
    "keyword_search": '`search(mode="keyword")`',
    "supports_audit": "audit log",
    "async_ingestion": "found only after `wait_for_ingest`",
    "auto_chunking": "long texts in parts",
}


def table() -> str:
    """Return the table: a row for each verb, argument and flag, a column for each provider."""
    columns = asyncio.run(capabilities_of_all())
    rows = [("", list(columns)), ("---", ["---"] * len(columns))]
    verbs = columns["sqlite"].all_verbs
    rows += [(_VERBS.get(verb, f"`{verb}`"), [_of(said, verb) for said in columns.values()]) for verb in verbs]
    rows += [(shown, [_of(said, part) for said in columns.values()]) for part, shown in _PARTS.items()]
    arguments = [*_ARGUMENTS, *sorted(LATER_ARGUMENTS - _ARGUMENTS.keys())]
    named = [(name, _ARGUMENTS.get(name, f"`{name}`")) for name in arguments if name in LATER_ARGUMENTS]
    rows += [(shown, [_takes(said, name) for said in columns.values()]) for name, shown in named]
    rows += [(shown, [_flag(said, flag) for said in columns.values()]) for flag, shown in _FLAGS.items()]
    return "".join(f"| {name} | {' | '.join(cells)} |\n" for name, cells in rows)


def filled(page: str) -> str:
    """Return the page with the table up to date."""
    return _BLOCK.sub(lambda found: f"<!-- providers -->\n{table()}<!-- end -->", page)


async def capabilities_of_all() -> dict[str, Capabilities]:
    """Return what each provider says of itself, without asking a service."""

    def unused(*args: object, **kwargs: object) -> None:
        raise AssertionError("capabilities ask no server")

    qdrant = SimpleNamespace(vector_store=SimpleNamespace(provider="qdrant"))
    return {
        "sqlite": await _said("sqlite", url="unused.db"),
        "postgres": await _said("postgres", url="postgresql://unused/unused"),
        "mem0 hosted": await _said("mem0", client=SimpleNamespace(add=unused)),
        "mem0 in process": await _said("mem0", client=SimpleNamespace(add=unused, vector_store=None, config=qdrant)),
        "supermemory": await _said("supermemory", client=SimpleNamespace(add=unused, documents=None)),
        "letta": await _said("letta", client=SimpleNamespace(passages=SimpleNamespace(search=unused))),
    }


async def _said(name: str, *, url: str | None = None, **options: Any) -> Capabilities:
    settings = resolve_settings(
        provider=name, url=url, base_url=None, api_key=None, embedder=None, options=options, environ={}
    )
    provider = load_async_provider(name)(settings, HashEmbedder())
    said: Capabilities = await provider.capabilities(Call())
    return with_arguments(said, provider.understands)


def _of(said: Capabilities, what: str) -> str:
    extra: dict[str, Any] = said.features.model_extra or {}
    native = {_ALIASES.get(part, part) for part in extra.get("native", ())}
    emulated = {_ALIASES.get(part, part) for part in extra.get("emulated", ())}
    unknown = (native | emulated) - {*_PARTS, *said.all_verbs, *said.arguments}
    if unknown:
        raise SystemExit(f"{said.provider} names what the table has no row for: {', '.join(sorted(unknown))}")
    if what not in _PARTS and what not in said.all_verbs:
        return NOT
    if (native or emulated) and what not in native | emulated:
        raise SystemExit(f"{said.provider} does not say who does {what}")
    return HERE if what in emulated else NATIVE


def _takes(said: Capabilities, argument: str) -> str:
    if argument not in said.arguments:
        return NOT
    return HERE if argument in (said.features.model_extra or {}).get("emulated", ()) else NATIVE


def _flag(said: Capabilities, flag: str) -> str:
    return "yes" if getattr(said.features, flag) else NOT


def main() -> None:
    """Write or check the page."""
    old = PAGE.read_text(encoding="utf-8")
    new = filled(old)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(new, encoding="utf-8")
    elif new != old:
        raise SystemExit("docs/providers.md is not up to date: python -m scripts.providers_table")


if __name__ == "__main__":
    main()
