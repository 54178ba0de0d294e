"""Steps of a search: what can be known before the query has a vector, then scores over all visible rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from openmem._model.candidates import Candidate
from openmem._model.requests import SearchQuery
from openmem._model.timestamps import micros, time_of
from openmem._model.unchecked import search_result
from openmem._retrieval.analysis import stem, terms_of, words_of
from openmem._retrieval.dates import date_match, dates_named
from openmem._retrieval.ranking import Parts, Postings, Weights, bm25, clean_query, cosine_of, frequent_terms, top
from openmem._retrieval.user_index import OPEN_START, Columns, Mask, UserCache, Vectors, parse_integers, unique_counts
from openmem._rules.paging import Truncated
from openmem._sql.sqlite.filtered import where_mask
from openmem._sql.sqlite.rows import select_contents, select_rids
from openmem._sql.sqlite.schema import index_token
from openmem._sql.sqlite.snapshot import UserState, load_columns, load_vectors, user_state
from openmem._sql.steps import Query, Row, Steps
from openmem._sql.writing import Model
from openmem.errors import InvalidRequestError
from openmem.types import SearchResult

Floats: TypeAlias = npt.NDArray[np.float32]
T = TypeVar("T")

MAX_QUERY_TERMS: Final = 32
WEIGHTS: Final = Weights()


class Projection(NamedTuple, Generic[T]):
    """The way memories that are found are read, and what is made of each, its score and the parts of that."""

    read: Callable[[Sequence[int]], Steps[dict[int, Any]]]
    make: Callable[[Any, float, dict[str, Any] | None], T]


def _candidate(row: Row, score: float, _: dict[str, Any] | None) -> Candidate:
    id_, content, valid_from, created_at = row
    return Candidate(id_, score, content, time_of(valid_from), time_of(created_at))


RESULTS: Final = Projection(select_rids, search_result)
CANDIDATES: Final = Projection(select_contents, _candidate)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The meaning of a query for one user's rows. `text` is the query to embed."""

    state: UserState
    columns: Columns
    visible: Mask
    postings: list[Postings]
    tags: list[str]
    text: str


def prepare(query: SearchQuery, now: int, cache: UserCache) -> Steps[Prepared | None]:
    """Look up the query's terms and tags; `None` for a user who never wrote."""
    state = yield from user_state(query.view.user_id)
    if state is None:
        return None
    columns = yield from load_columns(state, cache)
    visible = yield from _visible(state, columns, query, now, cache)
    postings = yield from _postings(state.user_no, columns, query)
    named = columns.tags_named(frozenset(stem(word) for word in words_of(query.text)))
    # A tag that only hidden memories carry must neither clean the query nor count for anything.
    tags = [tag for tag in named if visible[columns.tagged(tag)].any()]
    names = frozenset(word for tag in tags for word in columns.tag_words[tag])
    text = clean_query(query.text, names, frequent_terms(postings, visible))
    return Prepared(state, columns, visible, postings, tags, text)


def begin(query: SearchQuery, now: int, cache: UserCache, projection: Projection[T]) -> Steps[Prepared | list[T]]:
    """Return what a hybrid search needs to know before its query has a vector.

    Or the results, where no memory that it sees has a vector of any model: then the query needs none.
    """
    prepared = yield from prepare(query, now, cache)
    if prepared is None:
        return []
    columns = prepared.columns
    if (prepared.visible & (columns.column("model_no") > 0)).any():
        return prepared
    bare = np.zeros(len(columns), dtype=np.float32)
    return (yield from _fused(query, prepared, bare, bare > 0, projection))


def by_keyword(query: SearchQuery, now: int, cache: UserCache, projection: Projection[T]) -> Steps[list[T]]:
    """Find the memories that share a content word with the query, best first."""
    prepared = yield from prepare(query, now, cache)
    if prepared is None:
        return []
    keyword = _keyword(prepared)
    parts = _hints(prepared, query, {"keyword": keyword}, {"keyword": WEIGHTS.keyword})
    results = yield from _results(
        query, prepared.columns, parts, prepared.visible & (keyword > 0), "keyword", projection
    )
    return results


def by_vector(
    query: SearchQuery, now: int, cache: UserCache, vector: Floats, model: Model
) -> Steps[list[SearchResult]]:
    """Find the memories with the highest cosine, best first.

    Raises:
        InvalidRequestError: Some visible memory has no vector of this model, so the answer would be incomplete.
    """
    state = yield from user_state(query.view.user_id)
    if state is None:
        return []
    columns = yield from load_columns(state, cache)
    visible = yield from _visible(state, columns, query, now, cache)
    similarity, has_vector = yield from _similarity(state, columns, visible, cache, vector, model)
    missing = int((visible & ~has_vector).sum())
    if missing:
        raise InvalidRequestError(_not_indexed(model, missing, int(visible.sum())))
    parts = Parts({"vector": similarity}, {"vector": 1.0})
    return (yield from _results(query, columns, parts, visible, "vector", RESULTS))


