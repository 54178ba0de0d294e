"""Near copies are folded; anything that says something else is kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._context import near_duplicates as copies
from openmem._context.near_duplicates import Deduplicator, fold_copies
from openmem._context.packing import build_context
from openmem._model.candidates import Candidate
from openmem.types import UTC

DAY = datetime(2026, 1, 1, tzinfo=UTC)
LONG = (
    "when planning a trip with friends and family we always book the train early because it is cheaper and "
    "more relaxed than flying and the view from the window is worth the longer journey in every season"
)
# Texts that are copies of some others here, but not of all, and some that only share their words.
FAMILY = [
    LONG,
    LONG.upper(),
    f"The {LONG}",
    f"{LONG} too",
    f"the {LONG} too, of course",
    f"{LONG} 3",
    f"{LONG} on monday",
    LONG.replace("early because", "because early"),
    f"{LONG}. {LONG}",
    "likes tea",
    "Likes  tea!",
    "tea likes",
    "likes tea ’til noon",
    "likes tea 'TIL noon",
    "İ likes Straße",
    "i\u0307 likes STRASSE",
    "\u24b6",
    "\u24d0",
    "\u0345",
    "\u03b9",
    "",
    " ",
    "x " * 3000,
    f"{'x ' * 3000}a",
    "straße" * 700,
    "strasse" * 700,
]


def found(*contents: str) -> list[Candidate]:
    return [
        Candidate(f"m{i}", 0.9 - i / 10, content, None, DAY + timedelta(days=i)) for i, content in enumerate(contents)
    ]


def ids(candidates: list[Candidate]) -> list[str]:
    return [candidate.id for candidate in candidates]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("User likes tea", "User likes tea"),
        ("User likes tea", "user likes TEA!"),
        (f"The {LONG}", LONG),
        (LONG, f"{LONG} too"),
        ("Meeting on 2026-01-31 at 10:30", "meeting on 2026-01-31 at 10:30."),
    ],
)
def test_copies_leave_the_newest_with_its_own_score(one: str, two: str) -> None:
    kept = fold_copies(found(one, two))
    assert [(result.id, result.score) for result in kept] == [("m1", 0.8)]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("User likes tea", "User likes coffee"),
        (f"{LONG} 3", f"{LONG} 4"),
        (f"{LONG} at 10 to 5", f"{LONG} at 5 to 10"),
        (f"{LONG} 3.5", f"{LONG} 5.3"),
        (f"{LONG} -5", f"{LONG} 5"),
        (f"{LONG} on 2026-01-02", f"{LONG} on 2026-02-01"),
        (f"Anna says {LONG}", f"Bob says {LONG}"),
        (f"{LONG} and do not fly", f"{LONG} and do fly"),
        (f"{LONG} and she doesn't fly", f"{LONG} and she does fly"),
        (f"{LONG} on monday", f"{LONG} on friday"),
        ("prefers tabs over spaces", "prefers spaces over tabs"),
        ("Writes C++", "Writes C#"),
        ("costs $5", "costs €5"),
        ("🎉", "😢"),
        ("!!!", "???"),
        (f"{'x ' * 3000}a", f"{'x ' * 3000}b"),
    ],
)
def test_texts_that_differ_in_what_they_say_are_both_kept(one: str, two: str) -> None:
    assert ids(fold_copies(found(one, two))) == ["m0", "m1"]


def test_newest_is_judged_by_the_time_of_validity() -> None:
    one, two = found("User likes tea", "User likes tea")
    one = one._replace(valid_from=DAY + timedelta(days=100))
    assert ids(fold_copies([one, two])) == ["m0"]


def test_scores_fall_after_folding() -> None:
    results = found("User likes tea", "User has a cat", "User likes tea")
    assert [(result.id, result.score) for result in fold_copies(results)] == [("m1", 0.8), ("m2", 0.7)]


def test_folded_copy_is_not_paid_for_in_the_block() -> None:
    block = build_context(found("User likes tea", "User has a cat", "User likes tea"), token_budget=500)
    assert [citation.memory_id for citation in block.citations] == ["m1", "m2"]
    assert block.text.count("tea") == 1


@given(st.lists(st.sampled_from(["a b c", "a  b c!", "c b a", "d", "d 1", "d 2", "", "?"]), max_size=12))
def test_every_result_is_kept_or_has_a_newer_copy(contents: list[str]) -> None:
    results = found(*contents)
    kept = fold_copies(results)
    assert ids(fold_copies(kept)) == ids(kept)
    assert [result.score for result in kept] == sorted((result.score for result in kept), reverse=True)
    newest = {content.rstrip("!").replace("  ", " "): f"m{i}" for i, content in enumerate(contents)}
    assert set(ids(kept)) == set(newest.values())


def overlap(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= copies.MIN_JACCARD * len(one | other)


def alike(first: str, second: str) -> bool:
    """Return what the definition says of two texts: with sets of words, and not with bits of their numbers."""
    one, other = copies._fingerprint(first), copies._fingerprint(second)
    if one.exact != other.exact or not overlap(one.terms, other.terms):
        return first == second
    common, different = one.terms & other.terms, one.terms ^ other.terms
    if not (different.isdisjoint(one.telling) and different.isdisjoint(other.telling)):
        return False
    return [term for term in one.order if term in common] == [term for term in other.order if term in common]


def folded_one_by_one(results: list[Candidate]) -> list[str]:
    """Return what the definition says: each result against every group that there is so far."""
    ranked = sorted(results, key=lambda result: -result.score)
    kept: list[Candidate] = []
    for result in ranked:
        twins = (n for n, one in enumerate(kept) if alike(result.content, one.content))
        twin = next(twins, None)
        if twin is None:
            kept.append(result)
        elif copies._age_key(result) > copies._age_key(kept[twin]):
            kept[twin] = result
    return ids([result for result in ranked if result in kept])


def hundred_near_copies(kind: str) -> list[Candidate]:
    """Return texts of 3.9 KB that are near copies, or look like ones until the last words of them are compared."""
    words = [f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}x" for n in range(760)]
    texts = []
    for number in range(100):
        random, own = Random(number), list(words)
        mark = f"{chr(97 + number % 10)}{chr(97 + number // 10)}"
        if kind == "one more word":
            own.append(f"more{mark}")
        elif kind == "another name":
            own.append(f"N{mark}")
        elif kind == "other words missing":
            own = [word for place, word in enumerate(own) if place % 25 or random.random() < 0.5]
        else:
            tail = own[700:]
            random.shuffle(tail)
            own[700:] = tail
        texts.append(" ".join(own))
    return [Candidate(f"m{n}", 0.9 - n / 1000, text, None, DAY + timedelta(days=n)) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("kind", "left"),
    [("one more word", 1), ("another name", 100), ("other words missing", None), ("another order", 100)],
)
def test_hundred_near_copies_of_long_texts_are_compared_once_each(
    kind: str, left: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = words = 0
    compare, without = copies._alike, copies._without

    def noting(one: copies._Mark, other: copies._Mark) -> bool:
        nonlocal compared
        compared += 1
        return compare(one, other)

    def noting_words(order: tuple[int, ...], different: int) -> tuple[int, ...]:
        nonlocal words
        words += len(order)
        return without(order, different)

    monkeypatch.setattr(copies, "_alike", noting)
    monkeypatch.setattr(copies, "_without", noting_words)
    candidates = hundred_near_copies(kind)
    block = build_context(candidates, token_budget=1_000_000)
    if left is not None:
        assert len(block.citations) == left
    assert compared <= 100 * 99 // 2
    assert words <= 100 * 99 * 760


MIXED = st.lists(
    st.tuples(st.sampled_from(FAMILY), st.integers(0, 3), st.integers(0, 3), st.sampled_from(["", " green", " Anna"])),
    max_size=12,
)


def mixed(drawn: list[tuple[str, int, int, str]]) -> list[Candidate]:
    results = found(*[content + end for content, _, _, end in drawn])
    return [
        result._replace(score=score / 4, created_at=DAY + timedelta(days=days))
        for result, (_, score, days, _) in zip(results, drawn, strict=True)
    ]


@given(MIXED)
def test_folding_around_some_gives_what_folding_all_gives(drawn: list[tuple[str, int, int, str]]) -> None:
    results = mixed(drawn)
    assert ids(fold_copies(results)) == folded_one_by_one(results)


@given(st.one_of(st.text(), st.text("aB1_' .-’\n"), st.text("aB' "), st.sampled_from(FAMILY)))
def test_words_are_those_that_are_compared(text: str) -> None:
    assert set(copies._words(text)) == copies._fingerprint(text).terms


@given(MIXED, st.randoms(use_true_random=False))
def test_it_does_not_matter_what_is_asked_about_first(drawn: list[tuple[str, int, int, str]], random: Random) -> None:
    deduplicator = Deduplicator(mixed(drawn))
    places = random.sample(range(len(drawn)), len(drawn))
    kept = {place for place in places if deduplicator.keeps(place)}
    assert [result.id for place, result in enumerate(deduplicator.ranked) if place in kept] == folded_one_by_one(
        deduplicator.ranked
    )


def test_text_that_comes_again_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    take_apart = copies._fingerprint

    def noting(text: str) -> object:
        taken.append(text)
        return take_apart(text)

    monkeypatch.setattr(copies, "_fingerprint", noting)
    assert len(fold_copies(found(*["Ann likes green tea"] * 20, *["Ann likes black tea"] * 20))) == 2
    assert sorted(taken) == ["Ann likes black tea", "Ann likes green tea"]


def test_result_without_relatives_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    deduplicator = Deduplicator(found("likes tea", "lives in Oslo", "owns a cat", "likes  tea"))
    taken_apart: list[str] = []
    fingerprint = copies._fingerprint

    def noting(text: str) -> object:
        taken_apart.append(text)
        return fingerprint(text)

    monkeypatch.setattr(copies, "_fingerprint", noting)
    assert [deduplicator.keeps(place) for place in range(4)] == [False, True, True, True]
    assert taken_apart == ["likes tea", "likes  tea"]


@pytest.mark.parametrize(("more", "left"), [("", 1), (" outside", 1), (" outside again", 2)])
def test_nine_of_ten_words_in_common_are_enough(more: str, left: int) -> None:
    nine = "she likes green tea very much after long walks"
    assert len(fold_copies(found(nine, nine + more))) == left


def test_apostrophe_may_be_straight_or_curved() -> None:
    assert len(fold_copies(found("Ann’s tea is é", "Ann's tea is é"))) == 1


def test_copy_is_known_once_its_group_was_looked_at() -> None:
    deduplicator = Deduplicator(found("likes tea", "lives in Oslo", "likes  tea"))
    ranks = {candidate.id: rank for rank, candidate in enumerate(deduplicator.ranked)}
    assert not any(map(deduplicator.is_known_copy, ranks.values()))
    assert not deduplicator.keeps(ranks["m0"])
    assert [deduplicator.is_known_copy(ranks[id_]) for id_ in ("m0", "m1", "m2")] == [True, False, False]
