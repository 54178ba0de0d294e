"""A state machine that does what users might do in any order, and compares every answer with a dictionary."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import partial
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from openmem import AsyncMemory
from openmem.errors import AlreadyExistsError, NotFoundError, VersionConflictError
from openmem.testing import drawn
from openmem.testing._async.rules import OpenMemory, Rules, ids_of
from openmem.testing.drawn import DrawnMemory, DrawnView
from openmem.testing.embedder import HashEmbedder
from openmem.testing.model import StoreModel, View, words_of
from openmem.testing.runner import AsyncRunner
from openmem.types import MemoryRecord

COMPARED = (
    "content",
    "scope",
    "tags",
    "valid_from",
    "valid_to",
    "supersedes",
    "key",
    "created_at",
    "metadata",
    "searchable",
)


class StoreMachine(RuleBasedStateMachine):
    """Does one thing after another to the store and to the model. Every run has users of its own."""

    numbers: ClassVar[itertools.count[int]] = itertools.count()

    def __init__(self, suite: type[Rules], memory: AsyncMemory, runner: AsyncRunner) -> None:
        super().__init__()
        number = next(self.numbers)
        self.suite = suite
        self.memory = memory
        self.do = runner.run
        self.model = StoreModel()
        self.users = [f"{name}-{number}" for name in drawn.USERS]
        self.gone = ["nobody-has-this"]
        self.texts = itertools.count()

    @initialize(memories=drawn.MEMORIES)
    def begin(self, memories: list[DrawnMemory]) -> None:
        """Never start with nothing: runs that never add would show little."""
        self.add(memories)

    @rule(memories=drawn.MEMORIES)
    def add(self, memories: list[DrawnMemory]) -> None:
        """Add memories, some under a key that is taken, some of which supersede others."""
        for memory in memories:
            self.add_one(memory)

    def add_one(self, memory: DrawnMemory) -> None:
        """Add a memory and compare what comes back."""
        owner, content = self.users[memory.who], self.fresh(memory.words)
        fields = memory.fields(self.suite)
        before = self.model.with_key(owner, fields.get("key"))
        if self.suite.declares("supersession"):
            fields["supersedes"] = self.ids_at(owner, memory.replaced, before) or None
        record = self.do(self.memory.add(content=content, user_id=owner, **fields))
        assert (record.content, record.user_id) == (content, owner)
        assert record.searchable == fields.get("searchable", True)
        assert {name: getattr(record, name) or None for name in fields} == {
            name: fields[name] or None for name in fields
        }
        if before is None:
            assert record.version == 1
            assert record.id not in self.model.records
        else:
            assert (record.id, record.version) == (before.id, before.version + 1)
            assert record.created_at == before.created_at
        self.keep(record)

    @precondition(lambda self: self.suite.declares("updates"))
    @rule(
        number=drawn.POSITION,
        change=drawn.CHANGE,
        replaced=st.none() | drawn.REPLACED,
        end=st.sampled_from([0, 0, None, -3, 25]),
    )
    def update(self, number: int, change: dict[str, Any], replaced: list[int] | None, end: int | None) -> None:
        """Update a memory; `end` is the new end of its window in days, 0 leaves it."""
        record = self.at(number)
        if record is None:
            with pytest.raises(NotFoundError):
                self.do(self.memory.update(self.gone[-1], content=self.fresh("tea")))
            return
        fields = self.changed(record, change, replaced, end)
        after = self.do(self.memory.update(record.id, **fields))
        expected = record.model_copy(update=fields)
        assert after.version == record.version + 1
        for name in COMPARED:
            assert (getattr(after, name) or None) == (getattr(expected, name) or None), name
        self.keep(after)

    def changed(
        self, record: MemoryRecord, change: dict[str, Any], replaced: list[int] | None, end: int | None
    ) -> dict[str, Any]:
        """Return the arguments of an update that changes something, without what is declared absent."""
        fields = dict(change)
        if not self.suite.declares("scopes"):
            fields.pop("scope", None)
        if not self.suite.declares("metadata"):
            fields.pop("metadata", None)
        if not self.suite.declares("unsearchable"):
            fields.pop("searchable", None)
        if self.suite.declares("supersession") and replaced is not None:
            fields["supersedes"] = self.ids_at(record.user_id, replaced, record) or None
        if self.suite.declares("temporal") and end != 0:
            moment = drawn.moment(end)
            if moment is None or record.valid_from is None or record.valid_from < moment:
                fields["valid_to"] = moment
        same = all((getattr(record, name) or None) == (fields[name] or None) for name in fields)
        if same or "content" in fields:
            fields["content"] = self.fresh(fields.get("content", "tea"))
        return fields

    @precondition(lambda self: self.suite.declares("versions"))
    @rule(number=drawn.POSITION, wrong=st.booleans())
    def update_at_version(self, number: int, wrong: bool) -> None:
        """Update a memory on condition of its version."""
        record = self.at(number)
        if record is None:
            return
        content = self.fresh("garden")
        if wrong:
            with pytest.raises(VersionConflictError):
                self.do(self.memory.update(record.id, content=content, if_version=record.version + 1))
        else:
            self.keep(self.do(self.memory.update(record.id, content=content, if_version=record.version)))

    @rule(number=drawn.POSITION, twice=st.booleans())
    def delete(self, number: int, twice: bool) -> None:
        """Delete a memory, and perhaps once more."""
        record = self.at(number)
        if record is None:
            return
        if twice and self.has_key(record):
            self.do(self.memory.delete(key=record.key, user_id=record.user_id))
        else:
            self.do(self.memory.delete(record.id, user_id=record.user_id))
        del self.model.records[record.id]
        self.gone.append(record.id)
        if twice:
            with pytest.raises(NotFoundError):
                self.do(self.memory.delete(record.id))

    @precondition(lambda self: self.suite.declares("erasure"))
    @rule(who=drawn.USER, pattern=st.sampled_from(drawn.PATTERNS), all_of_it=st.sampled_from([False, False, True]))
    def delete_all(self, who: int, pattern: str | None, all_of_it: bool) -> None:
        """Erase a scope, or now and then everything, of one user."""
        scope = pattern if self.suite.declares("scopes") else None
        if scope in (None, "*") and not all_of_it:
            return
        before = {record.id for record in self.model.of_user(self.users[who])}
        receipt = self.do(self.memory.delete_all(self.users[who], scope=scope))
        assert receipt.complete
        assert receipt.erased["memories"] == self.model.erase(self.users[who], scope)
        self.gone += sorted(before - self.model.records.keys())

    @rule(number=drawn.POSITION, who=drawn.USER)
    def get(self, number: int, who: int) -> None:
        """Get a memory as a user who may or may not own it, and one that is gone."""
        with pytest.raises(NotFoundError):
            self.do(self.memory.get(self.gone[number % len(self.gone)]))
        record = self.at(number)
        if record is None:
            return
        if record.user_id == self.users[who]:
            named: list[dict[str, Any]] = [{"id": record.id}]
            if self.has_key(record):
                named.append({"key": record.key})
            for name in named:
                got = self.do(self.memory.get(**name, user_id=record.user_id))
                assert got.model_dump(exclude={"status"}) == record.model_dump(exclude={"status"})
        else:
            with pytest.raises(NotFoundError):
                self.do(self.memory.get(record.id, user_id=self.users[who]))

    @rule(view=drawn.VIEW, query=drawn.TEXT, size=st.sampled_from([1, 2, 100]))
    def look(self, view: DrawnView, query: str, size: int) -> None:
        """Ask one question in every way there is."""
        asked = view.view(self.users, self.suite)
        self.compare(asked, query, size)

    @precondition(lambda self: self.suite.declares("history"))
    @rule(number=drawn.POSITION)
    def history(self, number: int) -> None:
        """Compare the history of a memory with the model's."""
        record = self.at(number)
        if record is None:
            return
        earlier = self.do(self.memory.history(record.id))
        assert sorted((past.id, past.version) for past in earlier) == self.model.history(record)
        own = [past.version for past in earlier if past.id == record.id]
        assert own == sorted(own, reverse=True)

    @precondition(lambda self: self.suite.declares("portability"))
    @rule(who=drawn.USER, size=st.sampled_from([1, 3, 500]))
    def export(self, who: int, size: int) -> None:
        """Export one user: a header, and a line for each memory, hidden or not."""
        page = self.do(self.memory.export(self.users[who], limit=size))
        lines = [*page.lines]
        own = [record.id for record in self.model.of_user(self.users[who])]
        while page.next_cursor is not None and len(lines) <= 1 + len(own):
            page = self.do(self.memory.export(self.users[who], limit=size, cursor=page.next_cursor))
            lines += page.lines
        assert len(lines) == 1 + len(own)
        assert all(any(id_ in line for line in lines[1:]) for id_ in own)

    def teardown(self) -> None:
        """Compare everything, in several views, at the end of a run."""
        for owner in self.users:
            for view in drawn.views_of(owner, self.suite):
                self.compare(view, "tea river", 100)

    def compare(self, view: View, query: str, size: int) -> None:
        """Compare list, overviews and search under a view with the model."""
        expected = self.model.visible(view)
        self.compare_list(view, expected, size)
        self.compare_overviews(view)
        findable = [record for record in expected if record.searchable]
        if self.suite.declares("keyword_search"):
            fitting = {record.id for record in findable if words_of(record) & set(query.split())}
            found = self.search(view, query, "keyword", size)
            assert set(found) <= fitting
            assert len(found) == min(size, len(fitting))
        if self.suite.declares("vector_search"):
            assert set(self.search(view, query, "vector", 100)) == set(ids_of(findable))

    def compare_list(self, view: View, expected: list[MemoryRecord], size: int) -> None:
        """Compare the pages of a list: members, order and texts."""
        options: dict[str, Any] = {**view.options(), "tag": view.tag, "limit": size}
        page = self.do(self.memory.list(view.user_id, **options))
        seen = [*page.items]
        while page.next_cursor is not None and len(seen) <= len(expected):
            page = self.do(self.memory.list(view.user_id, **options, cursor=page.next_cursor))
            seen += page.items
        assert ids_of(seen) == ids_of(expected)
        assert [record.content for record in seen] == [record.content for record in expected]

    def compare_overviews(self, view: View) -> None:
        """Compare the counts of scopes and tags with those of the model."""
        counted = self.do(self.memory.scopes(view.user_id))
        assert {info.scope: (info.current, info.superseded, info.expired) for info in counted} == self.model.scopes(
            view.user_id
        )
        tags = self.do(self.memory.tags(view.user_id, scope=view.scope))
        shown = self.model.visible(View(view.user_id, scope=view.scope))
        assert {info.tag: info.count for info in tags} == Counter(tag for one in shown for tag in one.tags or ())

    def search(self, view: View, query: str, mode: str, size: int) -> list[str]:
        """Return the ids found, after looking at the scores."""
        options: dict[str, Any] = {**view.options(), "mode": mode, "limit": size}
        if view.tag is not None:
            options["tags"] = [view.tag]
        results = self.do(self.memory.search(query, view.user_id, **options))
        scores = [result.score for result in results]
        assert scores == sorted(scores, reverse=True)
        assert all(0.0 <= score <= 1.0 for score in scores)
        found = [result.memory.id for result in results]
        assert len(found) == len(set(found))
        return found

    def keep(self, record: MemoryRecord) -> None:
        """Note a memory as it now is, once it can be found."""
        self.do(self.memory.wait_for_ingest([record.id], record.user_id))
        self.model.records[record.id] = record

    def has_key(self, record: MemoryRecord) -> bool:
        """Return whether a memory can be named by its key."""
        return record.key is not None and self.suite.declares("by_key")

    @precondition(lambda self: self.suite.declares("conditional_add"))
    @rule(number=drawn.POSITION, words=drawn.TEXT, late=st.booleans())
    def add_on_terms(self, number: int, words: str, late: bool) -> None:
        """Store a memory under a key only where none is, or only in the place of a version."""
        record = self.at(number)
        if record is None or record.key is None:
            return
        given: dict[str, Any] = {"content": self.fresh(words), "user_id": record.user_id, "key": record.key}
        with pytest.raises(AlreadyExistsError) as caught:
            self.do(self.memory.add(**given, if_absent=True))
        assert caught.value.details == {"id": record.id, "version": record.version}
        if late:
            with pytest.raises(VersionConflictError):
                self.do(self.memory.add(**given, if_version=record.version + 1))
        else:
            after = self.do(self.memory.add(**given, if_version=record.version))
            assert (after.id, after.version, after.created_at) == (record.id, record.version + 1, record.created_at)
            self.keep(after)

    def at(self, number: int) -> MemoryRecord | None:
        """Return the memory at a position, if there is any."""
        records = list(self.model.records.values())
        return records[number % len(records)] if records else None

    def ids_at(self, owner: str, places: list[int], but: MemoryRecord | None) -> list[str]:
        """Return ids to supersede: the owner's, now and then another user's or one that is gone, never its own."""
        own = [record.id for record in self.model.of_user(owner) if record is not but]
        others = [*self.gone, *(record.id for record in self.model.records.values() if record.user_id != owner)]
        chosen = [(own if place and own else others) for place in places]
        ids = [pool[place % len(pool)] for pool, place in zip(chosen, places, strict=True)]
        return list(dict.fromkeys(ids))

    def fresh(self, words: str) -> str:
        """Return a text that was never stored before."""
        return f"{words} n{next(self.texts)}"


class StatefulRules(Rules):
    """All verbs together."""

    runs_of_the_machine: ClassVar[int] = 20
    shorten_failures: ClassVar[bool] = False
    """Whether to look for a shorter run that fails too, which can take minutes."""

    def test_any_order_of_calls_agrees_with_a_dictionary(self, open_memory: OpenMemory) -> None:
        """The store answers as a plain dictionary of memories would, after any operations in any order.

        If this fails, check the last call of the run shown; `shorten_failures = True` looks for a shorter one.
        """
        bounds = settings(
            max_examples=self.runs_of_the_machine,
            stateful_step_count=15,
            deadline=None,
            phases=[phase for phase in Phase if self.shorten_failures or phase is not Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        with AsyncRunner() as runner:
            memory = open_memory(app="kit", embedder=HashEmbedder())
            try:
                machine: Any = partial(StoreMachine, type(self), memory, runner)
                run_state_machine_as_test(machine, settings=bounds)
            finally:
                runner.run(memory.close())
