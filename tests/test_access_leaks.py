"""A state machine that looks for one leak: whatever is hidden from a caller must not change a single answer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from openmem import Memory, NotFoundError
from openmem._config.registry import BUILT_IN
from openmem.providers import ProviderName
from openmem.testing import HashEmbedder
from tests._sync.outside_provider import SPEC
from tests.access_worlds import (
    Caller,
    audited,
    changes,
    counted,
    make_access,
    pages,
    said,
    seed,
)

SCOPES = [None, "health", "health/notes", "healthy", "coding/python", "coding/rust", "work/a/b"]
PATTERNS = [None, "*", "health/*", "health", "coding/*", "coding/rust", "work/*"]
WORDS = ["tea", "coffee", "rust", "python", "doctor", "ann", "likes", "pain", "sugar"]
TAGS = ["tea", "doctor", "rust", "secret"]
GRANTS = [
    # whose memories, what may be done with them
    (0, "read:health/* write:health/* delete:health/*"),
    (0, "read:coding/* read:work/* write:coding/rust"),
    (None, "read:health/notes delete:coding/*"),
    (1, "write:work/* delete:work/*"),
    (1, "read:* write:*"),
    (None, "admin:coding/* read:healthy"),
]
USER = st.sampled_from([0, 1])
SCOPE = st.sampled_from(SCOPES)
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
TAGGED = st.lists(st.sampled_from(TAGS), max_size=2, unique=True)
PLACE = st.integers(0, 10_000)
OLD = st.lists(PLACE, max_size=1)
KEY = st.sampled_from([None, "k"])
WHO = st.integers(0, len(GRANTS) - 1)
MEMORIES = st.lists(st.tuples(USER, SCOPE, TEXT, TAGGED), min_size=8, max_size=25)
Verb = Callable[[Memory], Any]


class Leaks(RuleBasedStateMachine):
    """Does everything twice: in the store that holds all, and in the caller's own, where the rest never was."""

    numbers: ClassVar[itertools.count[int]] = itertools.count()

    def __init__(self, whole: Memory, shadows: list[Memory]) -> None:
        super().__init__()
        number = next(self.numbers)
        self.whole = whole
        self.users = [f"ann-{number}", f"bob-{number}"]
        self.callers = [
            Caller(make_access(None if user is None else self.users[user], grants), shadow)
            for (user, grants), shadow in zip(GRANTS, shadows, strict=True)
        ]
        self.known: dict[str, tuple[str, str | None]] = {}  # id -> user, scope
        self.steps = itertools.count(number * 1_000)

    @initialize(memories=MEMORIES)
    def begin(self, memories: list[tuple[int, str | None, str, list[str]]]) -> None:
        """Begin with enough to hide something."""
        for user, scope, text, tags in memories:
            self.add(user, scope, text, tags, None, [])

    @rule(
        user=USER,
        scope=SCOPE,
        text=TEXT,
        tags=TAGGED,
        key=st.sampled_from([None, "k"]),
        old=st.lists(PLACE, max_size=1),
    )
    def add(self, user: int, scope: str | None, text: str, tags: list[str], key: str | None, old: list[int]) -> None:
        """A caller who may do everything adds a memory; it replaces memories of the same scope only."""
        owner, step = self.users[user], seed(next(self.steps))
        ids = [id for id in self.picked(old) if self.known[id] == (owner, scope)]
        given: dict[str, Any] = {"content": text, "scope": scope, "tags": tags, "supersedes": ids or None}
        given["key"] = f"{key} {scope}" if key and not ids else None  # no memory can supersede itself
        record = self.whole.for_caller(seed=step).add(user_id=owner, **given)
        for caller in self.callers:
            if caller.touches(owner, scope):
                caller.shadow.for_caller(seed=step).add(user_id=owner, **given)
        self.known[record.id] = (owner, scope)

    @rule(place=PLACE, text=TEXT, tags=TAGGED)
    def change(self, place: int, text: str, tags: list[str]) -> None:
        """A caller who may do everything changes a memory."""
        for id in self.picked([place]):
            self.everywhere(id, partial(_update, id=id, content=text, tags=tags))

    @rule(place=PLACE)
    def erase(self, place: int) -> None:
        """A caller who may do everything erases a memory."""
        for id in self.picked([place]):
            self.everywhere(id, partial(_delete, id=id))
            del self.known[id]

    @rule(who=WHO, user=USER, scope=st.sampled_from(PATTERNS), limit=st.integers(1, 4), all=st.booleans())
    def lists(self, who: int, user: int, scope: str | None, limit: int, all: bool) -> None:
        """A caller lists, page by page."""
        owner = self.users[user]
        self.compare(who, lambda memory: pages(memory, owner, scope=scope, limit=limit, include_superseded=all))

    @rule(who=WHO, user=USER, order=st.sampled_from(["created", "updated", "valid_from"]), down=st.booleans())
    def lists_in_order(self, who: int, user: int, order: str, down: bool) -> None:
        """A caller lists in another order, page by page."""
        owner = self.users[user]
        self.compare(who, lambda memory: pages(memory, owner, limit=2, order=order, descending=down))

    @rule(who=WHO, user=USER, scope=st.sampled_from(PATTERNS), depth=st.sampled_from([None, 2]))
    def counts(self, who: int, user: int, scope: str | None, depth: int | None) -> None:
        """A caller asks what there is."""
        owner = self.users[user]
        self.compare(who, lambda memory: counted(memory.scopes(owner, prefix=scope, depth=depth)))
        self.compare(who, lambda memory: counted(memory.tags(owner, scope=scope)))
        self.compare(who, lambda memory: counted(memory.users(prefix=owner)))

    @rule(
        who=WHO,
        user=USER,
        scope=st.sampled_from(PATTERNS),
        text=TEXT,
        mode=st.sampled_from(["hybrid", "vector", "keyword"]),
        tags=st.sampled_from([None, None, ["tea"]]),
        limit=st.sampled_from([1, 3, 50]),
        offset=st.sampled_from([0, 0, 2]),
    )
    def searches(self, who: int, user: int, scope: str | None, text: str, **named: Any) -> None:
        """A caller searches; scores and their parts are compared too."""
        owner = self.users[user]
        self.compare(who, lambda memory: memory.search(text, owner, scope=scope, explain=True, **named))
        self.compare(who, lambda memory: memory.context(text, owner, scope=scope))

    @rule(who=WHO, place=PLACE, named=st.booleans())
    def reads(self, who: int, place: int, named: bool) -> None:
        """A caller reads one memory in every way."""
        for id in self.picked([place]):
            owner = self.known[id][0]
            user = owner if named else None
            for verb in (_get, _history):
                self.compare(who, partial(verb, id=id, user_id=user))
            self.compare(who, partial(_wait, id=id, user_id=owner))

    @rule(who=WHO, user=USER, scope=SCOPE)
    def reads_by_key(self, who: int, user: int, scope: str | None) -> None:
        """A caller reads the memory that has a key, if there is one."""
        named: dict[str, Any] = {"key": f"k {scope}", "user_id": self.users[user]}
        self.compare(who, lambda memory: memory.get(**named))
        self.compare(who, lambda memory: memory.history(**named))

    @rule(who=WHO, user=USER)
    def looks_at_everything(self, who: int, user: int) -> None:
        """A caller asks for what concerns a whole user or the whole store."""
        owner = self.users[user]
        self.compare(who, lambda memory: [json.loads(line) for line in memory.export(owner).lines])
        self.compare(who, lambda memory: audited(memory, owner))
        self.compare(who, lambda memory: changes(memory, owner))
        self.compare(who, lambda memory: memory.health())

    @rule(who=WHO, user=USER, scope=SCOPE, text=TEXT, old=OLD)
    def caller_adds(self, who: int, user: int, scope: str | None, text: str, old: list[int]) -> None:
        """A caller adds a memory, which perhaps supersedes one that is hidden."""
        owner, step = self.users[user], seed(next(self.steps))
        ids = self.picked(old) or None
        if self.callers[who].access.may("write", None):
            ids = None  # who may write everywhere may hide what others see
        record = self.compare(
            who,
            lambda memory: memory.for_caller(seed=step).add(content=text, user_id=owner, scope=scope, supersedes=ids),
        )
        if record is not None:
            old_scopes = {self.known[id] for id in ids or ()} | {(owner, scope)}
            self.follow(who, owner, old_scopes, record.id, scope, text, ids, step)

    @rule(who=WHO, place=PLACE, text=TEXT)
    def caller_changes(self, who: int, place: int, text: str) -> None:
        """A caller changes a memory."""
        for id in self.picked([place]):
            verb = partial(_update, id=id, content=text)
            if self.compare(who, verb) is not None:
                self.others(who, id, verb)

    @rule(who=WHO, place=PLACE)
    def caller_erases(self, who: int, place: int) -> None:
        """A caller erases a memory."""
        for id in self.picked([place]):
            verb = partial(_delete, id=id)
            if self.compare(who, verb) is not None:
                self.others(who, id, verb)
                del self.known[id]

    @rule(who=WHO, user=USER, scope=SCOPE, text=TEXT, erases=st.booleans())
    def caller_changes_by_key(self, who: int, user: int, scope: str | None, text: str, erases: bool) -> None:
        """A caller changes or erases the memory that has a key."""
        named: dict[str, Any] = {"key": f"k {scope}", "user_id": self.users[user]}
        before = self.holder(named)
        verb = partial(_delete, **named) if erases else partial(_update, **named, content=text)
        if self.compare(who, verb) is not None:
            assert before is not None
            self.others(who, before, verb)
            if erases:
                del self.known[before]

    def holder(self, named: dict[str, Any]) -> str | None:
        """Return the id of the memory that has a key."""
        try:
            return self.whole.get(**named).id
        except NotFoundError:
            return None

    def teardown(self) -> None:
        """At the end, let all callers look once more."""
        for who in range(len(self.callers)):
            for owner in self.users:
                self.compare(who, partial(pages, user_id=owner, limit=7))
                for mode in ("hybrid", "vector", "keyword"):
                    self.compare(who, partial(_search, user_id=owner, mode=mode))
            for id in self.known:
                self.compare(who, partial(_history, id=id, user_id=None))

    def follow(
        self,
        who: int,
        owner: str,
        touched: set[tuple[str, str | None]],
        id: str,
        scope: str | None,
        text: str,
        ids: list[str] | None,
        step: Any,
    ) -> None:
        """Do in the other callers' stores what a caller added, so far as it is theirs."""
        for number, caller in enumerate(self.callers):
            if number != who and any(caller.touches(*place) for place in touched):
                caller.shadow.for_caller(seed=step).add(content=text, user_id=owner, scope=scope, supersedes=ids)
        self.known[id] = (owner, scope)

    def picked(self, places: list[int]) -> list[str]:
        ids = [*self.known]
        return [ids[place % len(ids)] for place in places if ids]

    def everywhere(self, id: str, verb: Verb) -> None:
        verb(self.whole)
        self.others(None, id, verb)

    def others(self, who: int | None, id: str, verb: Verb) -> None:
        for number, caller in enumerate(self.callers):
            if number != who and caller.touches(*self.known[id]):
                verb(caller.shadow)

    def compare(self, who: int, verb: Verb) -> Any:
        """Let a caller do something in both stores; return the answer, or `None` after an error."""
        caller = self.callers[who]
        answers: list[Any] = []

        def keep(memory: Memory) -> Any:
            answers.append(verb(memory.for_caller(access=caller.access)))
            return answers[-1]

        whole, alone = said(lambda: keep(self.whole)), said(lambda: keep(caller.shadow))
        assert whole == alone
        return answers[0] if answers else None


