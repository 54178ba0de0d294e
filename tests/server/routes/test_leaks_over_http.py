"""A state machine that looks for one leak over HTTP: no caller learns anything of what their key does not reach."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from openmem import ServerStore
from tests.access_worlds import make_access
from tests.server.process import started
from tests.server.running import Place, RouteOptions, running_with_store

SCOPES = [None, "health", "health/notes", "healthy", "coding/rust", "work/a"]
PATTERNS = [None, "*", "health/*", "health", "coding/*", "work/*"]
WORDS = ["tea", "coffee", "rust", "doctor", "sugar", "pain"]
# Whose memories (those of one of two users, or all), what may be done with them, and which of them share grants.
KEYS = [
    (None, "admin:*"),
    (0, "read:* write:* delete:*"),
    (0, "read:health/* write:health/* delete:health/*"),
    (0, "read:health/* write:health/* delete:health/*"),
    (None, "read:coding/* read:health/notes delete:coding/rust"),
    (1, "write:work/* delete:work/*"),
    (1, "read:* write:work/*"),
]
ROOT = 0
PLACE = st.integers(0, 10_000)
SCOPE = st.sampled_from(SCOPES)
USER = st.sampled_from([0, 1])
WHO = st.integers(1, len(KEYS) - 1)
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
DROPPED = ("x-request-id", "date")


class Caller:
    """A key: what it may do, and how it asks."""

    def __init__(self, client: httpx.Client, headers: dict[str, str], user_id: str | None, grants: str) -> None:
        self.client = client
        self.headers = headers
        self.user_id = user_id
        self.access = make_access(user_id, grants)

    def may(self, verb: Any, user_id: str, scope: str | None) -> bool:
        return self.user_id in (None, user_id) and self.access.may(verb, scope)

    def touches(self, user_id: str, scope: str | None) -> bool:
        return any(self.may(verb, user_id, scope) for verb in ("read", "write", "delete"))

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send a request; names of headers have underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, path, json=body, headers={**self.headers, **named})


def said(reply: httpx.Response, **names: str) -> tuple[int, list[tuple[str, str]], str]:
    """Return every byte of a reply, but for the request's own id and the names that were used in it."""
    text, headers = reply.text.replace(reply.headers["x-request-id"], ""), []
    for name, value in reply.headers.items():
        if name not in DROPPED:
            headers.append((name, value))
    for value in names.values():
        text = text.replace(value, "…")
    return reply.status_code, sorted(headers), text


def requests_for(name: str, user_id: str | None = None) -> list[tuple[Any, ...]]:
    """Return every request that names one memory, by its id or as `by-key/KEY`."""
    query = f"?user_id={user_id}" if user_id else ""
    version = {"If_None_Match": '"1"'}
    return [
        ("GET", f"/memories/{name}{query}", None, {}),
        ("HEAD", f"/memories/{name}{query}", None, {}),
        ("GET", f"/memories/{name}{query}", None, version),
        ("GET", f"/memories/{name}{query}", None, {"If_None_Match": "*"}),
        ("GET", f"/memories/{name}/history{query}", None, {}),
        ("PATCH", f"/memories/{name}{query}", {"content": "taken over"}, {}),
        ("PATCH", f"/memories/{name}{query}", {"content": "taken over"}, {"If_Match": '"1"'}),
        ("PATCH", f"/memories/{name}{query}", {"content": "taken over"}, {"If_Match": '"77"'}),
        ("DELETE", f"/memories/{name}{query}", None, {}),
    ]


def requests_of(user_id: str) -> list[tuple[Any, ...]]:
    """Return every request that names a user."""
    return [
        ("GET", f"/memories?user_id={user_id}", None),
        ("GET", f"/memories/search?q=tea&user_id={user_id}", None),
        ("POST", "/memories/search", {"q": "tea", "user_id": user_id}),
        ("POST", "/context", {"query": "tea", "user_id": user_id}),
        ("GET", f"/audit?user_id={user_id}", None),
        ("GET", f"/changes?limit=1000&user_id={user_id}", None),
        ("GET", f"/export?user_id={user_id}", None),
        ("GET", f"/export?limit=1&user_id={user_id}", None),
        ("DELETE", f"/memories?user_id={user_id}", None),
        ("DELETE", f"/memories?scope=health/*&user_id={user_id}", None),
        ("POST", "/memories", {"content": "tea", "user_id": user_id}),
        ("POST", "/memories/batch", {"items": [{"content": "tea"}], "user_id": user_id}),
        ("POST", "/memories/wait", {"ids": ["mem_1"], "user_id": user_id}),
    ]


