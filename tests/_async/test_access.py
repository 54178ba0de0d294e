"""Every verb, for callers who may and callers who may not, on each provider: nothing that is hidden shows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from openmem import Access, AsyncMemory, InvalidRequestError, MemoryRecord, NotFoundError, OMPError, parse_grant
from openmem._config.registry import BUILT_IN
from openmem.errors import AlreadyExistsError, ScopeDeniedError
from openmem.testing import HashEmbedder
from tests._async.outside_provider import SPEC

NATIVE = ["sqlite", "postgres"]
ALL = [*NATIVE, "outside"]
MISSING = "mem_01ARZ3NDEKTSV4RRFFQ69G5FAV"
HEALTH = ("read:health/*", "write:health/*", "delete:health/*")
EVERYTHING = ("read:*", "write:*", "delete:*")


@pytest.fixture(params=ALL)
async def memory(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncMemory]:
    """A store without a user yet."""
    monkeypatch.setitem(BUILT_IN, "outside", SPEC)
    name = request.param
    url = request.getfixturevalue("postgres_url") if name == "postgres" else f"sqlite:///{tmp_path / 'a.db'}"
    async with AsyncMemory(name, url=url, embedder=HashEmbedder(16)) as memory:
        yield memory


class World:
    """Two users with memories in and outside the scope `health`."""

    def __init__(self, memory: AsyncMemory, number: int = 0) -> None:
        self.memory = memory
        self.ann, self.bob = f"ann-{number}", f"bob-{number}"
        self.ids: dict[str, str] = {"missing": MISSING}

    async def fill(self, *, keyed: bool = False) -> World:
        """Store the memories, under their names as keys if that is asked for."""
        for name, user_id, scope in (
            ("health", self.ann, "health/notes"),
            ("coding", self.ann, "coding/python"),
            ("plain", self.ann, None),
            ("bobs", self.bob, "health/notes"),
        ):
            key = name if keyed else None
            text = f"{name} knows tea"
            record = await self.memory.add(content=text, user_id=user_id, scope=scope, tags=[name], key=key)
            self.ids[name] = record.id
        return self

    def acting(self, *grants: str, any_user: bool = False) -> AsyncMemory:
        """Return the store as seen by a caller with these grants for ann, or for any user."""
        given = tuple(parse_grant(grant) for grant in grants)
        return self.memory.for_caller(access=Access(None if any_user else self.ann, given))


async def worlds(memory: AsyncMemory, count: int, *, keyed: bool = False) -> list[World]:
    return [await World(memory, number).fill(keyed=keyed) for number in range(count)]


async def outcome(verb: Any, *given: Any, **named: Any) -> str:
    """Return "ok", or the code of the error with the grant that it misses."""
    try:
        await verb(*given, **named)
    except OMPError as error:
        return f"{error.code} {(error.details or {}).get('missing', '')}".strip()
    return "ok"


async def error_of(verb: Any, *given: Any, **named: Any) -> tuple[Any, ...]:
    """Return all that an error says, without the id that was asked for."""
    with pytest.raises(OMPError) as caught:
        await verb(*given, **named)
    error = caught.value
    message = error.message.replace(repr(given[0]), "the id") if isinstance(given[0], str) else error.message
    return type(error), message, error.code, error.type, error.provider, error.details


BY_ID = {
    "get": lambda memory, id, **named: memory.get(id, **named),
    "history": lambda memory, id, **named: memory.history(id, **named),
    "update": lambda memory, id, **named: memory.update(id, content="drinks tea", **named),
    "delete": lambda memory, id, **named: memory.delete(id, **named),
}
GONE = "not_found"
ROWS: list[tuple[str, tuple[str, ...], dict[str, str]]] = [
    # verb, grants, outcome for each memory
    ("get", HEALTH, {"health": "ok", "coding": GONE, "plain": GONE, "bobs": GONE, "missing": GONE}),
    ("get", ("read:health",), {"health": GONE, "coding": GONE}),
    ("get", ("write:*", "delete:*"), {"health": GONE, "missing": GONE}),
    ("get", ("admin:coding/*",), {"health": GONE, "coding": "ok"}),
    ("get", (), {"health": GONE, "plain": GONE}),
    ("get", EVERYTHING, {"health": "ok", "coding": "ok", "plain": "ok", "bobs": GONE, "missing": GONE}),
    ("history", HEALTH, {"health": "ok", "coding": GONE, "plain": GONE, "bobs": GONE, "missing": GONE}),
    ("history", ("write:*",), {"health": GONE}),
    ("history", EVERYTHING, {"health": "ok", "plain": "ok", "bobs": GONE}),
    ("update", HEALTH, {"health": "ok", "coding": GONE, "plain": GONE, "bobs": GONE, "missing": GONE}),
    (
        "update",
        ("read:*", "write:health/*"),
        {
            "health": "ok",
            "coding": "scope_denied write:coding/python",
            "plain": "scope_denied write:*",
            "bobs": GONE,
            "missing": GONE,
        },
    ),
    ("update", ("write:*",), {"health": GONE, "plain": GONE, "missing": GONE}),
    ("update", EVERYTHING, {"plain": "ok", "bobs": GONE}),
    ("delete", HEALTH, {"health": "ok", "coding": GONE, "plain": GONE, "bobs": GONE, "missing": GONE}),
    ("delete", ("delete:health/*",), {"health": "ok", "coding": GONE, "missing": GONE}),
    (
        "delete",
        ("read:*", "delete:health/*"),
        {"coding": "scope_denied delete:coding/python", "plain": "scope_denied delete:*", "bobs": GONE},
    ),
    ("delete", ("read:*",), {"health": "scope_denied delete:health/notes", "missing": GONE}),
    ("delete", EVERYTHING, {"plain": "ok", "coding": "ok", "bobs": GONE}),
]


BY_KEY: dict[str, Callable[..., Any]] = {
    "get": lambda memory, key, user: memory.get(key=key, user_id=user),
    "history": lambda memory, key, user: memory.history(key=key, user_id=user),
    "update": lambda memory, key, user: memory.update(key=key, user_id=user, content="drinks tea"),
    "delete": lambda memory, key, user: memory.delete(key=key, user_id=user),
}


async def test_memory_by_key(memory: AsyncMemory) -> None:
    for world, (verb, grants, expected) in zip(await worlds(memory, len(ROWS), keyed=True), ROWS, strict=True):
        caller = world.acting(*grants)
        found = {name: await outcome(BY_KEY[verb], caller, name, world.ann) for name in expected}
        assert found == expected, (verb, grants)  # bob has a memory of the key "bobs", and ann has none


@pytest.mark.parametrize("verb", [*BY_KEY])
async def test_hidden_memory_is_a_missing_one_by_its_key_too(memory: AsyncMemory, verb: str) -> None:
    world = await World(memory).fill(keyed=True)
    for any_user in (False, True):
        caller = world.acting(*HEALTH, any_user=any_user)
        hidden = ("coding", "plain", "bobs", "missing")
        answers = [await error_of(partial(BY_KEY[verb], caller), name, world.ann) for name in hidden]
        assert len(set(map(repr, answers))) == 1
    assert (await caller.get(key="bobs", user_id=world.bob)).id == world.ids["bobs"]


async def test_bound_caller_need_not_name_its_user_for_a_key(memory: AsyncMemory) -> None:
    world = await World(memory).fill(keyed=True)
    caller = world.acting(*EVERYTHING)
    assert (await caller.get(key="plain")).id == world.ids["plain"]
    assert (await caller.update(key="plain", content="drinks tea")).version == 2
    assert len(await caller.history(key="plain")) == 1
    await caller.delete(key="plain")
    with pytest.raises(NotFoundError):
        await memory.get(world.ids["plain"])
    for verb in BY_KEY.values():
        with pytest.raises(InvalidRequestError, match="user_id is required"):
            await verb(world.acting(*EVERYTHING, any_user=True), "health", None)


async def test_memory_by_id(memory: AsyncMemory) -> None:
    for world, (verb, grants, expected) in zip(await worlds(memory, len(ROWS)), ROWS, strict=True):
        caller = world.acting(*grants)
        found = {name: await outcome(BY_ID[verb], caller, world.ids[name]) for name in expected}
        assert found == expected, (verb, grants)


@pytest.mark.parametrize("verb", [*BY_ID])
async def test_hidden_memory_is_exactly_a_missing_one(memory: AsyncMemory, verb: str) -> None:
    world = await World(memory).fill()
    for caller in (world.acting(*HEALTH), world.acting(*HEALTH, any_user=True)):
        answers = [
            await error_of(lambda id, caller=caller: BY_ID[verb](caller, id), world.ids[name])
            for name in ("coding", "plain", "missing")
        ]
        assert answers[0] == answers[1] == answers[2]
        assert len(await memory.history(world.ids["coding"])) == 0
    assert {record.content for record in (await memory.list(world.ann)).items} == {
        f"{name} knows tea" for name in ("health", "coding", "plain")
    }


USER_VERBS: dict[str, Callable[[AsyncMemory, str], Any]] = {
    "add": lambda memory, user: memory.add(content="x", user_id=user, scope="health/x"),
    "add_many": lambda memory, user: memory.add_many([{"content": "x", "scope": "health/x"}], user_id=user),
    "get": lambda memory, user: memory.get(MISSING, user_id=user),
    "update": lambda memory, user: memory.update(MISSING, content="x", user_id=user),
    "delete": lambda memory, user: memory.delete(MISSING, user_id=user),
    "history": lambda memory, user: memory.history(MISSING, user_id=user),
    "get_by_key": lambda memory, user: memory.get(key="k", user_id=user),
    "update_by_key": lambda memory, user: memory.update(key="k", content="x", user_id=user),
    "delete_by_key": lambda memory, user: memory.delete(key="k", user_id=user),
    "history_by_key": lambda memory, user: memory.history(key="k", user_id=user),
    "delete_all": lambda memory, user: memory.delete_all(user, scope="health/*"),
    "list": lambda memory, user: memory.list(user),
    "search": lambda memory, user: memory.search("tea", user),
    "context": lambda memory, user: memory.context("tea", user),
    "audit": lambda memory, user: memory.audit(user),
    "changes": lambda memory, user: memory.changes(user),
    "export": lambda memory, user: memory.export(user),
    "wait_for_ingest": lambda memory, user: memory.wait_for_ingest([MISSING], user),
}


@pytest.mark.parametrize("grants", [HEALTH, (*EVERYTHING, "admin:*")])
async def test_another_user_is_refused_whether_there_is_one_or_not(
    memory: AsyncMemory, grants: tuple[str, ...]
) -> None:
    world = await World(memory).fill()
    caller = world.acting(*grants)
    for name, verb in USER_VERBS.items():
        answers = [await error_of(lambda user, verb=verb: verb(caller, user), user) for user in (world.bob, "nobody")]
        assert answers[0] == answers[1], name
        assert answers[0][:2] == (ScopeDeniedError, "the key is bound to another user"), name


SEEN: list[tuple[tuple[str, ...], str | None, str]] = [
    # grants, scope asked for, what is seen or said
    (HEALTH, None, "health"),
    (HEALTH, "health/*", "health"),
    (HEALTH, "health/notes", "health"),
    (HEALTH, "health/none", ""),
    (HEALTH, "coding/*", "scope_denied read:coding/*"),
    (HEALTH, "*", "scope_denied read:*"),
    (("read:health/notes",), "health/*", "scope_denied read:health/*"),
    (("read:health/*", "read:coding/python"), None, "coding health"),
    (("read:nothing/*",), None, ""),
    (("write:*", "delete:*"), None, "scope_denied read:*"),
    ((), None, "scope_denied read:*"),
    (EVERYTHING, None, "coding health plain"),
    (("admin:*",), "coding/*", "coding"),
]
READERS: dict[str, Callable[..., Any]] = {
    "list": lambda memory, user, scope: memory.list(user, scope=scope),
    "hybrid": lambda memory, user, scope: memory.search("tea", user, scope=scope),
    "vector": lambda memory, user, scope: memory.search("tea", user, scope=scope, mode="vector"),
    "keyword": lambda memory, user, scope: memory.search("tea", user, scope=scope, mode="keyword"),
    "context": lambda memory, user, scope: memory.context("tea", user, scope=scope),
}


def names_in(answer: Any) -> str:
    if hasattr(answer, "text"):
        texts = [line.split("] ")[-1].split(". ")[-1] for line in answer.text.splitlines()]
        return " ".join(sorted(name for name in ("coding", "health", "plain") if any(name in text for text in texts)))
    records: list[MemoryRecord] = [getattr(item, "memory", item) for item in getattr(answer, "items", answer)]
    return " ".join(sorted(record.content.split()[0] for record in records))


@pytest.mark.parametrize("reader", [*READERS])
async def test_reading_many_shows_what_may_be_read(memory: AsyncMemory, reader: str) -> None:
    world = await World(memory).fill()
    for any_user in (False, True):
        for grants, scope, expected in SEEN:
            caller = world.acting(*grants, any_user=any_user)
            try:
                found = names_in(await READERS[reader](caller, world.ann, scope))
            except OMPError as error:
                found = f"{error.code} {(error.details or {})['missing']}"
            assert found == expected, (grants, scope)


WRITES: list[tuple[tuple[str, ...], str | None, str]] = [
    (HEALTH, "health/notes", "ok"),
    (HEALTH, "coding/x", "scope_denied write:coding/x"),
    (HEALTH, None, "scope_denied write:*"),
    (("read:*", "delete:*"), "health", "scope_denied write:health"),
    (("write:*",), None, "ok"),
    (("write:*",), "coding", "ok"),
    (("admin:coding/*",), "coding/x", "ok"),
]


async def test_adding_and_moving_take_the_grant_for_the_new_scope(memory: AsyncMemory) -> None:
    for world, (grants, scope, expected) in zip(await worlds(memory, len(WRITES)), WRITES, strict=True):
        caller = world.acting(*grants)
        many = [{"content": "x", "scope": "health/notes"}, {"content": "y", "scope": scope}]
        assert await outcome(caller.add, content="x", user_id=world.ann, scope=scope) == expected
        if grants == HEALTH:
            assert await outcome(caller.add_many, many, user_id=world.ann) == expected
            assert await outcome(caller.update, world.ids["health"], scope=scope) == expected
        stored = len((await memory.list(world.ann)).items)
        assert stored == 3 + (expected == "ok") * (3 if grants == HEALTH else 1)


async def test_wrong_item_of_a_batch_is_named(memory: AsyncMemory) -> None:
    world = World(memory)
    with pytest.raises(ScopeDeniedError) as denied:
        await world.acting(*HEALTH).add_many([{"content": "x", "scope": "health"}, {"content": "y"}], user_id=world.ann)
    assert denied.value.details == {"missing": "write:*", "index": 1}


async def test_superseding_takes_the_grant_to_write_the_older_memory(memory: AsyncMemory) -> None:
    world = await World(memory).fill()
    caller = world.acting(*HEALTH)
    for verb in (
        lambda id: caller.add(content="x", user_id=world.ann, scope="health", supersedes=[id]),
        lambda id: caller.update(world.ids["health"], supersedes=[id]),
    ):
        answers = [await error_of(verb, world.ids[name]) for name in ("coding", "plain", "bobs", "missing")]
        assert answers[0] == answers[1] == answers[2] == answers[3]
        assert answers[0][2] == "not_found"
    assert names_in(await memory.list(world.ann)) == "coding health plain"
    record = await caller.add(content="newer", user_id=world.ann, scope="health", supersedes=[world.ids["health"]])
    assert names_in(await memory.list(world.ann)) == "coding newer plain"
    assert [old.id for old in await caller.history(record.id)] == [world.ids["health"]]
    # Who may write everywhere may name what is not there yet.
    await world.acting(*EVERYTHING).add(content="x", user_id=world.ann, supersedes=[MISSING])


@pytest.mark.parametrize("memory", NATIVE, indirect=True)
async def test_key_replaces_only_what_may_be_written(memory: AsyncMemory) -> None:
    world = await World(memory).fill()
    caller = world.acting(*HEALTH)
    hidden = await memory.add(content="secret", user_id=world.ann, scope="coding", key="mine")
    with pytest.raises(ScopeDeniedError) as denied:
        await caller.add(content="x", user_id=world.ann, scope="health", key="mine")
    assert "coding" not in str(denied.value.to_envelope())
    assert (await memory.get(hidden.id)).content == "secret"
    first = await caller.add(content="x", user_id=world.ann, scope="health", key="own")
    again = await caller.add(content="y", user_id=world.ann, scope="health", key="own")
    assert (again.id, again.version) == (first.id, 2)
    batch = [{"content": "new", "scope": "health"}, {"content": "z", "scope": "health", "key": "mine"}]
    assert await outcome(caller.add_many, batch, user_id=world.ann) == "scope_denied"
    assert "new" not in [record.content for record in (await memory.list(world.ann)).items]


@pytest.mark.parametrize("memory", NATIVE, indirect=True)
async def test_terms_tell_nothing_of_a_memory_that_may_not_be_written(memory: AsyncMemory) -> None:
    world = await World(memory).fill(keyed=True)
    caller = world.acting(*HEALTH)
    for terms in ({"if_absent": True}, {"if_version": 1}, {"if_version": 2}):
        with pytest.raises(ScopeDeniedError) as denied:
            await caller.add("x", user_id=world.ann, scope="health", key="coding", **terms)
        assert world.ids["coding"] not in str(denied.value.to_envelope())
    with pytest.raises(AlreadyExistsError) as exists:
        await caller.add("x", user_id=world.ann, scope="health", key="health", if_absent=True)
    assert exists.value.details == {"id": world.ids["health"], "version": 1}


@pytest.mark.parametrize("memory", ["outside"], indirect=True)
async def test_key_is_refused_if_the_memory_under_it_cannot_be_checked(memory: AsyncMemory) -> None:
    world = World(memory)
    add = {"content": "x", "user_id": world.ann, "scope": "health", "key": "k"}
    assert await outcome(world.acting(*HEALTH).add, **add) == "unsupported_capability"
    assert await outcome(world.acting(*EVERYTHING).add, **add) == "ok"


async def test_history_shows_only_states_that_may_be_read(memory: AsyncMemory) -> None:
    world = await World(memory).fill()
    oldest = await memory.add(content="oldest", user_id=world.ann, scope="health")
    hidden = await memory.add(content="secret", user_id=world.ann, scope="coding", supersedes=[oldest.id])
    newest = await memory.add(content="first", user_id=world.ann, scope="coding", supersedes=[hidden.id])
    await memory.update(newest.id, content="second", scope="health")
    await memory.update(newest.id, content="third")
    states = await world.acting(*HEALTH).history(newest.id)
    assert [state.content for state in states] == ["second"]
    assert len(await world.acting(*EVERYTHING).history(newest.id)) == 4


async def test_waiting_for_hidden_memories_is_waiting_for_missing_ones(memory: AsyncMemory) -> None:
    world = await World(memory).fill()
    caller = world.acting(*HEALTH)
    await caller.wait_for_ingest([world.ids["health"]], world.ann)
    answers = [
        await error_of(lambda id: caller.wait_for_ingest([id], world.ann), world.ids[name])
        for name in ("coding", "plain", "bobs", "missing")
    ]
    assert answers[0] == answers[1] == answers[2] == answers[3]


WHOLE: list[tuple[str, tuple[str, ...], bool, str]] = [
    # verb, grants, for any user, outcome
    ("delete_all", HEALTH, False, "scope_denied delete:*"),
    ("delete_all", ("delete:*",), False, "ok"),
    ("delete_part", HEALTH, False, "ok"),
    ("delete_part", ("read:*", "delete:health/notes"), False, "scope_denied delete:health/*"),
    ("audit", HEALTH, False, "scope_denied read:*"),
    ("audit", ("read:*",), False, "ok"),
    ("audit", ("write:*",), True, "scope_denied read:*"),
    ("changes", HEALTH, False, "ok"),
    ("changes", ("write:*",), True, "scope_denied read:*"),
    ("changes_of_all", HEALTH, False, "ok"),
    ("changes_of_all", EVERYTHING, True, "scope_denied admin:*"),
    ("changes_of_all", ("admin:*",), True, "ok"),
    ("export", HEALTH, False, "scope_denied read:*"),
    ("export", ("read:*",), False, "ok"),
    ("export_own", ("read:*",), False, "ok"),
    ("export_own", ("read:*",), True, "scope_denied admin:*"),
    ("export_own", ("admin:*",), True, "ok"),
    ("import", HEALTH, False, "scope_denied write:*"),
    ("import", ("write:*",), False, "ok"),
    ("import_bobs", ("admin:*",), False, "scope_denied"),
    ("import_bobs", ("write:*",), True, "ok"),
    ("reembed", ("admin:*",), False, "scope_denied"),
    ("reembed", EVERYTHING, True, "scope_denied admin:*"),
    ("reembed", ("admin:*",), True, "ok"),
    ("maintain", ("admin:*",), False, "scope_denied"),
    ("maintain", EVERYTHING, True, "scope_denied admin:*"),
    ("maintain", ("admin:*",), True, "ok"),
    ("capabilities", (), False, "ok"),
    ("health", (), False, "ok"),
]


async def test_verbs_over_everything(memory: AsyncMemory) -> None:
    for world, (verb, grants, any_user, expected) in zip(await worlds(memory, len(WHOLE)), WHOLE, strict=True):
        caller = world.acting(*grants, any_user=any_user)
        lines = (await memory.export(world.bob if verb.endswith("bobs") else world.ann)).lines
        action = whole_verbs(caller, world.ann, lines)[verb.removesuffix("_bobs")]
        assert await outcome(action) == expected, (verb, grants)


def whole_verbs(caller: AsyncMemory, user: str, lines: list[str]) -> dict[str, Callable[[], Any]]:
    return {
        "delete_all": lambda: caller.delete_all(user),
        "delete_part": lambda: caller.delete_all(user, scope="health/*"),
        "audit": lambda: caller.audit(user),
        "changes": lambda: caller.changes(user),
        "changes_of_all": lambda: caller.changes(),
        "export": lambda: caller.export(user),
        "export_own": lambda: caller.export(),
        "import": lambda: caller.import_(lines),
        "reembed": lambda: caller.reembed(),
        "maintain": lambda: caller.maintain(dry_run=True),
        "capabilities": lambda: caller.capabilities(),
        "health": lambda: caller.health(),
    }


async def test_export_of_a_bound_caller_is_its_own(memory: AsyncMemory) -> None:
    world = await World(memory).fill()
    header, *lines = (await world.acting("read:*").export()).lines
    expected, *others = (await memory.export(world.ann)).lines
    assert lines == others
    assert {**json.loads(header), "exported_at": ""} == {**json.loads(expected), "exported_at": ""}


async def test_health_counts_nothing_for_others(memory: AsyncMemory) -> None:
    world = await World(memory).fill()
    assert (await world.acting(*EVERYTHING).health()).detail == {}
    assert (await world.acting("admin:*", any_user=True).health()).detail != {}


async def test_pages_of_one_caller_are_no_pages_of_another(memory: AsyncMemory) -> None:
    world = World(memory)
    for number in range(14):
        scope = ("health/a", "coding", "work/b/c", None)[number % 4]
        await memory.add(content=f"{number}", user_id=world.ann, scope=scope)
    caller, found, cursor = world.acting("read:health/*", "read:work/*"), [], None
    while True:
        page = await caller.list(world.ann, limit=3, cursor=cursor)
        found += [int(record.content) for record in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        for other in (world.acting("read:*"), world.acting("read:health/*"), memory):
            with pytest.raises(InvalidRequestError, match="malformed cursor"):
                await other.list(world.ann, limit=3, cursor=cursor)
    assert found == [12, 10, 8, 6, 4, 2, 0]


async def test_search_takes_its_best_among_what_may_be_read(memory: AsyncMemory) -> None:
    world = World(memory)
    await memory.add_many([{"content": f"tea tea {n}", "scope": "coding"} for n in range(60)], user_id=world.ann)
    await memory.add(content="a long note in which tea comes once, late and by the way", user_id=world.ann, scope="w/x")
    await memory.add(content="another note with tea", user_id=world.ann, scope="health")
    caller = world.acting("read:w/*", "read:health")
    for mode in ("vector", "keyword", "hybrid"):
        results = await caller.search("tea", world.ann, limit=5, mode=mode)
        assert {result.memory.scope for result in results} == {"w/x", "health"}


async def test_same_id_of_two_users_does_not_tell_of_hidden_memories(memory: AsyncMemory) -> None:
    world = World(memory)
    record = await memory.add(content="x", user_id=world.ann, scope="coding")
    lines = (await memory.export(world.ann)).lines
    for user_id in (world.ann, world.bob):
        await memory.import_([line.replace(world.ann, user_id).replace(record.id, "same") for line in lines])
    caller = world.acting(*HEALTH, any_user=True)
    for verb in BY_ID.values():
        answers = [await error_of(lambda id, verb=verb: verb(caller, id), id) for id in ("same", "missing")]
        assert answers[0] == answers[1]
