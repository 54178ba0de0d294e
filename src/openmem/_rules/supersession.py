"""Decides which supersessions count where memories supersede one another in a circle. Pure.

Of the memories of a circle, the one that was written last wins: what supersedes it inside of the circle is void, the
rest counts. So a circle never hides all of its memories. Written last means: the latest `updated_at`, or `created_at`
of one that was never changed; of equal times, the greater id. It is told from the records alone, so every store, an
import and a client of a service come to the same answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

Node = TypeVar("Node", bound=Hashable)


class Link(NamedTuple):
    """A memory supersedes an older one; both by id."""

    new: str
    old: str


def circles(links: Iterable[tuple[Node, Node]]) -> list[set[Node]]:
    """Return the groups of two or more that reach one another by links, each way.

    It takes time in proportion to the number of links (Kosaraju's algorithm, without recursion).
    """
    forth: dict[Node, list[Node]] = {}
    back: dict[Node, list[Node]] = {}
    for new, old in links:
        forth.setdefault(new, []).append(old)
        forth.setdefault(old, [])
        back.setdefault(old, []).append(new)
    seen: set[Node] = set()
    groups = []
    for start in reversed(_finished(forth)):
        if start not in seen:
            group = _reached(start, back, seen)
            if len(group) > 1:
                groups.append(group)
    return groups


def circle_of(id_: str, links: Iterable[tuple[str, str]]) -> set[str]:
    """Return the memories that supersede a memory and are superseded by it, each by way of others; none: empty."""
    return next((group for group in circles(links) if id_ in group), set())


def void_links(links: Iterable[Link], written: Mapping[str, object]) -> set[Link]:
    """Return the links that do not count.

    A link is void where the older memory was written later and a circle through the link holds nothing that was
    written later still.

    Args:
        links: Who supersedes whom.
        written: When a memory was written, at least for all that are on a circle.
    """
    links = {link for link in links if link.new != link.old}
    numbers = {id_: number for number, group in enumerate(circles(links)) for id_ in group}
    inner = [link for link in links if link.new in numbers and numbers[link.new] == numbers.get(link.old)]
    if not inner:
        return set()
    order = sorted(numbers, key=lambda id_: (written[id_], id_))
    rank = {id_: number for number, id_ in enumerate(order)}
    closed = _closed_at([(rank[link.new], rank[link.old]) for link in inner], len(order))
    return {
        link for link, at in zip(inner, closed, strict=True) if rank[link.new] < rank[link.old] and at == rank[link.old]
    }


def _closed_at(links: Sequence[tuple[int, int]], count: int) -> list[int]:
    """Return for each link the lowest number up to which memories must be there for it to lie on a circle.

    Halving the range takes E log V steps; to add the memories one by one would take E times V.
    """
    result = [count] * len(links)
    root = list(range(count))

    def find(number: int) -> int:
        while root[number] != number:
            root[number] = root[root[number]]
            number = root[number]
        return number

    waiting: list[tuple[int, int, list[int], bool]] = [(0, count, list(range(len(links))), False)]
    while waiting:
        low, high, chosen, merge = waiting.pop()
        if merge:
            for index in chosen:
                root[find(links[index][0])] = find(links[index][1])
            continue
        if low == high or not chosen:
            for index in chosen:
                result[index] = low
            continue
        middle = (low + high) // 2
        ends = {index: (find(links[index][0]), find(links[index][1])) for index in chosen}
        present = [index for index in chosen if max(links[index]) <= middle]
        home = {end: n for n, group in enumerate(circles(ends[p] for p in present)) for end in group}
        inside = {p for p in present if ends[p][0] == ends[p][1] or home.get(ends[p][0], -1) == home.get(ends[p][1])}
        # Taken from the end: first the lower half, then what it joins is joined, then the upper half.
        waiting.append((middle + 1, high, [index for index in chosen if index not in inside], False))
        waiting.append((low, middle, sorted(inside), True))
        waiting.append((low, middle, sorted(inside), False))
    return result


def _finished(forth: Mapping[Node, Sequence[Node]]) -> list[Node]:
    seen: set[Node] = set()
    finished: list[Node] = []
    for start in forth:
        if start in seen:
            continue
        seen.add(start)
        path = [(start, iter(forth[start]))]
        while path:
            node, rest = path[-1]
            following = next((other for other in rest if other not in seen), None)
            if following is None:
                finished.append(node)
                path.pop()
            else:
                seen.add(following)
                path.append((following, iter(forth[following])))
    return finished


def _reached(start: Node, back: Mapping[Node, Sequence[Node]], seen: set[Node]) -> set[Node]:
    group, waiting = {start}, [start]
    seen.add(start)
    while waiting:
        for other in back.get(waiting.pop(), ()):
            if other not in seen:
                seen.add(other)
                group.add(other)
                waiting.append(other)
    return group
