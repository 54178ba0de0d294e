"""Every pure function over a text of a caller takes time that grows with the text, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from openmem._context import near_duplicates as copies
from openmem._context.packing import build_context
from openmem._context.quoting import quote
from openmem._context.tokens import estimate
from openmem._model.candidates import Candidate
from openmem._model.checks import check_text, check_time
from openmem._model.cursors import decode_cursor
from openmem._model.ids import routing_bucket
from openmem._model.scopes import parse_grant, parse_pattern
from openmem._retrieval.analysis import terms_of
from openmem._retrieval.dates import dates_named
from openmem._retrieval.ranking import clean_query
from openmem._rules.drafting import check_extensions
from openmem._text.invisible import without_invisible
from openmem._text.normalization import normalized
from openmem._text.skeleton import places, skeleton
from openmem.cli.output import one_line, safe_json
from tests.doubling import UNITS, assert_linear, of_length

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NO_WORDS: frozenset[str] = frozenset()
LIMIT = 40_000  # characters: a square shows well before the limit of 100,000


def block_of(text: str) -> object:
    return build_context([Candidate("m", 0.5, text, None, NOW)], token_budget=500)


FUNCTIONS: dict[str, Callable[[str], object]] = {
    "words and terms": terms_of,
    "normal form": lambda text: normalized("NFKC", text),
    "invisible": without_invisible,
    "skeleton": lambda text: (skeleton(text), places(text)),
    "quoted": quote,
    "estimated": estimate,
    "packed": block_of,
    "words compared": copies._words,
    "fingerprint": lambda text: copies._fingerprint(text[: copies.MAX_COMPARED]),
    "dates": dates_named,
    "query": lambda text: clean_query(text[: LIMIT // 2], NO_WORDS, NO_WORDS),
    "checked": lambda text: check_text(text, "text", 10**6, control=False),
    "time": lambda text: check_time(text, "valid_from"),
    "pattern": lambda text: parse_pattern(text[:512]),
    "grant": lambda text: parse_grant(f"read:{text}"),
    "cursor": lambda text: decode_cursor(text, "list", (str,), ()),
    "extension": lambda text: check_extensions({"x-a": text, f"x-{text[:200]}": [text]}),
    "bucket": routing_bucket,
    "shown": lambda text: (one_line(text), safe_json(f'"{text}"')),
}


@pytest.mark.parametrize("start", ["é", "a"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_time_grows_with_the_text(name: str, start: str) -> None:
    function = FUNCTIONS[name]
    for unit in UNITS:

        def prepared(length: int, unit: str = unit) -> Callable[[], object]:
            text = of_length(unit, length, start=start)
            return lambda: function(text)

        assert_linear(prepared, LIMIT)


def counted(work: Callable[[], object]) -> float:
    """Return the steps that work says it took, instead of seconds: they are the same on a busy machine."""
    steps = work()
    assert isinstance(steps, int)
    return float(steps)


def test_guard_sees_a_square() -> None:
    with pytest.raises(AssertionError, match=r"took .* s of processor"):
        assert_linear(lambda length: lambda: sum(1 for _ in range(length) for _ in range(length)), 400, counted)


def test_guard_lets_pass_what_grows_with_the_text() -> None:
    assert_linear(lambda length: lambda: sum(1 for _ in range(length)), 400, counted)


def test_guard_counts_the_time_of_the_processor() -> None:
    def work(length: int) -> Callable[[], object]:
        return lambda: sum(range(5_000_000 if length == LIMIT else 0))  # a growth that no load hides

    with pytest.raises(AssertionError, match=r"took .* s of processor"):
        assert_linear(work, LIMIT)
