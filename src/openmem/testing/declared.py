"""The declarations of a provider, and how far they agree with its `capabilities()`.

Base, which every provider must have: add, get, delete, list, search, context, capabilities, health,
wait_for_ingest, isolation of users, validation, closing. Extended, which may be declared absent and must
then be refused: every attribute of `Declared`.
"""

from __future__ import annotations

from typing import ClassVar

from openmem.types import Capabilities, ScopeSupport

BASE_VERBS = frozenset({"add", "search", "get", "delete", "list", "context"})

VERBS_OF = {
    "updates": "update",
    "audit": "audit",
    "changes": "changes",
    "erasure": "delete_all",
    "batches": "add_many",
    "history": "history",
    "portability": "export",
    "users": "users",
}
"""Declarations that stand for a verb which `capabilities().all_verbs` must then list, or must not."""

ARGUMENTS_OF: dict[str, tuple[str, ...]] = {
    "by_key": ("by_key",),
    "conditional_add": ("if_absent", "if_version"),
    "metadata": ("metadata", "metadata_patch"),
    "unsearchable": ("searchable",),
    "ready_vectors": ("embedding",),
    "filters": ("where",),
    "orders": ("order", "descending"),
    "offsets": ("offset", "limit above 100"),
}
"""Declarations that stand for arguments that came later, which `capabilities()` then lists, or must not."""


class Declared:
    """The declarations of a provider, overridden as class attributes where it differs.

    Something declared absent is not skipped: the same rules run and must end in `UnsupportedCapabilityError`,
    because an argument that is silently ignored is worse than one that is refused.
    """

    vector_search: ClassVar[bool] = True
    """`search(mode="vector")`."""
    keyword_search: ClassVar[bool] = True
    """`search(mode="keyword")`."""
    temporal: ClassVar[bool] = True
    """`valid_from`, `valid_to`, `as_of`, `include_expired`."""
    supersession: ClassVar[bool] = True
    """`supersedes`, `include_superseded`."""
    scopes: ClassVar[ScopeSupport] = "native"
    """The way in which scopes are kept; `"none"` declares them absent."""
    updates: ClassVar[bool] = True
    """`update`."""
    keys: ClassVar[bool] = True
    """`add(key=)`."""
    metadata: ClassVar[bool] = True
    """`metadata=`, and `metadata_patch=` of `update`."""
    unsearchable: ClassVar[bool] = True
    """`searchable=False`."""
    filters: ClassVar[bool] = True
    """`where=` of `list`, `search`, `context`, `iterate` and `delete_all`."""
    ready_vectors: ClassVar[bool] = True
    """`embedding=`."""
    versions: ClassVar[bool] = True
    """`update(if_version=)`."""
    by_key: ClassVar[bool] = True
    """`get`, `update`, `delete` and `history` with `key=`."""
    conditional_add: ClassVar[bool] = True
    """`add(if_absent=)` and `add(if_version=)`."""
    history: ClassVar[bool] = True
    """`history`."""
    audit: ClassVar[bool] = True
    """`audit`."""
    changes: ClassVar[bool] = True
    """`changes`."""
    portability: ClassVar[bool] = True
    """`export` and `import_`."""
    erasure: ClassVar[bool] = True
    """`delete_all`."""
    orders: ClassVar[bool] = True
    """`list(order=, descending=)`."""
    offsets: ClassVar[bool] = True
    """`search(offset=)`, and a `limit` of a search above 100."""
    users: ClassVar[bool] = True
    """`users`: which users there are."""
    batches: ClassVar[bool] = True
    """`add_many`, all or nothing."""
    synchronous_ingestion: ClassVar[bool] = True
    """A memory can be found as soon as `add` returns."""
    client_embeddings: ClassVar[bool] = True
    """Vectors come from the embedder that the client was given; otherwise the backend makes its own."""
    many_users: ClassVar[int] = 1_000
    """The number of users that the large isolation rules put into one store."""

    @classmethod
    def declares(cls, *names: str) -> bool:
        """Return whether all of the named capabilities are declared present."""
        return all(getattr(cls, name) not in (False, "none") for name in names)

    @classmethod
    def disagreements(cls, said: Capabilities) -> list[str]:
        """Return one sentence for each way in which `capabilities()` contradicts the declarations."""
        features = said.features
        pairs = {
            "vector_search": (cls.vector_search, features.vector_search),
            "keyword_search": (cls.keyword_search, features.keyword_search),
            "temporal": (cls.temporal, features.temporal),
            "scopes": (cls.scopes, features.scopes),
            "supports_supersession": (cls.supersession, features.supports_supersession),
            "supports_audit": (cls.audit, features.supports_audit),
            "async_ingestion": (not cls.synchronous_ingestion, features.async_ingestion),
        }
        found = [
            f"features.{name} is {stated!r}, declared {declared!r}"
            for name, (declared, stated) in pairs.items()
            if stated is not None and stated != declared
        ]
        found += cls._disagreements_about_verbs(frozenset(said.all_verbs))
        return found + cls._disagreements_about_arguments(frozenset(said.arguments))

    @classmethod
    def _disagreements_about_arguments(cls, listed: frozenset[str]) -> list[str]:
        wanted = {argument for name, taken in ARGUMENTS_OF.items() if cls.declares(name) for argument in taken}
        unwanted = {argument for taken in ARGUMENTS_OF.values() for argument in taken} - wanted
        missing = [f"arguments lacks {argument!r}" for argument in sorted(wanted - listed)]
        return missing + [f"arguments lists {argument!r}, declared absent" for argument in sorted(listed & unwanted)]

    @classmethod
    def _disagreements_about_verbs(cls, verbs: frozenset[str]) -> list[str]:
        wanted = BASE_VERBS | {verb for name, verb in VERBS_OF.items() if cls.declares(name)}
        unwanted = {verb for name, verb in VERBS_OF.items() if not cls.declares(name)}
        missing = [f"verbs lacks {verb!r}" for verb in sorted(wanted - verbs)]
        return missing + [f"verbs lists {verb!r}, declared absent" for verb in sorted(verbs & unwanted)]
