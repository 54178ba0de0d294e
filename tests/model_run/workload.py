"""The operations of callers: one method for each kind, each of which compares the answer with the oracle."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from openmem import (
    AsyncMemory,
    MemoryItem,
    MemoryRecord,
    NotFoundError,
    OMPError,
    VersionConflictError,
)
from tests.model_run.oracle import Asked, Kept, UserOracle, state_of

WORDS = ("tea", "piano", "river", "garden", "violin", "coffee", "lemon", "copper")
FILLING: tuple[str, ...] = (
    "größe",
    "ｆｕｌｌ",
    "日本語",
    "한국어",
    "👩\u200d👩\u200d👧",
    "\u202eabc",
    "don't",
    "x" * 200,
    "'; drop table--",
    "NEAR(",
)
FILLING += ('"q"', "*", "^col:", "ﬁ", "İ", "ſ", "e\u0301", "a\\b", "%s", "$1")
LENGTHS = (0, 0, 0, 0, 0, 0, 0, 3, 10, 30)
SCOPES: tuple[str | None, ...] = (None, "home", "home/a", "home/a/b", "home2", "h%", "h_me", "työ/ä")
SCOPES += ("HOME", "日本/語", "é/x", "e\u0301/x", "_/_", "a b/c", "a\\b", "a'b", "x" * 100)
PATTERNS: tuple[str | None, ...] = (
    None,
    None,
    None,
    "home",
    "home/a",
    "home/*",
    "home/a/*",
    "h%",
    "h_me/*",
    "*",
    "työ/*",
)
PATTERNS += ("HOME/*", "日本/*", "é/*", "e\u0301/*", "_/*", "a\\b", "a'b")
TAGS = ((), (), ("green",), ("green", "blue"), ("tea",), ("green", "Ünï"), ("tea", "a'b"), ("日本",), ("x" * 64,))
WINDOWS = ((-20, -10), (-20, 10), (None, -5), (None, 20), (10, 20), (-20, None), (10, None))
DAYS = (None, None, -30, -15, -7, 5, 15, 30)
MOST_KEPT = 40


class Mismatch(AssertionError):
    """An answer is not what the oracle says."""


def expect(found: object, wanted: object, what: str) -> None:
    """Compare an answer with what it must be."""
    if found != wanted:
        raise Mismatch(f"{what}: got {found!r}, must be {wanted!r}")


def kept(record: MemoryRecord) -> Kept:
    """Return a record as the oracle knows it."""
    extra = {name: value for name, value in (record.model_extra or {}).items() if name.startswith("x-")}
    return Kept(
        record.id,
        record.content,
        record.created_at,
        record.version,
        record.scope,
        tuple(record.tags or ()),
        record.key,
        record.confidence,
        record.valid_from,
        record.valid_to,
        tuple(record.supersedes or ()),
        tuple(sorted((name, json.dumps(value)) for name, value in extra.items())),
    )


class Session:
    """One user's operations, one after the other.

    Args:
        oracle: What the user must have.
        memory: The store, as this user's caller sees it.
        chance: Where what is done comes from.
        others: Ids of other users' memories, to be asked for in vain.
    """

    def __init__(
        self, oracle: UserOracle, memory: AsyncMemory, chance: random.Random, others: Callable[[], str | None]
    ) -> None:
        self.oracle, self.memory, self.chance, self.others = oracle, memory, chance, others
        self.user_id = oracle.user_id
        self.number = 0

    def fresh(self) -> str:
        """Return a text that this user never stored."""
        self.number += 1
        filling = self.chance.choices(FILLING, k=self.chance.choice(LENGTHS))
        return " ".join([*self.chance.sample(WORDS, self.chance.randint(1, 3)), f"n{self.number}", *filling])

    def fields(self) -> dict[str, Any]:
        """Return some arguments of `add`."""
        chance = self.chance
        fields: dict[str, Any] = {"scope": chance.choice(SCOPES), "tags": [*chance.choice(TAGS)] or None}
        if chance.random() < 0.3:
            start, end = chance.choice(WINDOWS)
            fields |= {"valid_from": day(start), "valid_to": day(end)}
        if chance.random() < 0.2:
            fields["confidence"] = chance.choice((0.0, 0.25, 1.0))
        if chance.random() < 0.2:
            fields["x-n"] = chance.choice((0, -1, 1.5, "é", None, [1, {"a": False}], {"deep": [[], {}]}))
        return fields

    def wanted(self, content: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Return what the oracle keeps of some arguments of `add`."""
        extra = tuple(sorted((name, json.dumps(value)) for name, value in fields.items() if name.startswith("x-")))
        named = {name: value for name, value in fields.items() if not name.startswith("x-")}
        for name in ("tags", "supersedes"):
            if name in named:
                named[name] = tuple(named[name] or ())
        return {**named, "content": content, "extra": extra}

    def one(self) -> Kept | None:
        """Return one of the user's memories."""
        memories = [*self.oracle.memories.values()]
        return self.chance.choice(memories) if memories else None

    async def add(self) -> None:
        """Add a memory, which now and then supersedes older ones."""
        content, fields = self.fresh(), self.fields()
        older = self.one()
        if older is not None and self.chance.random() < 0.25:
            fields["supersedes"] = [older.id, *self.oracle.gone[-1:]]
        record = await self.memory.add(content=content, user_id=self.user_id, **fields)
        self.keep_new(record, content, fields)

    def keep_new(self, record: MemoryRecord, content: str, fields: dict[str, Any]) -> None:
        """Compare a new memory with what was given, and keep it."""
        expect(record.id in self.oracle.memories, False, "a new id")
        known = Kept(record.id, "", record.created_at)
        expected = Kept(**{**vars_of(known), **self.wanted(content, fields)})
        expect(kept(record), expected, "add")
        self.oracle.put(expected)
        self.oracle.did("add", record.id)

    async def add_with_key(self) -> None:
        """Add under a key, which replaces the memory that has it."""
        key, content, fields = self.chance.choice(("k1", "k2", "k 3")), self.fresh(), self.fields()
        before = self.oracle.with_key(key)
        record = await self.memory.add(content=content, user_id=self.user_id, key=key, **fields)
        if before is None:
            self.keep_new(record, content, {**fields, "key": key})
            return
        blank = Kept(before.id, content, before.created_at, before.version + 1, key=key)
        expected = Kept(**{**vars_of(blank), **self.wanted(content, fields)})
        expect(kept(record), expected, "add with a known key")
        self.oracle.put(expected)
        self.oracle.did("add", record.id)

    async def add_many(self) -> None:
        """Add several at once."""
        given = [(self.fresh(), self.fields()) for _ in range(self.chance.randint(2, 6))]
        items = [cast(MemoryItem, {"content": content, **fields}) for content, fields in given]
        records = await self.memory.add_many(items, user_id=self.user_id)
        expect(len(records), len(given), "add_many")
        for record, (content, fields) in zip(records, given, strict=True):
            self.keep_new(record, content, fields)

    async def update(self) -> None:
        """Change a memory, now and then on condition of its version."""
        memory = self.one()
        if memory is None:
            return
        changes: dict[str, Any] = {"content": self.fresh()}
        if self.chance.random() < 0.5:
            changes["scope"] = self.chance.choice(SCOPES)
        if self.chance.random() < 0.5:
            changes["tags"] = [*self.chance.choice(TAGS)] or None
        version = self.chance.choice((None, memory.version, memory.version + 1))
        change = self.memory.update(memory.id, user_id=self.named(), if_version=version, **changes)
        if version == memory.version + 1:
            await self.refused(change, VersionConflictError)
            return
        record = await change
        if "tags" in changes:
            changes["tags"] = tuple(changes["tags"] or ())
        after = self.oracle.change(memory, **changes)
        expect(kept(record), after, "update")
        self.oracle.did("update", memory.id)

    async def delete(self) -> None:
        """Erase a memory, and once more in vain."""
        memory = self.one()
        if memory is None:
            return
        await self.memory.delete(memory.id, user_id=self.named())
        self.oracle.drop(memory.id)
        self.oracle.did("delete", memory.id)
        if self.chance.random() < 0.3:
            await self.refused(self.memory.delete(memory.id, user_id=self.user_id), NotFoundError)

    async def get(self) -> None:
        """Read a memory, or one that is gone."""
        memory = self.one()
        if memory is None or (self.oracle.gone and self.chance.random() < 0.1):
            missing = self.oracle.gone[-1] if self.oracle.gone else "mem_never"
            await self.refused(self.memory.get(missing, user_id=self.named()), NotFoundError)
            return
        expect(kept(await self.memory.get(memory.id, user_id=self.named())), memory, "get")
        self.oracle.did("get", memory.id)

    async def reach_for_others(self) -> None:
        """Ask for another user's memory, in every way that names it."""
        foreign = self.others()
        if foreign is None:
            return
        verb = self.chance.choice((self.memory.get, self.memory.delete, self.memory.history, self.try_to_change))
        await self.refused(verb(foreign, user_id=self.user_id), NotFoundError)

    async def try_to_change(self, id: str, *, user_id: str) -> None:
        """Change a memory."""
        await self.memory.update(id, user_id=user_id, content="taken over")

    def asked(self) -> Asked:
        """Return what a read asks for."""
        chance = self.chance
        as_of = day(chance.choice(DAYS)) if chance.random() < 0.4 else None
        expired = as_of is None and chance.random() < 0.3
        tag = chance.choice((None, None, "green", "tea"))
        return Asked(chance.choice(PATTERNS), tag, as_of, chance.random() < 0.3, expired)

    async def list(self) -> None:
        """List all pages under some view."""
        asked, limit = self.asked(), self.chance.choice((1, 3, 50, 500))
        wanted = self.oracle.visible(asked, datetime.now(UTC))
        found: list[MemoryRecord] = []
        cursor: str | None = None
        while True:
            page = await self.memory.list(self.user_id, tag=asked.tag, limit=limit, cursor=cursor, **asked.options())
            self.oracle.did("list")
            found += page.items
            cursor = page.next_cursor
            if cursor is None or len(found) > len(wanted):
                break
        expect([kept(record) for record in found], wanted, f"list {asked}")

    async def search(self) -> None:
        """Search by words under some view."""
        asked, limit = self.asked(), self.chance.choice((1, 5, 100))
        words = self.chance.sample(WORDS, self.chance.randint(1, 3))
        fitting = {one.id for one in self.oracle.visible(asked, datetime.now(UTC)) if one.words & {*words}}
        tags = None if asked.tag is None else [asked.tag]
        given: dict[str, Any] = {**asked.options(), "tags": tags, "limit": limit, "mode": "keyword"}
        results = await self.memory.search(" ".join(words), self.user_id, **given)
        self.oracle.did("search")
        found = [result.memory.id for result in results]
        expect(len({*found}), min(limit, len(fitting)), f"number found by {words} under {asked}")
        expect({*found} <= fitting, True, f"what is found by {words} under {asked}")
        for result in results:
            expect(kept(result.memory), self.oracle.memories[result.memory.id], "a memory that was found")
        scores = [result.score for result in results]
        expect(scores, sorted(scores, reverse=True), "the order of scores")

    async def context(self) -> None:
        """Ask for a block; what it cites must be visible."""
        block = await self.memory.context(self.chance.choice(WORDS), self.user_id, token_budget=200)
        self.oracle.did("context")
        shown = {one.id for one in self.oracle.visible(Asked(), datetime.now(UTC))}
        expect({citation.memory_id for citation in block.citations} <= shown, True, "citations")
        expect(block.text.count("\n") >= len(block.citations), True, "lines of a context")

    async def history(self) -> None:
        """Read the earlier versions of a memory."""
        memory = self.one()
        if memory is None:
            return
        records = await self.memory.history(memory.id, user_id=self.named())
        self.oracle.did("get", memory.id)
        found = [state_of(kept(record)) for record in records]
        expect(sorted(found), sorted(self.oracle.history(memory)), "history")
        own = [version for id, version, _ in found if id == memory.id]
        expect(own, sorted(own, reverse=True), "the order of versions")

    async def audit(self) -> None:
        """Read the audit log: the newest entries are what was done last."""
        limit = self.chance.choice((1, 10, 100))
        entries = await self.memory.audit(self.user_id, limit=limit)
        found = sorted((entry.action or "", entry.memory_id or "") for entry in entries)
        wanted = sorted((action, id or "") for action, id in self.oracle.actions[-len(entries) :]) if entries else []
        expect(len(entries), min(limit, len(self.oracle.actions)), "number of audit entries")
        if len(entries) == len(self.oracle.actions) or limit == 1:
            expect(found, wanted, "audit log")

    async def erase(self) -> None:
        """Erase a scope, or everything."""
        scope = self.chance.choice((None, "home/*", "home2", "työ/*"))
        receipt = await self.memory.delete_all(self.user_id, scope=scope)
        ids = self.oracle.erase(scope)
        expect((receipt.erased["memories"], receipt.complete), (len(ids), True), f"erasure of {scope}")
        wanted = [(action, None if scope is None or id in ids else id) for action, id in self.oracle.actions]
        self.oracle.actions = [*wanted, ("delete", None)]

    async def travel(self) -> None:
        """Export everything and import it again, which changes nothing."""
        lines: list[str] = []
        cursor: str | None = None
        while True:
            page = await self.memory.export(self.user_id, cursor=cursor, limit=self.chance.choice((2, 500)))
            self.oracle.did("list")
            lines += page.lines
            cursor = page.next_cursor
            if cursor is None:
                break
        records = [json.loads(line)["memory"] for line in lines if '"memory"' in line[:10]]
        expect(sorted(one["id"] for one in records), sorted(self.oracle.memories), "export")
        report = await self.memory.import_(lines)
        expect((report.imported, report.skipped), (0, len(records)), "import of what is there")

    async def race(self) -> None:
        """Do one thing several times at once: one of them happens, or all do in some order."""
        await self.chance.choice((self.race_of_adds, self.race_of_updates))()

    async def race_of_adds(self) -> None:
        """Add under one key four times at once."""
        key, before = "raced", self.oracle.with_key("raced")
        contents = [self.fresh() for _ in range(4)]
        adds = [self.memory.add(content=content, user_id=self.user_id, key=key) for content in contents]
        records = sorted(await asyncio.gather(*adds), key=lambda record: record.version)
        first = 1 if before is None else before.version + 1
        expect([record.version for record in records], [*range(first, first + 4)], "versions of adds at once")
        expect({record.id for record in records}, {records[0].id if before is None else before.id}, "one memory")
        expect(sorted(record.content for record in records), sorted(contents), "contents of adds at once")
        for record in records:
            self.oracle.put(kept(record))
            self.oracle.did("add", record.id)

    async def race_of_updates(self) -> None:
        """Change one version four times at once: one does it."""
        memory = self.one()
        if memory is None:
            return
        changes = [
            self.memory.update(memory.id, user_id=self.user_id, content=self.fresh(), if_version=memory.version)
            for _ in range(4)
        ]
        answers = await asyncio.gather(*changes, return_exceptions=True)
        done = [answer for answer in answers if isinstance(answer, MemoryRecord)]
        expect(len(done), 1, f"updates of one version at once, {answers}")
        expect(all(isinstance(one, MemoryRecord | VersionConflictError) for one in answers), True, f"{answers}")
        after = self.oracle.change(memory, content=done[0].content)
        expect(kept(done[0]), after, "update at once")
        self.oracle.did("update", memory.id)

    def named(self) -> str | None:
        """Return the user, or leave open whose memory it is."""
        return self.chance.choice((None, self.user_id))

    async def refused(self, call: Awaitable[Any], kind: type[OMPError]) -> None:
        """Check that a call fails in this way."""
        try:
            answer = await call
        except kind:
            return
        raise Mismatch(f"answered {answer!r}, must be {kind.__name__}")


def vars_of(memory: Kept) -> dict[str, Any]:
    """Return the fields of a memory."""
    return {name: getattr(memory, name) for name in Kept.__dataclass_fields__}


def day(distance: int | None) -> datetime | None:
    """Return the time so many days from now, to the microsecond."""
    return None if distance is None else datetime.now(UTC) + timedelta(days=distance)
