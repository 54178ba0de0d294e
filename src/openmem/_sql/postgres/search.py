"""Statements of a search on Postgres: one pass over the user's visible rows, exact, then the best of them.

An exact scan of one user's rows finds everything that an index over all users would miss under filters. The `+ 0`
in the order keeps the planner from an approximate index where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from openmem._model.candidates import Candidate
from openmem._model.ids import routing_bucket
from openmem._model.requests import SearchQuery
from openmem._model.unchecked import search_result
from openmem._retrieval.analysis import STOP_WORDS, words_of
from openmem._retrieval.dates import NamedDate, date_match, dates_named
from openmem._retrieval.ranking import K1, B, Parts, Weights, best
from openmem._rules.paging import PAGE_BYTES, Truncated
from openmem._sql.postgres import audit
from openmem._sql.postgres.large import SMALL, cut, lean, whole
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import RECORD_NAMES, aware, columns, record_of_row
from openmem._sql.postgres.schema import vector_column
from openmem._sql.postgres.vectors import as_vector
from openmem._sql.postgres.view import Parameters, searched
from openmem._sql.steps import Query, Row, Steps
from openmem._sql.writing import Model, Stamp
from openmem.errors import InvalidRequestError
from openmem.types import SearchResult

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
T = TypeVar("T")
_Chosen: TypeAlias = tuple[Row, float, dict[str, Any] | None]
"""A row of `lean` columns, its score and the parts of that."""

MOST_CANDIDATES: Final = 100
MAX_TERMS: Final = 16
MAX_TAG_WORDS: Final = 4
WEIGHTS: Final = Weights()
_FIRST: Final = 4
"""The position of the columns of a memory in a row, behind its cosine, its words in common and what its tags say."""


class Projection(NamedTuple, Generic[T]):
    """The columns that are read of each memory that is found, and the result that is made of it.

    Attributes:
        names: The columns.
        make: Makes a result of a row that begins with these, a score and the parts of that.
        ends: The list ends with the first that is too much for a page. Without it, only that one is left out.
    """

    names: tuple[str, ...]
    make: Callable[[Row, float, dict[str, Any] | None], T]
    ends: bool

    def times(self, rows: Sequence[Row]) -> Ints:
        """Return since when each of them holds, in microseconds since 1970."""
        start, stored = (_FIRST + self.names.index(name) for name in ("valid_from", "created_at"))
        moments = [row[start] or row[stored] for row in rows]
        times = [(one if one.tzinfo is not None else aware(one)).timestamp() for one in moments]
        return (np.array(times, dtype=np.float64) * 1_000_000).astype(np.int64)


def _result(row: Row, score: float, why: dict[str, Any] | None) -> SearchResult:
    return search_result(record_of_row(row), score, why)


def _candidate(row: Row, score: float, why: dict[str, Any] | None) -> Candidate:
    return Candidate(row[0], score, row[1], aware(row[2]), aware(row[3]))


RESULTS: Final = Projection(RECORD_NAMES, _result, ends=True)
CANDIDATES: Final = Projection(("id", "content", "valid_from", "created_at"), _candidate, ends=False)


def by_vector(db: Names, query: SearchQuery, vector: Floats, model: Model, stamp: Stamp) -> Steps[list[SearchResult]]:
    """Find the memories with the highest cosine, best first.

    Raises:
        InvalidRequestError: Some visible memory has no vector of this model, so the answer would be incomplete.
    """
    given = start(db, query, stamp)
    conditions = " and ".join(searched(query.view, stamp.now, given))
    name, wanted = given.add(model.name), given.add(as_vector(vector))
    most, limit = str(SMALL), given.add(query.limit)
    if is_far(query):
        limit, most = f"{limit} offset {given.add(query.offset)}", given.add(_small_of(query.limit))
    text = _vector_text(db, conditions, model.dim, name, wanted, limit, most)
    rows = yield Query(text, given.values)
    yield from entered(db, query, stamp)
    return (yield from answer_of(db, query, model, rows, stamp))


@lru_cache(maxsize=256)
def _vector_text(db: Names, conditions: str, dim: int, name: str, vector: str, limit: str, most: str) -> str:
    # The last four are placeholders. To put such a text together takes longer than to look it up.
    # A vector of another length has no distance; in front of all, it shows that there is one.
    column = vector_column(dim)
    wanted = f"{vector}::{db.of_vector('halfvec' if column == 'embedding_half' else 'vector')}"
    same = f"{db.of_vector('vector_dims')}(m.{column}) = {dim:d}"
    distance = f"case when {same} then (m.{column} {db.distance} {wanted}) + 0 end"
    source = f"{db.memories} m where m.bucket = $1 and m.user_id = $2 and {conditions}"
    return f"""
        {audit.entry_first(db, 3)}
        select exists(select 1 from {source} and m.model is null) or exists(select 1 from {source} and m.model < {name})
          or exists(select 1 from {source} and m.model > {name}), {lean("found", most=most)}, 1 - found.distance
        from (select 1) as always left join lateral (
          select {columns("m")}, {distance} as distance from {source} and m.model = {name}
          order by distance nulls first, m.created_at desc, m.id desc limit {limit}
        ) as found on true
    """


def answer_of(
    db: Names, query: SearchQuery, model: Model, rows: Sequence[Row], stamp: Stamp
) -> Steps[list[SearchResult]]:
    """Return the results in rows that hold: memories of other models exist, `lean` columns of a record, its cosine.

    Raises:
        InvalidRequestError: Memories of other models exist, or vectors of another length.
    """
    if rows[0][0] or (rows[0][1] is not None and rows[0][-1] is None):
        raise InvalidRequestError(_not_indexed(model))
    chosen: list[_Chosen] = []
    for row in rows:
        if row[1] is None:
            break
        score = min(1.0, max(0.0, row[-1]))
        if query.min_score is not None and score < query.min_score:
            break
        why = _why("vector", {"vector": {"value": score, "weight": 1.0}}) if query.explain else None
        chosen.append((row[1:-1], score, why))
    return (yield from _made(db, query, stamp, chosen, RESULTS))


def is_far(query: SearchQuery) -> bool:
    """Return whether a page lies farther behind, or is larger, than one that nearly every search asks for."""
    return query.offset > 0 or query.limit > MOST_CANDIDATES


def _small_of(count: int) -> int:
    """Return how many bytes each of two texts of so many memories may have that all come at once."""
    return min(SMALL, PAGE_BYTES // 2 // count)


def _made(
    db: Names, query: SearchQuery, stamp: Stamp, chosen: Sequence[_Chosen], projection: Projection[T]
) -> Steps[list[T]]:
    """Make what was asked for of chosen rows of `lean` columns, up to the bytes of a page."""
    rows = [row for row, _, _ in chosen]
    if not any([row[-1] for row in rows]):  # noqa: C419 - as nearly always: no text is large
        return [projection.make(row, score, why) for row, score, why in chosen]
    count = cut(rows, projection.names, len(rows)) if projection.ends else len(rows)
    read = yield from whole(db, query.view, stamp, rows[:count], projection.names)
    pairs = zip(read, chosen, strict=False)
    made = [projection.make(row, score, why) for row, (_, score, why) in pairs if row is not None]
    return made if count == len(rows) else Truncated(made)


def hybrid(
    db: Names,
    query: SearchQuery,
    vector: Floats | None,
    model: Model | None,
    stamp: Stamp,
    projection: Projection[T],
    *,
    fused: bool,
) -> Steps[list[T]]:
    """Find the best memories by cosine and by words in common, fused by the same rules as everywhere.

    Without a vector, only memories that share a word are found. `fused` says whether cosines count: that they are all
    nothing is what they are where no memory has a vector, and then the query needs none either.

    Raises:
        InvalidRequestError: None of the visible memories has a vector of this model, but some have another's.
    """
    terms, dates = _terms(query.text), dates_named(query.text)
    given = start(db, query, stamp)
    # Ordered by what cosine and words give, so that only the hints of tags and dates can still move a row up: among the
    # first, which are as many for each page of one size. Those behind stay as they are: pages neither skip nor repeat.
    count = MOST_CANDIDATES if dates else min(MOST_CANDIDATES, max(40, 4 * query.limit))
    text = _parts_text(db, query, terms, vector, model, given, count, stamp, projection)
    rows = yield Query(text, given.values)
    if db.distributed:
        yield from entered(db, query, stamp)
    if vector is not None and model is not None and rows and rows[0][3]:
        raise InvalidRequestError(_not_indexed(model))
    found = [row for row in rows if row[_FIRST] is not None]
    parts = _parts(found, projection, dates, count, fused=fused)
    chosen = _chosen(query, found, projection, parts, count, "hybrid" if fused else "keyword")
    return (yield from _made(db, query, stamp, chosen, projection))


def _parts(
    rows: Sequence[Row], projection: Projection[Any], dates: list[NamedDate], count: int, *, fused: bool
) -> Parts:
    """Return the parts of the scores; hints are given to the first `count` rows only."""
    values = {"keyword": np.array([row[1] or 0.0 for row in rows], dtype=np.float32)}
    weights = {"keyword": WEIGHTS.keyword}
    if fused:
        values = {"vector": np.array([row[0] or 0.0 for row in rows], dtype=np.float32).clip(0.0, 1.0)} | values
        weights = {"vector": WEIGHTS.vector} | weights
    near = rows[:count]
    behind = np.zeros(len(rows) - len(near), dtype=np.float32)
    tagged = [row[2] for row in near]
    if any(tagged) and not all(tagged):
        values["tag"], weights["tag"] = np.append(np.array(tagged, dtype=np.float32), behind), WEIGHTS.tag
    if dates:
        dated = date_match(dates, projection.times(near))
        values["date"], weights["date"] = np.append(dated, behind), WEIGHTS.date
    return Parts(values, weights)


def start(db: Names, query: SearchQuery, stamp: Stamp) -> Parameters:
    """Return the first parameters of a search: bucket, user and those of its audit entry, if any, from `$3` on."""
    view = query.view
    scope = None if view.scope is None else str(view.scope)
    values = audit.entry_given(db, stamp, query.action, None, scope)
    return Parameters(routing_bucket(view.user_id), view.user_id, *values)


def entered(db: Names, query: SearchQuery, stamp: Stamp) -> Steps[None]:
    """Enter a search in the audit log, where the statement that searched did not."""
    scope = None if query.view.scope is None else str(query.view.scope)
    yield from audit.enter(db, query.view.user_id, query.action, None, scope, stamp)


def _parts_text(
    db: Names,
    query: SearchQuery,
    terms: Sequence[str],
    vector: Floats | None,
    model: Model | None,
    given: Parameters,
    count: int,
    stamp: Stamp,
    projection: Projection[Any],
) -> str:
    conditions = " and ".join(searched(query.view, stamp.now, given))
    marks = tuple(given.add(term) for term in terms)
    asked = None
    if vector is not None and model is not None:
        asked = model.dim, given.add(model.name), given.add(as_vector(vector))
    tags = given.add(_tag_names(query.text))
    wanted = query.offset + query.limit
    far = None
    if wanted > count:
        far = given.add(wanted), given.add(query.offset), given.add(_small_of(count + query.limit))
    return _fused_text(db, conditions, marks, asked, tags, count, projection.names, far)


@lru_cache(maxsize=256)
def _fused_text(
    db: Names,
    conditions: str,
    terms: tuple[str, ...],
    asked: tuple[int, str, str] | None,
    tags: str,
    count: int,
    names: tuple[str, ...],
    far: tuple[str, str, str] | None,
) -> str:
    # All but the conditions, the length of the vector and the count are placeholders. `far` are those of a page that
    # ends behind the first `count` rows: how many rows end with it, how many are before it, and the bytes of a text.
    # Each query text is parsed once: in a sub-select of its own, not for every row.
    hits = [f"m.words @@ (select plainto_tsquery('{db.config}', {term}))" for term in terms]
    cosine = "null::float8"
    if asked is not None:
        dim, name, vector = asked
        column = vector_column(dim)
        cast = db.of_vector("halfvec" if column == "embedding_half" else "vector")
        same = f"{db.of_vector('vector_dims')}(m.{column}) = {dim:d}"
        # A vector without direction has no cosine: NaN, which Postgres takes for the largest number of all.
        angle = f"coalesce(nullif(1 - (m.{column} {db.distance} {vector}::{cast}), 'NaN'), 0)"
        cosine = f"case when m.model = {name} and {same} then {angle} end"
    marks = "".join(f", {hit} as h{number}" for number, hit in enumerate(hits))
    fused = f"{WEIGHTS.vector} * greatest(coalesce(cosine, 0), 0) + {WEIGHTS.keyword} * coalesce(keyword, 0)"
    order = f"{fused} desc, id desc"
    place, chosen, last, limit, memory = "", "true", "", str(count), lean("m", names)
    if far is not None:
        limit, offset, most = far
        place, last = f", row_number() over (order by {order}) as place", "order by best.place"
        chosen, memory = f"best.place <= {count} or best.place > {offset}", lean("m", names, most)
    shown = [f"(count(*) filter (where h{number}))::float8 as n{number}" for number in range(len(hits))]
    return f"""
        with {audit.entry_before(db, 3)}
        seen as materialized (
          select m.id, {cosine} as cosine, m.model is not null as embedded, length(m.words) as size{marks}
          from {db.memories} m where m.bucket = $1 and m.user_id = $2 and {conditions}
        ),
        known as (
          select {", ".join(["count(*)::float8 as n", "greatest(avg(size), 1)::float8 as mean", *shown])},
            count(cosine) = 0 and bool_or(embedded) as unknown_model
          from seen
        ),
        idfs as (select {", ".join(["mean", "unknown_model", *_idfs(len(hits))])} from known),
        rare as (select {", ".join(["unknown_model", *_weights(len(hits))])} from idfs),
        scored as materialized (select seen.id, seen.cosine, {_bm25(len(hits))} as keyword from seen, rare),
        best as (
          select id, cosine, keyword{place} from scored where cosine is not null or keyword > 0
          order by {order} limit {limit}
        )
        select best.cosine, best.keyword,
          exists(select 1 from unnest(m.tags) as tag where lower(tag) = any({tags}::text[])), rare.unknown_model,
          {memory}
        from rare left join best on {chosen} left join {db.memories} m on m.bucket = $1 and m.id = best.id {last}
    """


def _bm25(count: int) -> str:
    # As `openmem._retrieval.ranking.bm25` has it, with every frequency taken as one.
    if not count:
        return "0::float8"
    hit = " + ".join(f"case when h{number} then w{number} else 0 end" for number in range(count))
    return f"(({hit}) / (flat + steep * size))"


def _idfs(count: int) -> list[str]:
    # A word that occurs nowhere counts for nothing.
    idf = "case when n{0} > 0 then ln(1 + (n - n{0} + 0.5) / (n{0} + 0.5)) else 0 end as i{0}"
    return [idf.format(number) for number in range(count)]


def _weights(count: int) -> list[str]:
    # All that can be computed once is, and not for every row.
    total = " + ".join(f"i{number}" for number in range(count))
    weights = [f"i{number} * {1 + K1} / nullif({total}, 0) as w{number}" for number in range(count)]
    return [f"{1 + K1 * (1 - B)}::float8 as flat", f"{K1 * B} / mean as steep", *weights]


def _terms(text: str) -> list[str]:
    words = list(dict.fromkeys(words_of(text)))
    return ([word for word in words if word not in STOP_WORDS] or words)[:MAX_TERMS]


def _tag_names(text: str) -> list[str]:
    words = text.lower().replace("?", " ").replace(",", " ").replace("'s", " ").split()
    spans = range(1, MAX_TAG_WORDS + 1)
    return list(dict.fromkeys(" ".join(words[i : i + n]) for n in spans for i in range(len(words) - n + 1)))[:200]


def _chosen(
    query: SearchQuery, rows: Sequence[Row], projection: Projection[Any], parts: Parts, count: int, mode: str
) -> list[_Chosen]:
    """Return the page: of the first `count` rows, which are ranked here, and of those behind, in their order.

    Where some are left out between the two, they are those that the page begins behind.
    """
    if not rows:
        return []
    totals: list[float] = parts.total().tolist()
    end = query.offset + query.limit

    def times(positions: list[int]) -> list[int]:
        found: list[int] = projection.times([rows[position] for position in positions]).tolist()
        return found

    chosen = best(totals[:count], times, min(end, count), query.min_score)
    if end > count and len(chosen) == min(len(rows), count):  # else what is behind scores too little, too
        behind = [place for place in range(count, len(rows)) if _scores(totals[place], query.min_score)]
        chosen += sorted(behind, key=totals.__getitem__, reverse=True)
    start = min(query.offset, count)
    chosen = chosen[start : start + query.limit]
    whys = [_why(mode, parts.explain(place)) for place in chosen] if query.explain else repeat(None)
    return [(rows[place][_FIRST:], min(totals[place], 1.0), why) for place, why in zip(chosen, whys, strict=False)]


def _scores(total: float, min_score: float | None) -> bool:
    return min_score is None or total >= float(np.float32(min_score))


def _why(mode: str, parts: dict[str, Any]) -> dict[str, Any]:
    return {"mode": mode, "parts": parts}


def _not_indexed(model: Model) -> str:
    return (
        f"some of the memories asked have no vector of the model {model.name!r} ({model.dim} dimensions): move the "
        "store to it with reembed(), search with the embedder it was filled with, or use mode='keyword'"
    )
