"""Circles of supersessions: the one that was written last wins, and never is everything hidden."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._rules.supersession import Link, circles, void_links
from tests.doubling import set_garbage_aside

NAMES = "abcdefgh"
links_of = st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=24)
times = st.lists(st.integers(0, 5), min_size=len(NAMES), max_size=len(NAMES)).map(
    lambda moments: dict(zip(NAMES, moments, strict=True))
)


def reaches(links: set[Link], start: str, among: set[str]) -> set[str]:
    found, waiting = set(), [start]
    while waiting:
        at = waiting.pop()
        for link in links:
            if link.new == at and link.old in among and link.old not in found:
                found.add(link.old)
                waiting.append(link.old)
    return found


def by_definition(links: set[Link], written: dict[str, int]) -> set[Link]:
    """Take the memories one by one as they were written: each wins over the circles that it closes."""
    void: set[Link] = set()
    order = sorted(NAMES, key=lambda name: (written[name], name))
    for number, winner in enumerate(order):
        among = set(order[: number + 1])
        circle = {name for name in reaches(links, winner, among) if winner in reaches(links, name, among)}
        void |= {link for link in links if link.old == winner and link.new in circle and link.new != winner}
    return void


@given(links_of, times)
def test_void_links_are_those_of_the_definition(pairs: set[tuple[str, str]], written: dict[str, int]) -> None:
    links = {Link(*pair) for pair in pairs}
    assert void_links(links, written) == by_definition(links, written)


@given(links_of, times)
def test_links_that_count_form_no_circle_so_one_memory_of_each_is_shown(
    pairs: set[tuple[str, str]], written: dict[str, int]
) -> None:
    links = {Link(*pair) for pair in pairs if pair[0] != pair[1]}
    counting = links - void_links(links, written)
    assert circles(counting) == []
    for circle in circles(links):
        outside = {link.old for link in counting if link.new not in circle}
        inside = {link.old for link in counting if link.new in circle}
        assert circle - inside, "everything hidden"
        last = max(circle, key=lambda name: (written[name], name))
        assert last in outside or last not in inside


@given(links_of, times)
def test_without_a_circle_every_link_counts(pairs: set[tuple[str, str]], written: dict[str, int]) -> None:
    links = {Link(*pair) for pair in pairs if pair[0] < pair[1]}
    assert void_links(links, written) == set()


@pytest.mark.parametrize(
    ("links", "written", "void"),
    [
        (["ba", "ab"], {"a": 2, "b": 1}, {"ba"}),
        (["ba", "ab"], {"a": 1, "b": 1}, {"ab"}),
        (["ab", "bc", "ca"], {"a": 4, "b": 5, "c": 6}, {"bc"}),
        (["aa"], {"a": 1}, set()),
        (["ab", "ba", "cd", "dc"], {"a": 1, "b": 2, "c": 4, "d": 3}, {"ab", "dc"}),
    ],
)
def test_last_written_memory_of_a_circle_is_not_superseded_by_it(
    links: list[str], written: dict[str, int], void: set[str]
) -> None:
    assert void_links([Link(*link) for link in links], written) == {Link(*link) for link in void}


def work(size: int) -> float:
    """Return the processor time for a path in both directions, in which every memory closes one more circle."""
    links = [Link(f"{i:06d}", f"{i + 1:06d}") for i in range(size)] + [
        Link(f"{i + 1:06d}", f"{i:06d}") for i in range(size)
    ]
    start = time.process_time()
    void_links(links, {f"{i:06d}": i for i in range(size + 1)})
    return time.process_time() - start


def test_many_nested_circles_take_little_more_than_linear_time() -> None:
    set_garbage_aside()
    small = min(work(1_000) for _ in range(3))
    assert min(work(8_000) for _ in range(3)) < 8 * 3 * small