def _get(memory: Memory, id: str, user_id: str | None) -> Any:
    return memory.get(id, user_id=user_id)


def _search(memory: Memory, user_id: str, mode: Any) -> Any:
    return memory.search("the doctor likes python and tea", user_id, mode=mode, explain=True)


def _history(memory: Memory, id: str, user_id: str | None) -> Any:
    return memory.history(id, user_id=user_id)


def _wait(memory: Memory, id: str, user_id: str) -> Any:
    memory.wait_for_ingest([id], user_id)


def _update(memory: Memory, id: str | None = None, **fields: Any) -> Any:
    return memory.update(id, **fields)


def _delete(memory: Memory, id: str | None = None, **named: Any) -> str:
    memory.delete(id, **named)
    return "deleted"


@contextmanager
def stores(name: str, folder: Path, url: str) -> Iterator[list[Memory]]:
    """Open a store for all and one for each caller."""
    with ExitStack() as stack:
        opened = []
        for number in range(len(GRANTS) + 1):
            options: dict[str, Any] = {"url": f"sqlite:///{folder / f'{number}.db'}"}
            if name == "postgres":
                options = {"url": url, "schema": f"world{number}", "pool_max_size": 1}
            opened.append(stack.enter_context(Memory(ProviderName(name), embedder=HashEmbedder(16), **options)))
        yield opened


@pytest.mark.parametrize(("name", "examples", "steps"), [("sqlite", 10, 25), ("outside", 6, 25), ("postgres", 3, 20)])
def test_nothing_hidden_changes_an_answer(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    examples: int,
    steps: int,
) -> None:
    monkeypatch.setitem(BUILT_IN, "outside", SPEC)
    url = request.getfixturevalue("postgres_url") if name == "postgres" else ""
    with stores(name, tmp_path, url) as (whole, *shadows):
        machine: Any = partial(Leaks, whole, shadows)
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=[*HealthCheck],
                database=None,
            ),
        )