class Leaks(RuleBasedStateMachine):
    """Keeps a model of what is stored; a key's answers must follow from the part of it that the key reaches."""

    numbers: ClassVar[itertools.count[int]] = itertools.count()

    def __init__(self, place: Place, client: httpx.Client) -> None:
        super().__init__()
        number = next(self.numbers)
        self.users = [f"ann-{number:06}", f"bob-{number:06}"]
        self.nobody = f"eve-{number:06}"
        self.callers: list[Caller] = []
        for user, grants in KEYS:
            user_id = None if user is None else self.users[user]
            headers = place.key(*grants.split(), user_id=user_id, app=f"app-{len(self.callers)}-{number}")
            self.callers.append(Caller(client, headers, user_id, grants))
        self.root = self.callers[ROOT]
        self.stored: dict[str, tuple[str, str | None]] = {}
        self.contents: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.serial = itertools.count(number * 1_000)

    @initialize(memories=st.lists(st.tuples(USER, SCOPE, TEXT), min_size=6, max_size=14))
    def begin(self, memories: list[tuple[int, str | None, str]]) -> None:
        """Begin with enough to hide something."""
        for user, scope, text in memories:
            self.add(user, scope, text)

    @rule(user=USER, scope=SCOPE, text=TEXT)
    def adds(self, user: int, scope: str | None, text: str) -> None:
        """A caller who may do everything adds a memory."""
        self.add(user, scope, text)

    @rule(who=WHO, place=PLACE, named=st.booleans())
    def asks_for_one_memory(self, who: int, place: int, named: bool) -> None:
        """To a key, a memory out of its reach is in every byte one that was never there; what it may read, it gets."""
        caller, (id, (owner, scope)) = self.callers[who], self.picked(place)
        user_id, key = owner if named else None, self.keys.get(id)
        if caller.touches(owner, scope):
            readable = caller.may("read", owner, scope)
            for name in [id, *([f"by-key/{key}?user_id={owner}"] if key else [])]:
                reply = caller.ask("GET", f"/memories/{name}")
                assert reply.status_code == (200 if readable else 404)
                assert not readable or reply.json()["content"] == self.contents[id]
            return
        missing = f"{id[:-4]}0000" if not id.endswith("0000") else f"{id[:-4]}1111"
        for real, unreal in zip(requests_for(id, user_id), requests_for(missing, user_id), strict=True):
            self.same(caller, real, unreal, id=id, missing=missing)
        if key is not None:
            none = f"n{key[1:]}"
            there, missing_key = (requests_for(f"by-key/{name}", owner) for name in (key, none))
            for real, unreal in zip(there, missing_key, strict=True):
                self.same(caller, real, unreal, key=key, none=none)
        for path, body in self.bodies_that_name(caller, user_id):
            real, unreal = (("POST", path, json.loads(body.replace("ID", name)), {}) for name in (id, missing))
            self.same(caller, real, unreal, id=id, missing=missing)
        assert self.root.ask("GET", f"/memories/{id}").json()["content"] == self.contents[id]

    def bodies_that_name(self, caller: Caller, user_id: str | None) -> list[tuple[str, str]]:
        owner = json.dumps(user_id or caller.user_id or self.users[0])
        scope = json.dumps(next((s for s in SCOPES if s and caller.may("write", caller.user_id or "", s)), "health"))
        return [
            ("/memories/wait", f'{{"ids":["ID"],"user_id":{owner}}}'),
            ("/memories", f'{{"content":"x","scope":{scope},"supersedes":["ID"],"user_id":{owner}}}')
            if not caller.access.may("write", None)
            else ("/memories/wait", f'{{"ids":["ID","mem_2"],"user_id":{owner}}}'),
        ]

    @rule(who=WHO, user=USER, scope=st.sampled_from(PATTERNS), limit=st.integers(1, 4))
    def lists(self, who: int, user: int, scope: str | None, limit: int) -> None:
        """A listing has exactly the memories that the key may read, on exactly as many pages as they need."""
        caller, owner = self.callers[who], self.users[user]
        parameters: dict[str, Any] = {"user_id": owner, "limit": limit, **({"scope": scope} if scope else {})}
        pages = self.pages(caller, "/memories", parameters)
        if pages is None:
            return
        found = [item["id"] for page in pages for item in page["items"]]
        wanted = {id for id in self.readable(caller, owner) if scope is None or self.fits(id, scope)}
        assert len(found) == len(set(found))
        assert set(found) == wanted
        assert len(pages) == max(1, -(-len(wanted) // limit))

    @rule(who=WHO, user=USER, place=PLACE, scope=SCOPE, text=TEXT)
    def hidden_change(self, who: int, user: int, place: int, scope: str | None, text: str) -> None:
        """Changes where a key does not reach leave all its answers as they were, to the byte."""
        caller, owner = self.callers[who], self.users[user]
        if caller.touches(owner, scope):
            return
        before = self.everything(caller)
        id = self.add(user, scope, text)
        assert self.everything(caller) == before
        self.root.ask("PATCH", f"/memories/{id}", {"content": f"{text} anew", "tags": ["tea"]})
        assert self.everything(caller) == before
        self.root.ask("DELETE", f"/memories/{id}")
        del self.stored[id]
        assert self.everything(caller) == before

    @rule(who=WHO, user=USER)
    def asks_about_somebody_else(self, who: int, user: int) -> None:
        """Another user and a user who was never there get a bound key the very same answers."""
        caller, owner = self.callers[who], self.users[user]
        if caller.user_id in (None, owner):
            return
        for real, unreal in zip(requests_of(owner), requests_of(self.nobody), strict=True):
            answer = self.same(caller, (*real, {}), (*unreal, {}), owner=owner, nobody=self.nobody)
            assert answer[0] == 403

    @rule(who=WHO, other=WHO, user=USER, text=TEXT, alike=st.booleans())
    def repeats(self, who: int, other: int, user: int, text: str, alike: bool) -> None:
        """An `Idempotency-Key` is the caller's own: none gets another's answer, nor learns that there is one."""
        first, second, owner = self.callers[who], self.callers[other], self.users[user]
        key = {"Idempotency_Key": f"k{next(self.serial)}"}
        body = {"content": f"{text} secret{next(self.serial)}", "user_id": owner, "scope": "work/a"}
        made = first.ask("POST", "/memories", body, **key)
        assert made.status_code == (201 if first.may("write", owner, "work/a") else 403)
        again = first.ask("POST", "/memories", body, **key)
        if made.status_code == 201:
            self.remember(made, body["content"])
            assert again.headers["idempotent-replayed"] == "true"
            assert again.content == made.content
        if first is second:
            return
        tried = body if alike else {**body, "content": f"{text} secret{next(self.serial)}"}
        fresh = {"Idempotency_Key": f"k{next(self.serial)}"}
        reply, control = second.ask("POST", "/memories", tried, **key), second.ask("POST", "/memories", tried, **fresh)
        if second.may("write", owner, "work/a"):
            assert "idempotent-replayed" not in reply.headers
            self.adopt(reply, tried["content"])
            self.adopt(control, tried["content"])
        else:
            assert said(reply) == said(control)

    @rule(who=WHO, other=WHO, user=USER, path=st.sampled_from(["/memories", "/export"]))
    def swaps_cursors(self, who: int, other: int, user: int, path: str) -> None:
        """A cursor opens nothing that the key behind it does not open by itself."""
        first, second, owner = self.callers[who], self.callers[other], self.users[user]
        reply = first.ask("GET", f"{path}?user_id={owner}&limit=1")
        if reply.status_code != 200:
            return
        cursor = reply.headers.get("x-next-cursor") or (path == "/memories" and reply.json().get("next_cursor"))
        if not cursor:
            return
        got = second.client.get(path, params={"user_id": owner, "limit": 5, "cursor": cursor}, headers=second.headers)
        if got.status_code == 200:
            assert second.access.patterns("read") == first.access.patterns("read")
            assert second.may("read", owner, None) or path == "/memories"
            self.holds_nothing_hidden(second, got.text)
        else:
            assert got.status_code in (400, 403)
            assert owner not in got.text

    @rule(who=WHO, user=USER)
    def reads_the_journal(self, who: int, user: int) -> None:
        """The audit log is for those who may read all that a user has, and names no other user's memories."""
        caller, owner = self.callers[who], self.users[user]
        reply = caller.ask("GET", f"/audit?user_id={owner}&limit=1000")
        assert reply.status_code == (200 if caller.may("read", owner, None) and self.reads_all(caller) else 403)
        for id, (whose, _) in self.stored.items():
            assert whose == owner or id not in reply.text

    @rule(who=WHO)
    def asks_for_the_whole_store(self, who: int) -> None:
        """Only a key for everything may have everything."""
        caller = self.callers[who]
        replies = [caller.ask("GET", "/export"), caller.ask("GET", "/export?limit=3"), caller.ask("POST", "/reembed")]
        for reply in replies:
            self.holds_nothing_hidden(caller, reply.text)
            assert reply.status_code == 403 or (caller.user_id and self.reads_all(caller) and reply.status_code == 200)

    def teardown(self) -> None:
        """At the end, look at everything once more."""
        for caller in self.callers[1:]:
            for reply in self.everything(caller):
                self.holds_nothing_hidden(caller, reply[2])
                assert "taken over" not in reply[2]

    def add(self, user: int, scope: str | None, text: str) -> str:
        number = next(self.serial)
        content, key = f"{text} secret{number}", f"k{number}"
        body = {"content": content, "user_id": self.users[user], "scope": scope, "key": key}
        reply = self.root.ask("POST", "/memories", body, If_None_Match="*")
        assert reply.status_code == 201
        id = self.remember(reply, content)
        self.keys[id] = key
        return id

    def remember(self, reply: httpx.Response, content: str) -> str:
        record = reply.json()
        self.stored[record["id"]] = (record["user_id"], record.get("scope"))
        self.contents[record["id"]] = content
        return str(record["id"])

    def adopt(self, reply: httpx.Response, content: str) -> None:
        assert reply.status_code == 201
        assert reply.json()["id"] not in self.stored, "the answer of another key"
        self.remember(reply, content)

    def picked(self, place: int) -> tuple[str, tuple[str, str | None]]:
        return [*self.stored.items()][place % len(self.stored)]

    def reads_all(self, caller: Caller) -> bool:
        return caller.access.patterns("read") is None

    def readable(self, caller: Caller, owner: str) -> set[str]:
        return {id for id, (whose, scope) in self.stored.items() if whose == owner and caller.may("read", whose, scope)}

    def fits(self, id: str, pattern: str) -> bool:
        scope = self.stored[id][1]
        if pattern == "*":
            return True
        base = pattern.removesuffix("/*")
        return scope == base or (pattern != base and scope is not None and scope.startswith(f"{base}/"))

    def same(self, caller: Caller, real: Any, unreal: Any, **names: str) -> tuple[int, Any, str]:
        answers = [said(caller.ask(*asked[:3], **asked[3]), **names) for asked in (real, unreal)]
        assert answers[0] == answers[1], real[:2]
        assert answers[0][0] in (400, 403, 404), real[:2]
        return answers[0]

    def pages(self, caller: Caller, path: str, parameters: dict[str, Any]) -> list[Any] | None:
        pages, cursor = [], None
        while True:
            given = {**parameters, **({"cursor": cursor} if cursor else {})}
            reply = caller.client.get(path, params=given, headers=caller.headers)
            self.holds_nothing_hidden(caller, reply.text)
            if reply.status_code != 200:
                assert reply.status_code == 403
                return None
            pages.append(reply.json())
            cursor = pages[-1].get("next_cursor")
            if cursor is None:
                return pages

    def everything(self, caller: Caller) -> list[tuple[int, Any, str]]:
        """Return all that a key can see of both users, and of the store."""
        asked: list[tuple[Any, ...]] = [("GET", "/capabilities")]
        for owner in self.users:
            asked += [
                ("GET", f"/memories?user_id={owner}&limit=2&include_superseded=true"),
                ("GET", f"/memories?user_id={owner}&scope=health/*"),
                ("GET", f"/memories/search?user_id={owner}&q=the+doctor+drinks+tea&explain=true"),
                ("GET", f"/memories/search?user_id={owner}&q=rust&mode=keyword&scope=coding/*"),
                ("GET", f"/changes?user_id={owner}&limit=1000"),
                ("POST", "/context", {"query": "sugar and coffee", "user_id": owner}),
                ("DELETE", f"/memories?user_id={owner}&scope=unused/*"),
            ]
        return [self.answer(caller, *one) for one in asked if one[0] != "DELETE"]

    def answer(self, caller: Caller, method: str, path: str, body: Any = None) -> tuple[int, Any, str]:
        """Return the reply to a key. One that reads all of a user gets a cursor that its own reads move on."""
        reply = caller.ask(method, path, body)
        if path.startswith("/changes") and reply.is_success and caller.access.patterns("read") is None:
            return reply.status_code, [], json.dumps(reply.json()["items"])
        return said(reply, when=str(datetime.now(UTC).year))

    def holds_nothing_hidden(self, caller: Caller, text: str) -> None:
        for id, (owner, scope) in self.stored.items():
            if not caller.may("read", owner, scope):
                assert id not in text
                assert self.contents[id] not in text


@contextmanager
def server_of(name: str, folder: Path, url: str) -> Iterator[tuple[Place, httpx.Client]]:
    """Serve an empty store, with a client that judges nothing by itself."""
    memories = url if name == "postgres" else f"sqlite:///{folder / 'memories.db'}"
    options = RouteOptions(open_without_keys=False)
    with (
        running_with_store(memories, f"sqlite:///{folder / 'server.db'}", options=options) as place,
        httpx.Client(base_url=place.client.base_url, timeout=15) as client,
    ):
        yield place, client


AT_LENGTH = [pytest.mark.long, pytest.mark.timeout(240)]


@pytest.mark.parametrize(
    ("name", "examples", "steps"),
    [
        ("sqlite", 5, 16),
        ("postgres", 1, 14),
        pytest.param("sqlite", 150, 30, marks=AT_LENGTH),
        pytest.param("postgres", 60, 30, marks=AT_LENGTH),
    ],
)
def test_no_answer_tells_of_what_a_key_does_not_reach(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, examples: int, steps: int
) -> None:
    url = request.getfixturevalue("postgres_url") if name == "postgres" else ""
    with server_of(name, tmp_path, url) as (place, client):
        machine: Any = partial(Leaks, place, client)
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


def test_keys_that_do_not_work_get_one_answer_whatever_the_reason(keyed_server: Place, user: str) -> None:
    keyed_server.client.post("/memories", json={"content": "a", "user_id": user}, headers=keyed_server.key())
    past = datetime.now(UTC) - timedelta(days=2)
    named: dict[str, Any] = {"app": "old", "user_id": user, "grants": ["admin:*"]}
    expired = keyed_server.store.create_key(**named, now=past, expires_at=past + timedelta(days=1))
    revoked = keyed_server.store.create_key(**named)
    keyed_server.store.revoke_key(revoked.info.id)
    secrets = [expired.secret, revoked.secret, f"{expired.secret[:-1]}-", "omp_aaaaaaaaaaaa_" + "a" * 43]
    for method, path, *rest in [*requests_of(user), *requests_for("mem_1", user)]:
        body = rest[0] if rest else None
        answers = [
            said(keyed_server.client.request(method, path, json=body, headers={"Authorization": f"Bearer {secret}"}))
            for secret in secrets
        ]
        assert answers[0][0] == 401
        assert all(answer == answers[0] for answer in answers)


def test_memory_of_another_user_costs_the_very_statements_of_a_missing_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **named)
        if "memories.db" in str(args[0] if args else named):
            connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    with server_of("sqlite", tmp_path, "") as (place, client):
        body = {"content": "tea", "user_id": "ann", "scope": "health"}
        id = client.post("/memories", json=body, headers=place.key()).json()["id"]
        missing = f"{id[:-4]}0000"
        strangers = [place.key("admin:*", user_id="bob"), place.key("read:work/*", "write:work/*", "delete:work/*")]
        for headers, number in itertools.product(strangers, range(len(requests_for(id)))):
            traces = []
            for name in (id, missing):
                method, path, given, more = requests_for(name)[number]
                named = {key.replace("_", "-"): value for key, value in more.items()}
                client.get("/memories/mem_1", headers=headers)  # what is left over from before is done by now
                statements.clear()
                reply = client.request(method, path, json=given, headers={**headers, **named})
                assert reply.status_code == 404
                traces.append([line.replace(name, "?") for line in statements])
            assert traces[0], "nothing was traced"
            assert traces[0] == traces[1]


def test_rate_of_one_key_is_nothing_to_another(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'server.db'}"
    with ServerStore(url) as store:
        keys = [store.create_key(app="a", user_id=name, grants=["admin:*"]).secret for name in ("ann", "bob")]
    first, second = ({"authorization": f"Bearer {key}"} for key in keys)
    place = ["--url", f"sqlite:///{tmp_path / 'memories.db'}", "--store", url, "--rate-limit", "3"]
    with started(*place) as server:
        statuses = [server.ask("GET", "/memories", **first).status for _ in range(6)]
        assert statuses.count(429) >= 1
        assert statuses[0] == 200
        reply = server.ask("GET", "/memories", **second)
        assert reply.status == 200
        assert "retry-after" not in reply.headers