def hybrid(
    query: SearchQuery,
    now: int,
    cache: UserCache,
    vector: Floats,
    model: Model,
    prepared: Prepared,
    projection: Projection[T],
) -> Steps[list[T]]:
    """Find the memories with the highest fused score, best first.

    Raises:
        InvalidRequestError: None of the visible memories has a vector of this model, but some have another's.
    """
    state = yield from user_state(query.view.user_id)
    if state is None:
        return []
    if state.version != prepared.state.version:
        prepared = (yield from prepare(query, now, cache)) or prepared
    columns, visible = prepared.columns, prepared.visible
    similarity, has_vector = yield from _similarity(state, columns, visible, cache, vector, model)
    if not (visible & has_vector).any() and (visible & (columns.column("model_no") > 0)).any():
        raise InvalidRequestError(_not_indexed(model, int(visible.sum()), int(visible.sum())))
    return (yield from _fused(query, prepared, similarity, has_vector, projection))


def _fused(
    query: SearchQuery, prepared: Prepared, similarity: Floats, has_vector: Mask, projection: Projection[T]
) -> Steps[list[T]]:
    keyword = _keyword(prepared)
    parts = _hints(
        prepared,
        query,
        {"vector": similarity, "keyword": keyword},
        {"vector": WEIGHTS.vector, "keyword": WEIGHTS.keyword},
    )
    candidates = prepared.visible & (has_vector | (keyword > 0))
    return (yield from _results(query, prepared.columns, parts, candidates, "hybrid", projection))


def _visible(state: UserState, columns: Columns, query: SearchQuery, now: int, cache: UserCache) -> Steps[Mask]:
    view = query.view
    visible = columns.visible(
        now=max(now, state.clock),
        as_of=micros(view.as_of),
        scope=view.scope,
        tags=view.tags,
        include_superseded=view.include_superseded,
        include_expired=view.include_expired,
        allowed=view.visible,
    )
    if view.where is not None:
        visible &= yield from where_mask(state, columns, cache, view.where)
    return visible


def _postings(user_no: int, columns: Columns, query: SearchQuery) -> Steps[list[Postings]]:
    found = []
    for term in list(dict.fromkeys(terms_of(query.text)))[:MAX_QUERY_TERMS]:
        # As one JSON text: a row per occurrence would cost more to fetch than all the rest of a search.
        rows = yield Query(
            "select json_group_array(doc) from word_postings where term = ?", (index_token(user_no, term),)
        )
        numbers = parse_integers(rows[0][0])
        if term in columns.waiting:
            numbers = np.append(numbers, np.array(columns.waiting[term], dtype=np.int64))
        rids, counts = unique_counts(numbers)
        positions, known = columns.locate(rids)
        found.append(Postings(term, positions, counts[known].astype(np.float32)))
    return found


def _keyword(prepared: Prepared) -> Floats:
    return bm25(prepared.postings, prepared.columns.column("terms"), prepared.visible)


def _hints(prepared: Prepared, query: SearchQuery, values: dict[str, Floats], weights: dict[str, float]) -> Parts:
    columns, visible = prepared.columns, prepared.visible
    if prepared.tags:
        named = np.zeros(len(columns), dtype=np.bool_)
        for tag in prepared.tags:
            named[columns.tagged(tag)] = True
        if not named[visible].all():
            values["tag"], weights["tag"] = named.astype(np.float32), WEIGHTS.tag
    dates = dates_named(query.text)
    if dates:
        start = columns.column("valid_from")
        times = np.where(start == OPEN_START, columns.column("created_at"), start)
        values["date"], weights["date"] = date_match(dates, times), WEIGHTS.date
    return Parts(values, weights)


def _similarity(
    state: UserState, columns: Columns, visible: Mask, cache: UserCache, vector: Floats, model: Model
) -> Steps[tuple[Floats, Mask]]:
    """Return the cosine of each row that is visible, and which rows have a vector."""
    similarity = np.zeros(len(columns), dtype=np.float32)
    has_vector = np.zeros(len(columns), dtype=np.bool_)
    rows = yield Query("select model_no from models where name = ? and dim = ?", model)
    if not rows:
        return similarity, has_vector
    vectors: Vectors = yield from load_vectors(state, rows[0][0], model.dim, cache)
    if len(vectors.rids) == len(columns):
        return cosine_of(vectors.matrix, vector, visible), np.ones(len(columns), dtype=np.bool_)
    positions, known = columns.locate(vectors.rids)
    shown = np.zeros(len(known), dtype=np.bool_)
    shown[known] = visible[positions]
    similarity[positions], has_vector[positions] = cosine_of(vectors.matrix, vector, shown)[known], True
    return similarity, has_vector


def _results(
    query: SearchQuery, columns: Columns, parts: Parts, candidates: Mask, mode: str, projection: Projection[T]
) -> Steps[list[T]]:
    scores = parts.total()
    rids = columns.column("rid")
    positions = top(scores, candidates, rids, query.offset + query.limit, query.min_score)[query.offset :]
    wanted = rids[positions].tolist()
    read = yield from projection.read(wanted)
    results: list[T] = []
    for position, rid in zip(positions.tolist(), wanted, strict=True):
        if rid not in read:
            return Truncated(results)
        explain: dict[str, Any] | None = None
        if query.explain:
            explain = {"mode": mode, "parts": parts.explain(position)}
        results.append(projection.make(read[rid], min(1.0, float(scores[position])), explain))
    return results


def _not_indexed(model: Model, missing: int, total: int) -> str:
    return (
        f"{missing} of the {total} memories asked have no vector of the model {model.name!r} ({model.dim} dimensions): "
        "move the store to it with reembed(), search with the embedder it was filled with, or use mode='keyword'"
    )
