"""Every statement and every key on Postgres is routed by the user's bucket, so the tables can be spread over servers.

What counts is what the provider really sends: all verbs run once on partitioned tables and every statement is
recorded. Its text must name the bucket for every table, and its plan must touch one partition of each.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import psycopg
import pytest

import openmem._sql.postgres
from openmem import InvalidRequestError, Memory, NotFoundError, OpenAIEmbedder
from openmem._io.postgres.database import Pg
from openmem._model.access import Access, IdempotencySeed
from openmem._model.ids import routing_bucket
from openmem._model.scopes import parse_grant
from openmem._rules.drafting import make_draft
from openmem._sql.postgres import write as write_steps
from openmem._sql.postgres.hnsw_trials import TRIALS
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import Row32
from openmem._sql.steps import Many, Query
from openmem._sql.writing import Incoming, Stamp
from openmem._sync.retention import postgres as postgres_retention
from openmem.errors import UnsupportedCapabilityError
from openmem.testing import HashEmbedder
from openmem.testing.postgres import PostgresServer
from tests.openai_stub import OpenAIStub
from tests.postgres_partitions import TABLES, make_partitions
from tests.postgres_recorder import Record, Sent, explain, recorded

UNROUTED = {
    "write.owners": (1, "an id whose form does not tell the bucket, without a user"),
    "portable.export_page": (1, "export of all users"),
    "reembed.progress": (6, "how far the move of all users to another model is, for each of three lengths"),
    "overview.users": (3, "the users of a store, with counts: by prefix, a page, and the one after it"),
    "feed.page": (1, "the feed of all users"),
    "models.other": (1, "whether a store without an embedder has vectors of a model, which those of another must know"),
    "reembed.next_user": (3, "the walk over all users, for each of three lengths"),
}
"""The statements that may ask all partitions, how many, and why. No verb of one user is among them."""

DEFINES = {"migrate.apply", "migrate.create_extension", "hnsw.make_index", "hnsw.drop_index"}
"""The modules whose statements define tables and indexes."""

DATA = ("select", "insert", "update", "delete", "with")
MENTION = re.compile(rf"(insert into|from|join|update|delete from) openmem\.({'|'.join(TABLES)})\b(\([^)]*\)| \w+)?")
KEYWORDS = {"where", "set", "values", "order", "on", "limit", "for", "group"}


def use_every_verb(url: str) -> None:
    with Memory(url=url, embedder=HashEmbedder(), hnsw=True, hnsw_from=1) as memory:
        write(memory)
        read(memory)
        move(memory)
        maintain(memory)
        memory.delete_all("ann", where={"lang": {"$in": ["py", "js"]}, "n": {"$gt": 1}})
        memory.delete_all("ann", scope="work/*")
        memory.delete_all("bob")
    with Memory(url=url, embedder="none") as memory:
        memory.add(content="without a vector", user_id="dan")
        memory.search("vector", "dan")
        with suppress(InvalidRequestError):
            memory.add("brings a vector of another model", user_id="dan", embedding={"model": "m", "vector": [1.0]})
    for embedder in (HashEmbedder(16, model=HashEmbedder().model), HashEmbedder(model="another")):
        with Memory(url=url, embedder=embedder) as memory:
            memory.reembed()
    with OpenAIStub() as stub, Memory(url=url, embedder=short_sighted(stub)) as memory:
        memory.reembed()


def short_sighted(stub: OpenAIStub) -> OpenAIEmbedder:
    """Return an embedder that takes the beginning of a text only."""
    return OpenAIEmbedder("short", base_url=stub.url, api_key="k", max_text_tokens=4, max_text_chars=4)


def write(memory: Memory) -> None:
    first = memory.add(content="tea is hot", user_id="ann", scope="work/tea", tags=["drink"])
    for content in ("green tea", "black tea"):
        memory.add(content=content, user_id="ann", key="tea")
    newer = memory.add(content="tea is cold", user_id="ann", supersedes=[first.id])
    memory.update(newer.id, user_id="ann", content="tea is lukewarm")
    memory.update(newer.id, supersedes=[], if_version=2)
    memory.update(newer.id)
    memory.update(newer.id, supersedes=[first.id])
    memory.update(first.id, supersedes=[newer.id])  # a circle
    memory.update(first.id, supersedes=None)
    seeded = memory.for_caller(seed=IdempotencySeed(datetime.now(UTC), 7))
    for content in ("mint tea", "mint tea"):
        seeded.add(content=content, user_id="ann", key="tea")
    memory.add(content="no tea", user_id="ann", key="tea")
    seeded.add(content="mint tea", user_id="ann", key="tea")  # is an earlier version meanwhile
    limited = memory.for_caller(access=Access("ann", (parse_grant("read:work/*"), parse_grant("write:work/*"))))
    limited.add(content="tea is warm", user_id="ann", scope="work/tea", supersedes=[first.id])
    gone = memory.add_many([{"content": f"note {number}", "user_id": "bob"} for number in range(80)])[0]
    memory.add(content="tea " * 20_000, user_id="ann", scope="work/tea", tags=["drink"])  # is read by itself
    memory.delete(gone.id)
    memory.delete(memory.add(content="short", user_id="ann").id, user_id="ann")


def read(memory: Memory) -> None:
    for _ in range(TRIALS + 1):  # only an index that has proved itself answers
        memory.search("note 7", "bob", mode="vector", limit=1)
    page = memory.list("bob", limit=2)
    memory.list("bob", limit=2, cursor=page.next_cursor)
    memory.list("ann", scope="work/*", since=page.items[0].created_at, include_superseded=True)
    memory.scopes("ann", prefix="work", depth=1)
    memory.tags("ann", scope="work/*")
    memory.users(prefix="a")
    memory.users(limit=1, cursor=memory.users(limit=1).next_cursor)
    for order in ("updated", "valid_from"):
        page = memory.list("bob", limit=2, order=order)
        memory.list("bob", limit=2, order=order, cursor=page.next_cursor)
    memory.get(page.items[0].id)
    memory.get(page.items[0].id, user_id="bob")
    with pytest.raises(NotFoundError):
        memory.get("foreign")
    for mode in ("vector", "keyword", "hybrid"):
        memory.search("note tea", "bob", mode=mode)
        memory.search("note tea", "bob", mode=mode, limit=200, offset=120)
        memory.search("tea", "ann", mode=mode, scope="work/*", tags=["drink"])
        memory.search("tea", "ann", mode=mode, include_superseded=True, as_of=page.items[0].created_at)
    memory.context("tea", "ann", token_budget=100)
    memory.history(memory.list("ann").items[0].id)
    memory.audit("ann", app="kit", since=page.items[0].created_at)
    with suppress(UnsupportedCapabilityError):  # where the tables are spread
        memory.changes("ann")
        memory.changes()
    memory.wait_for_ingest([page.items[0].id], "bob")
    memory.health()


def move(memory: Memory) -> None:
    whole = memory.export(limit=500)
    memory.export(limit=1, cursor=memory.export(limit=1).next_cursor)
    lines = memory.export("ann").lines
    for conflict in ("skip", "overwrite", "duplicate"):
        memory.import_(lines, conflict=conflict)
    memory.import_([whole.lines[0], *(line.replace('"ann"', '"eve"') for line in whole.lines[1:])])
    memory.capabilities()


def maintain(memory: Memory) -> None:
    with pytest.MonkeyPatch.context() as patch:  # the others look the same
        patch.setattr(postgres_retention, "ALL_BUCKETS", [routing_bucket("ann")])
        for dry_run in (True, False):
            memory.maintain(audit_days=1e-9, versions=1, dry_run=dry_run)


@pytest.fixture(scope="module")
def partitioned_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database with partitioned tables."""
    url = postgres.new_database()
    make_partitions(url)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def record(partitioned_url: str) -> Record:
    """The statements of all verbs, on partitioned tables."""
    with recorded() as record:
        use_every_verb(partitioned_url)
    return record


