"""Any OMP server as a provider: each verb is one request, and the server does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any, ClassVar, Final, TypeVar

from pydantic import TypeAdapter

from openmem._async.embedders import AsyncEmbedder, resolve_embedder
from openmem._async.provider import AsyncProvider, compute_over
from openmem._config.registry import built_in_options
from openmem._config.settings import Settings, check_options
from openmem._io.concurrency.call import Call
from openmem._io.concurrency.primitives import async_compute, async_sleep, async_to_thread
from openmem._io.http.client import AsyncHttp
from openmem._io.plugins import load_async_provider
from openmem._model.feed import FeedQuery
from openmem._model.ids import Key, unknown_id
from openmem._model.requests import (
    AuditQuery,
    Change,
    Draft,
    Erasure,
    HistoryQuery,
    ListQuery,
    ScopesQuery,
    SearchQuery,
    TagsQuery,
    UsersQuery,
)
from openmem._model.results import HistoryPage
from openmem._model.retry import DEFAULT_RETRY
from openmem._model.scopes import ScopePattern
from openmem._protocol import requests as wire
from openmem._protocol.capability_checks import (
    Abilities,
    lacks_of_change,
    lacks_of_drafts,
    lacks_of_search,
    lacks_of_view,
)
from openmem._protocol.http_messages import Header, HttpReply, HttpRequest
from openmem._protocol.owners import ReplyCheck
from openmem._protocol.passthrough_options import check, given_capabilities, headers_of
from openmem._protocol.responses import (
    BLOCK,
    CHANGES,
    ENTRIES,
    PAGE,
    READ_AT_ONCE,
    RECEIPT,
    RECORD,
    RECORDS,
    REEMBEDDED,
    REPORT,
    read,
    read_capabilities,
    read_export,
    read_found,
    read_history,
    read_place,
    read_scopes,
    read_tags,
    read_users,
)
from openmem._rules.overview import merged_scopes
from openmem._rules.paging import page_of_history
from openmem._rules.understanding import BY_KEY
from openmem._rules.workload import is_large_change, take_long
from openmem.errors import (
    DeadlineExceededError,
    IngestionTimeoutError,
    InvalidRequestError,
    NotFoundError,
    ProviderError,
    ScopeDeniedError,
    UnauthorizedError,
    UnsupportedCapabilityError,
)
from openmem.types import (
    AuditEntry,
    Capabilities,
    ChangePage,
    ContextBlock,
    ErasureReceipt,
    Health,
    ImportConflict,
    ImportReport,
    MemoryPage,
    MemoryRecord,
    Overview,
    ReembedReport,
    ScopeInfo,
    SearchResult,
    TagInfo,
    TokenCounter,
    UserPage,
)

T = TypeVar("T")

_POLL: Final = 0.25


class AsyncPassthroughProvider(AsyncProvider):
    """Memories of an OMP server.

    Options:
        capabilities: What the server can do, for one that is not to be asked.
        transport: Replaces the network.
    """

    pages_history: ClassVar[bool] = True
    name: ClassVar[str] = "passthrough"
    options: ClassVar[frozenset[str]] = built_in_options("passthrough")
    takes_base_url: ClassVar[bool] = True
    takes_retry: ClassVar[bool] = True

    def __init__(self, settings: Settings, embedder: AsyncEmbedder | None) -> None:
        super().__init__(settings, embedder)
        check(settings)
        self._said: Capabilities | None = None
        self._learn(given_capabilities(settings))
        self._http = AsyncHttp(
            settings.base_url or "",
            headers=headers_of(settings),
            provider=self.name,
            deadline_header="X-OMP-Timeout",
            retry=settings.retry or DEFAULT_RETRY,
            transport=settings.options.get("transport"),
        )

    async def resolve(self, call: Call) -> AsyncProvider:
        """Return this provider if an OMP server answers, else the one that was named."""
        if self._said is None:
            self._learn(await self._probe(call))
        if self._said is not None:
            check_options(self.name, self.settings.options, self.options)
            return self
        if self.settings.provider == self.name:
            raise self._nobody()
        kind: type[AsyncProvider] = await async_to_thread(load_async_provider, self.settings.provider)
        if not kind.takes_base_url:
            raise self._nobody()
        check_options(self.settings.provider, self.settings.options, kind.options)
        embedder = resolve_embedder(self.settings.embedder) if kind.embeds else None
        named = kind(self.settings, embedder)
        try:
            chosen = await named.resolve(call)
        except BaseException:
            await named.aclose()
            raise
        await self._http.aclose()
        return chosen

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def capabilities(self, call: Call) -> Capabilities:
        """Ask the server what it can do."""
        if self.settings.options.get("capabilities") is None:
            said = await self._probe(call)
            if said is None:
                raise self._nobody()
            self._learn(said)
        return self._known.model_copy(deep=True)

    async def add(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> list[MemoryRecord]:
        """Store drafts in one request; sent again, it stores nothing twice if the server sees to that."""
        lacking = await self._about(drafts, lacks_of_drafts, self._able, drafts)
        self._need("add" if len(drafts) == 1 else "add_many", lacking)
        if len(drafts) > wire.MAX_BATCH:
            raise InvalidRequestError(f"items must have at most {wire.MAX_BATCH} entries, not {len(drafts)}")
        once = None
        if self._able.keeps_names:
            once = wire.once_name(call.nonce or call.request_id, call.seed)
        reply = await self._send(await self._about(drafts, wire.add, drafts, once), call)
        records = [await self._read(reply, RECORD)] if len(drafts) == 1 else await self._read(reply, RECORDS, "items")
        if len(records) != len(drafts):
            message = f"{self._http.endpoint.server} answered {len(records)} memories to {len(drafts)}"
            raise ProviderError(message, provider=self._shown)
        self._check.owners((draft.user_id for draft in drafts), records)
        if on_progress is not None:
            on_progress(len(records), len(drafts))
        return records

    async def get(self, id: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return one memory."""
        self._need("get")
        reply = await self._send(wire.get(id, user_id), call)
        return self._check.one(await self._read(reply, RECORD), id, user_id)

    async def update(self, id: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change one memory."""
        self._need("update", lacks_of_change(self._able, change))
        given = (id, user_id, change)
        request = await async_compute(wire.update, *given) if is_large_change(change) else wire.update(*given)
        reply = await self._send(request, call)
        return self._check.one(await self._read(reply, RECORD), id, user_id)

    async def delete(self, id: str, user_id: str | None, call: Call) -> None:
        """Erase one memory."""
        self._need("delete")
        await self._send(wire.delete(id, user_id), call)

    async def get_by_key(self, key: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return the memory of a user that has a key."""
        self._need("get", self._lacks_keys("get"))
        named = Key(key)
        reply = await self._send(wire.get(named, user_id), call)
        return self._check.one(await self._read(reply, RECORD), named, user_id)

    async def update_by_key(self, key: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change the memory of a user that has a key."""
        self._need("update", self._lacks_keys("update") or lacks_of_change(self._able, change))
        named = Key(key)
        given = (named, user_id, change)
        request = await async_compute(wire.update, *given) if is_large_change(change) else wire.update(*given)
        reply = await self._send(request, call)
        return self._check.one(await self._read(reply, RECORD), named, user_id)

    async def delete_by_key(self, key: str, user_id: str | None, call: Call) -> str | None:
        """Erase the memory of a user that has a key, and return its id, if the server tells it."""
        self._need("delete", self._lacks_keys("delete"))
        return read_place(await self._send(wire.delete(Key(key), user_id), call))

    async def delete_all(self, user_id: str, scope: ScopePattern | None, call: Call) -> ErasureReceipt:
        """Erase all memories of a user, or those of a part of the scopes."""
        self._need("delete_all")
        reply = await self._send(wire.delete_all(user_id, scope), call)
        return self._check.receipt(await self._read(reply, RECEIPT), user_id, scope)

    async def delete_matching(self, erasure: Erasure, call: Call) -> ErasureReceipt:
        """Erase those that a filter is true of."""
        self._need("delete_all")
        reply = await self._send(wire.delete_all(erasure.user_id, erasure.scope, erasure.where), call)
        return self._check.receipt(await self._read(reply, RECEIPT), erasure.user_id, erasure.scope, erasure.where)

    async def list(self, query: ListQuery, call: Call) -> MemoryPage:
        """Return a page of memories, newest first."""
        self._need("list", lacks_of_view(self._able, query.view))
        page = await self._read(await self._send(wire.list_(query), call), PAGE)
        self._check.seen(page.items, query.view, query.limit)
        self._check.cursor(page.next_cursor, query.cursor)
        return page

    async def scopes(self, query: ScopesQuery, call: Call) -> Overview[ScopeInfo]:
        """Return the scopes of a user, with counts; over a server that does not know them, everything is listed."""
        if "scopes" not in self._able.verbs:
            return await super().scopes(query, call)
        found = await self._take(read_scopes, await self._send(wire.scopes(query), call))
        self._check.scopes(found, query)
        return merged_scopes([found], 0) if query.depth == 0 else found

    async def tags(self, query: TagsQuery, call: Call) -> Overview[TagInfo]:
        """Return the tags of a user, with counts; over a server that does not know them, everything is listed."""
        if "tags" not in self._able.verbs:
            return await super().tags(query, call)
        return await self._take(read_tags, await self._send(wire.tags(query), call))

    async def users(self, query: UsersQuery, call: Call) -> UserPage:
        """Return a page of the server's users who have memories."""
        self._need("users")
        page = await self._take(read_users, await self._send(wire.users(query), call))
        self._check.users(page.items, query)
        self._check.cursor(page.next_cursor, query.cursor)
        return page

    async def search(self, query: SearchQuery, call: Call) -> Sequence[SearchResult]:
        """Return the best matches, best first."""
        self._need("search", lacks_of_search(self._able, query))
        found = await self._take(read_found, await self._send(wire.search(query), call))
        self._check.seen([result.memory for result in found], query.view, query.limit)
        return found

    async def context(
        self, query: SearchQuery, token_budget: int, token_counter: TokenCounter | None, call: Call
    ) -> ContextBlock:
        """Return the server's block, or make one here where the caller counts the tokens."""
        self._need("context", lacks_of_search(self._able, query))
        if token_counter is not None:
            return await super().context(query, token_budget, token_counter, call)
        return await self._read(await self._send(wire.context(query, token_budget), call), BLOCK)

    async def history_page(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of earlier versions and of what the memory supersedes, newest first."""
        self._need("history")
        page = await self._take(read_history, await self._send(wire.history(query), call))
        self._check.owners(repeat(query.user_id), page)
        if page.next_cursor is None and len(page) > query.limit:
            return await compute_over(page, page_of_history, page, query)  # an older server gives everything
        return page

    async def history_by_key(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of the history of the memory of a user that has a key."""
        self._need("history", self._lacks_keys("history"))
        return await self.history_page(query, call)

    async def audit(self, query: AuditQuery, call: Call) -> Sequence[AuditEntry]:
        """Return the newest audit entries."""
        self._need("audit")
        entries = await self._read(await self._send(wire.audit(query), call), ENTRIES, "entries")
        return self._check.entries(entries, query)

    async def changes(self, query: FeedQuery, call: Call) -> ChangePage:
        """Return the next changes."""
        self._need("changes")
        page = await self._read(await self._send(wire.changes(query), call), CHANGES)
        return self._check.changes(page, query)

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str, call: Call) -> None:
        """Return once the memories can be found."""
        if "wait_for_ingest" not in self._able.verbs:
            for id in ids:
                await self._wait_for(id, user_id, call)
        elif ids:
            await self._send(wire.wait(ids, user_id), call)

    async def export(
        self, user_id: str | None, cursor: str | None, limit: int, call: Call
    ) -> tuple[Sequence[MemoryRecord], str | None]:
        """Return the next records."""
        self._need("export")
        reply = await self._send(wire.export(user_id, cursor, limit), call)
        records, following = await self._take(read_export, reply)
        self._check.count(records, limit)
        self._check.owners(repeat(user_id), records)
        return records, self._check.cursor(following, cursor)

    async def import_(self, drafts: Sequence[Draft], conflict: ImportConflict, call: Call) -> ImportReport:
        """Store records of another store in one request."""
        self._need("import", await self._about(drafts, lacks_of_drafts, self._able, drafts))
        request = await self._about(drafts, wire.import_, drafts, conflict)
        return await self._read(await self._send(request, call), REPORT)

    async def reembed(self, on_progress: Callable[[int, int], object] | None, call: Call) -> ReembedReport:
        """Have the server move every memory to its own model."""
        if self._known.features.vector_search is False and "reembed" not in self._able.verbs:
            raise self.cannot("reembed", ", which has no vectors: give the server an embedder")
        self._need("reembed")
        report = await self._read(await self._send(wire.reembed(), call), REEMBEDDED)
        if on_progress is not None:
            on_progress(report.done, report.total)
        return report

    async def health(self, call: Call) -> Health:
        """Ask the server whether its backend answers."""
        said = self._known
        try:
            await self._send(wire.health(), call)
        except NotFoundError:
            # The first edition of the protocol has no such route.
            said = await self.capabilities(call)
        detail = {"omp_version": said.omp_version, "server": self._http.endpoint.server}
        return Health(ok=True, provider=said.provider, detail=detail)

    def cannot(self, what: str, why: str = "") -> UnsupportedCapabilityError:
        """Return the error for something the server cannot do, with the reason where it is known."""
        return UnsupportedCapabilityError(f"{what} is not supported by this provider{why}", provider=self._shown)

    async def _probe(self, call: Call) -> Capabilities | None:
        request = wire.capabilities()
        try:
            return read_capabilities(self._http.endpoint, await self._send(request, call))
        except (UnauthorizedError, ScopeDeniedError):
            if self.settings.provider != self.name:
                return None
            if not self.settings.remote_key:
                raise
        except (InvalidRequestError, NotFoundError):
            return None
        except DeadlineExceededError:
            raise
        except ProviderError as error:
            error.message = f"no OMP server at {self._http.endpoint.server}: {error.message}"
            raise
        # Only a server that the user called one gets to see the key before it proved to be one.
        reply = await self._send(replace(request, anonymous=False), call)
        return read_capabilities(self._http.endpoint, reply)

    async def _wait_for(self, id: str, user_id: str, call: Call) -> None:
        while (record := await self._own(id, user_id, call)).status in ("queued", "indexing"):
            call.deadline.check()
            await async_sleep(_POLL)
        if record.status == "failed":
            raise IngestionTimeoutError("a memory could not be taken in", provider=self._shown)

    async def _own(self, id: str, user_id: str, call: Call) -> MemoryRecord:
        """Return a memory of a user; a server that knows no owners answers with any user's."""
        self._need("get")
        record = await self._read(await self._send(wire.get(id, user_id), call), RECORD)
        if record.user_id != user_id:
            raise unknown_id(id, self._shown)
        return record

    async def _send(self, request: HttpRequest, call: Call) -> HttpReply:
        headers: dict[str, Header] = {**request.headers, "X-Request-Id": call.request_id}
        if call.app is not None and not request.anonymous:
            headers["X-OMP-App"] = wire.text_header(call.app)
        return await self._http.send(replace(request, headers=headers), deadline=call.deadline)

    async def _about(self, drafts: Sequence[Draft], function: Callable[..., T], *args: Any) -> T:
        """Return what a function of drafts returns that would keep others waiting if they are many or large."""
        return await async_compute(function, *args) if take_long(drafts) else function(*args)

    async def _take(self, function: Callable[..., T], reply: HttpReply, *args: Any) -> T:
        """Return what a function makes of a reply, which would keep others waiting if it is large."""
        if len(reply.body) > READ_AT_ONCE:
            return await async_compute(function, self._http.endpoint, reply, *args)
        return function(self._http.endpoint, reply, *args)

    async def _read(self, reply: HttpReply, kind: TypeAdapter[T], member: str | None = None) -> T:
        value: T = await self._take(read, reply, kind, member)
        return value

    def _learn(self, said: Capabilities | None) -> None:
        self._said = said
        if said is not None:
            self._able = Abilities.of(said)
            self.understands = frozenset(said.arguments)  # type: ignore[misc]  # each server has its own

    def _need(self, verb: str, lacking: str | None = None) -> None:
        if verb not in self._able.verbs:
            raise self.cannot(verb)
        if lacking is not None:
            raise self.cannot(lacking)

    def _lacks_keys(self, verb: str) -> str | None:
        return None if BY_KEY in self.understands else f"{verb}(key=)"

    @property
    def _check(self) -> ReplyCheck:
        return ReplyCheck(self._http.endpoint, self._shown)

    def _nobody(self) -> ProviderError:
        return ProviderError(f"no OMP server at {self._http.endpoint.server}", provider=self.name)

    @property
    def _known(self) -> Capabilities:
        assert self._said is not None, "resolve() comes first"
        return self._said

    @property
    def _shown(self) -> str:
        return self._said.provider if self._said else self.name
