"""The verbs that find memories."""

from __future__ import annotations

from openmem._async.client import AsyncClient
from openmem._async.provider import compute_over
from openmem._async.verbs import verb
from openmem._model.arguments import Filter, Texts, Time
from openmem._model.checks import check_callable
from openmem._model.results import SearchResults
from openmem._rules.paging import plain_results_of, results_of
from openmem._rules.validation import (
    check_token_budget,
    make_search_query,
)
from openmem.types import (
    ContextBlock,
    ReadyVector,
    SearchMode,
    SearchPurpose,
    TokenCounter,
)

CONTEXT_CANDIDATES = 100


class AsyncSearching(AsyncClient):
    """`search` and `context`."""

    @verb
    async def search(
        self,
        query: str,
        user_id: str,
        *,
        scope: str | None = None,
        limit: int = 10,
        offset: int = 0,
        min_score: float | None = None,
        tags: Texts | None = None,
        mode: SearchMode = "hybrid",
        as_of: Time | None = None,
        include_superseded: bool = False,
        include_expired: bool = False,
        explain: bool = False,
        purpose: SearchPurpose = "search",
        where: Filter | None = None,
        embedding: ReadyVector | None = None,
        timeout: float | None = None,
    ) -> SearchResults:
        """Return the memories that fit a query best, best first, with scores in [0, 1].

        Args:
            query: What is looked for, at most 10,000 characters.
            user_id: Whose memories.
            scope: A scope, or a scope followed by `/*`.
            limit: How many at most, 1 to 1,000.
            offset: How many of the best to leave off, 0 to 10,000: where the page before, of the same size, ended.
            min_score: Leave out what scores lower.
            tags: Tags that a memory must have, all of them.
            mode: `vector` scores by cosine, `keyword` by words in common, `hybrid` by both.
            as_of: Judge validity and supersession at this time instead of now.
            include_superseded: Show memories that others replace.
            include_expired: Show memories outside their time of validity.
            explain: Fill in `explain` with the parts of each score.
            purpose: Which verb the audit log shows: `search`, or `context` for who makes a prompt of the results.
            where: A filter on the metadata, such as `{"lang": "py", "pages": {"$gt": 9}}`.
            embedding: A vector of the query that was made already, `{"model": …, "vector": […]}`: no embedder is asked.
            timeout: Seconds this call may take.

        Raises:
            InvalidRequestError: The memories were embedded with another model than this instance uses.
            UnsupportedCapabilityError: `mode="vector"` without an embedder.
        """
        call = self._call(timeout)
        request = make_search_query(
            query,
            user_id,
            scope=scope,
            limit=limit,
            offset=offset,
            min_score=min_score,
            tags=tags,
            mode=mode,
            as_of=as_of,
            include_superseded=include_superseded,
            include_expired=include_expired,
            explain=explain,
            action=purpose,
            where=where,
            embedding=embedding,
        )
        found = await self._use(call, lambda provider: provider.search(request, call), request)
        plain = plain_results_of(found)
        if plain is not None:
            return plain
        return await compute_over([result.memory for result in found], results_of, found)

    @verb
    async def context(
        self,
        query: str,
        user_id: str,
        *,
        scope: str | None = None,
        token_budget: int = 500,
        tags: Texts | None = None,
        as_of: Time | None = None,
        token_counter: TokenCounter | None = None,
        where: Filter | None = None,
        timeout: float | None = None,
    ) -> ContextBlock:
        """Return a block of text for a prompt: the best memories as numbered lines, within a budget of tokens.

        Args:
            query: What the prompt is about.
            user_id: Whose memories.
            scope: A scope, or a scope followed by `/*`.
            token_budget: Tokens that the whole text may have, never exceeded.
            tags: Tags that a memory must have, all of them.
            as_of: Judge validity and supersession at this time instead of now.
            token_counter: Counts the tokens of a text; the default is an estimate that errs upwards.
            where: A filter on the metadata, such as `{"lang": "py", "pages": {"$gt": 9}}`.
            timeout: Seconds this call may take.
        """
        call = self._call(timeout)
        check_callable(token_counter, "token_counter")
        budget = check_token_budget(token_budget)
        request = make_search_query(
            query,
            user_id,
            scope=scope,
            limit=CONTEXT_CANDIDATES,
            tags=tags,
            as_of=as_of,
            action="context",
            where=where,
        )
        return await self._use(call, lambda provider: provider.context(request, budget, token_counter, call), request)
