"""Provider names and where their classes are. A reference is text: nothing is imported before the first use.

Built-in and third-party providers take the same road. A third party's package announces a `ProviderSpec` as an
entry point of the group `openmem.providers`; its name is what users pass as `provider=`. What a spec says of its
provider is checked by the constructor of an instance; the class is loaded by the first verb, where that waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from openmem._config.extras import requirement
from openmem._model.retention import OPTIONS

ENTRY_POINT_GROUP: Final = "openmem.providers"


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """The location of a provider's two classes, and what can be known of it without loading one.

    Args:
        name: What users pass as `provider=`.
        async_provider: `package.module:Class`, a subclass of `AsyncProvider`.
        provider: The same for `Provider`; `None` if there is no such form.
        extra: What to install when a module of the provider is missing, such as `openmem-sdk[postgres]`.
        schemes: Further schemes of `url=` that mean this provider; its name is always one, as in `acme://host`.
        options: The keyword arguments that only this provider knows, as its classes say. `None` leaves that to the
            classes: one is loaded at once when an option or an embedder is given, else by the first verb.
        embeds: Whether the provider uses an embedder of this side, as its classes say.
        takes_retry: Whether the provider repeats requests as `Settings.retry` says, as its classes say.
        check: `package.module:function`, which is called with the `Settings` of a new instance and raises
            `InvalidRequestError`. It loads nothing heavy, and does no I/O. If what it returns has a `place`, that is
            where the store is; else it is the address.
        async_needs: Modules that `async_provider` needs; the constructor looks whether they are there.
        needs: The same for `provider`.
    """

    name: str
    async_provider: str
    provider: str | None
    extra: str | None = None
    schemes: tuple[str, ...] = ()
    options: frozenset[str] | None = None
    embeds: bool = False
    takes_retry: bool = False
    check: str | None = None
    async_needs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


BUILT_IN: Final[dict[str, ProviderSpec]] = {
    "sqlite": ProviderSpec(
        "sqlite",
        "openmem._async.providers.sqlite:AsyncSqliteProvider",
        "openmem._sync.providers.sqlite:SqliteProvider",
        options=frozenset({"synchronous", "cache_mb"}) | OPTIONS,
        embeds=True,
        check="openmem._io.sqlite.options:check",
    ),
    "postgres": ProviderSpec(
        "postgres",
        "openmem._async.providers.postgres:AsyncPostgresProvider",
        "openmem._sync.providers.postgres:PostgresProvider",
        requirement("postgres"),
        options=frozenset({"schema", "text_search", "migrate", "pool_min_size", "pool_max_size", "pool_timeout"})
        | {"statement_cache", "group_adds", "distribute", "hnsw", "hnsw_from"}
        | OPTIONS,
        embeds=True,
        check="openmem._sql.postgres.options:check",
        async_needs=("asyncpg", "pgvector"),
        needs=("psycopg", "pgvector"),
    ),
    "passthrough": ProviderSpec(
        "passthrough",
        "openmem._async.providers.passthrough:AsyncPassthroughProvider",
        "openmem._sync.providers.passthrough:PassthroughProvider",
        options=frozenset({"capabilities", "transport"}),
        takes_retry=True,
        check="openmem._protocol.passthrough_options:check",
    ),
    "mem0": ProviderSpec(
        "mem0",
        "openmem._async.providers.mem0:AsyncMem0Provider",
        "openmem._sync.providers.mem0:Mem0Provider",
        requirement("mem0"),
        options=frozenset({"mode", "config", "client", "infer", "workers"}),
        takes_retry=True,
        check="openmem._io.vendors.mem0.client:access_of",
    ),
    "supermemory": ProviderSpec(
        "supermemory",
        "openmem._async.providers.supermemory:AsyncSupermemoryProvider",
        "openmem._sync.providers.supermemory:SupermemoryProvider",
        requirement("supermemory"),
        options=frozenset({"client", "task_type", "dreaming", "workers"}),
        takes_retry=True,
        check="openmem._io.vendors.supermemory.client:access_of",
    ),
    "letta": ProviderSpec(
        "letta",
        "openmem._async.providers.letta:AsyncLettaProvider",
        "openmem._sync.providers.letta:LettaProvider",
        requirement("letta"),
        options=frozenset({"embedding", "client", "workers"}),
        takes_retry=True,
        check="openmem._io.vendors.letta.client:access_of",
    ),
}


def built_in_options(name: str) -> frozenset[str]:
    """Return the options that a built-in provider knows."""
    return BUILT_IN[name].options or frozenset()