@pytest.fixture(scope="module")
def made_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database whose schema the provider made."""
    url = postgres.new_database()
    with Memory(url=url, embedder=HashEmbedder(), hnsw=True) as memory:
        memory.add(content="tea", user_id="ann")
    yield url
    postgres.drop_database(url)


def is_data(sent: Sent) -> bool:
    return sent.sql.split(None, 1)[0].lower() in DATA


def statements(record: Record) -> dict[str, list[Sent]]:
    """Return the different statements on data, by who sent them."""
    texts = {(sent.step, sent.sql): sent for sent in record.sent if is_data(sent)}
    found = defaultdict(list)
    for sent in texts.values():
        found[sent.step].append(sent)
    return found


def unrouted_tables(sql: str) -> list[str]:
    """Return which mentions of tables are without `bucket = $n`, or for an insert without the bucket in front."""
    text = " ".join(sql.split())
    wanted: Counter[str] = Counter()
    missing = []
    for mention in MENTION.finditer(text):
        verb, table, follows = mention[1], mention[2], (mention[3] or "").strip()
        if verb == "insert into":
            if not re.match(r"\(bucket, .*?\) (values\(|select )\$1\b", text[mention.start(3) :]):
                missing.append(table)
        else:
            wanted["" if follows in KEYWORDS or follows.startswith("(") else f"{follows}."] += 1
    for alias, count in wanted.items():
        conditions = re.findall(rf"(?<![\w.]){re.escape(alias)}bucket = \$\d+(?!\d| *[-+*/])", text)
        missing += [alias or "a table"] * (count - len(conditions))
    return missing


def test_text_of_every_statement_names_the_bucket_for_every_table(record: Record) -> None:
    unrouted = {
        place: [sent.sql for sent in found if unrouted_tables(sent.sql)] for place, found in statements(record).items()
    }
    counts = {place: count for place, (count, _) in UNROUTED.items()}
    assert {place: len(texts) for place, texts in unrouted.items() if texts} == counts


def test_plan_of_every_statement_touches_one_partition_of_each_table(record: Record, partitioned_url: str) -> None:
    wide: Counter[str] = Counter()
    db = Pg(partitioned_url)
    try:
        for place, found in statements(record).items():
            for sent in found:
                touched = set(re.findall(rf"\b({'|'.join(TABLES)})_p(\d+)\b", explain(db, sent)))
                wide[place] += len(touched) > len({table for table, _ in touched})
    finally:
        db.close()
    assert +wide == Counter({place: count for place, (count, _) in UNROUTED.items()})


def test_statements_are_recorded_from_all_steps(record: Record) -> None:
    package = openmem._sql.postgres
    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)
    ]
    known = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isgeneratorfunction)
        if function.__module__ == module.__name__
    }
    # The tables were there before: other tests look at how they are made.
    made = {"migrate.apply", "migrate.create_extension", "migrate.has_extension"}
    # And not spread over servers: `test_postgres_shapes` looks at that.
    made |= {"cluster.is_distributed", "cluster.distribute", "cluster.drop_copies", "audit.enter", "search.entered"}
    # Only tasks are grouped; the test below looks at what is sent for them.
    assert known - record.steps - made == {"write.add_each"}


def test_adds_that_are_grouped_are_sent_as_the_statement_of_one() -> None:
    draft, stamp = make_draft("tea", "ann"), Stamp(datetime.now(UTC), None, "r", "e")
    item: Incoming[Row32] = Incoming(draft, "m")
    one = next(write_steps.add_one(Names(), item, None, stamp))
    many = next(write_steps.add_each(Names(), [write_steps.Single(item, None, stamp)] * 2))
    assert isinstance(one, Query)
    assert isinstance(many, Many)
    assert many.sql == one.sql
    assert [*many.rows] == [one.params, one.params]


def test_only_migrations_and_the_approximate_index_define_anything(record: Record) -> None:
    steps = {sent.step for sent in record.sent if not is_data(sent)}
    assert steps <= DEFINES
    assert steps


def test_conflicts_are_found_by_keys_that_begin_with_the_bucket(record: Record) -> None:
    targets = [target for sent in record.sent for target in re.findall(r"on conflict\s*(\S.{8})", sent.sql)]
    assert targets
    assert {target[:8] for target in targets} <= {
        "(bucket,",
        "(bucket)",
        "(name) d",
    }  # names of models belong to no user


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 from openmem.memories m where m.user_id = $1",
        "select 1 from openmem.memories m where bucket = $1 and exists(select 1 from openmem.vectors v where id = $2)",
        "select 1 from openmem.memories m where m.bucket = $1 union select 1 from openmem.memories m where m.id = $2",
        "with e as (select 1 from openmem.audit where id = $2) select 1 from openmem.memories m where m.bucket = $1",
        "select 1 from openmem.memories m join openmem.vectors v on v.bucket = m.bucket where m.bucket = $1",
        "update openmem.memories set key = null where bucket = any($1) and id = $2",
        "delete from openmem.vectors where bucket = $1 + 1",
        "insert into openmem.audit(id, bucket) values($1, $2)",
        "insert into openmem.audit(bucket, id) select m.bucket, m.id from openmem.memories m where m.bucket = $1",
    ],
)
def test_unrouted_text_is_noticed(sql: str) -> None:
    assert unrouted_tables(sql)


def test_every_key_and_index_begins_with_the_bucket(made_url: str) -> None:
    rows = query(
        made_url,
        """
        select c.relname::text, pg_get_indexdef(c.oid, 1, true), am.amname::text, i.indisunique
        from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am am on am.oid = c.relam
        join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'openmem'
        """,
    )
    others = {(name, method, unique) for name, first, method, unique in rows if first != "bucket"}
    ledger = {("migrations_pkey", "btree", True), ("models_pkey", "btree", True)}
    # The approximate index is no key, and each partition has its own part of it.
    approximate = {(name, "hnsw", False) for name, *_ in rows if str(name).startswith("memories_hnsw_")}
    assert len(approximate) == 1
    feed = {("audit_feed", "btree", False)}  # no key: the feed of all users is read by it, and that of each, too
    assert others == ledger | approximate | feed


@pytest.mark.parametrize(
    ("what", "sql"),
    [
        ("sequences", "select 1 from pg_class where relkind = 'S' and relnamespace = 'openmem'::regnamespace"),
        ("triggers", "select 1 from pg_trigger"),
        ("foreign keys", "select 1 from pg_constraint where contype = 'f'"),
        ("functions", "select 1 from pg_proc where pronamespace = 'openmem'::regnamespace"),
        ("rules", "select 1 from pg_rules where schemaname = 'openmem'"),
    ],
)
def test_schema_has_nothing_that_a_distributed_table_cannot_have(made_url: str, what: str, sql: str) -> None:
    assert query(made_url, sql) == [], what


def test_only_the_extension_vector_is_needed(made_url: str) -> None:
    rows = query(made_url, "select extname::text from pg_extension")
    assert {row[0] for row in rows} == {"plpgsql", "vector"}


def query(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql.encode()).fetchall()
