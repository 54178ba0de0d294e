"""Every statement on tables that are spread over servers has a shape that a router sends on as it is, to one server.

All verbs run on a Postgres that says it is a Citus cluster whose tables are spread, and every statement is recorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from openmem import Memory
from openmem.testing import HashEmbedder
from openmem.testing.postgres import PostgresServer
from tests.citus_standin import install
from tests.postgres_recorder import Record, Sent, recorded
from tests.router_shapes import ALL_SHARDS, CONTROL, LOCAL, ONE_SHARD, shape_of
from tests.test_postgres_routing import DATA, UNROUTED, use_every_verb

LOCAL_STEPS = {"migrations.version", "health.check", "models.agree", "models.are_there", "models.move", "models.other"}
"""Steps that look at small tables which belong to no user."""


@pytest.fixture(scope="module")
def spread_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database that says that its tables are spread."""
    url = postgres.new_database()
    install(url)
    with Memory(url=url, embedder=HashEmbedder(), distribute=True) as memory:
        memory.health()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def sent(spread_url: str) -> list[Sent]:
    """The different statements that all verbs sent."""
    with recorded() as record:
        use_every_verb(spread_url)
    return distinct(record)


def distinct(record: Record) -> list[Sent]:
    texts = {(one.step, one.sql): one for one in record.sent if one.sql.split(None, 1)[0].lower() in DATA}
    return [*texts.values()]


def test_every_statement_is_sent_on_as_it_is(sent: list[Sent]) -> None:
    faults = {one.step: shape_of(one.sql).faults for one in sent if shape_of(one.sql).faults}
    assert faults == {}


def test_every_statement_of_a_user_goes_to_one_server(sent: list[Sent]) -> None:
    wide = Counter(one.step for one in sent if shape_of(one.sql).kind == ALL_SHARDS)
    expected = {place: count for place, (count, _) in UNROUTED.items() if place != "feed.page"}  # it is refused here
    assert wide == Counter(expected)
    assert {one.step for one in sent if shape_of(one.sql).kind == LOCAL} == LOCAL_STEPS
    counts = Counter(shape_of(one.sql).kind for one in sent)
    assert set(counts) == {ONE_SHARD, ALL_SHARDS, LOCAL, CONTROL}
    assert counts[ONE_SHARD] > 50


def test_read_writes_only_its_audit_entry_by_values(sent: list[Sent]) -> None:
    entries = [one for one in sent if one.step in {"audit.enter", "audit.note"}]
    assert entries
    for one in entries:
        assert one.sql.split("(")[0].split() == ["insert", "into", "openmem.audit"]
        assert shape_of(one.sql).kind == ONE_SHARD


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        (
            "with e as (insert into openmem.audit(bucket) values($1)) select 1 from openmem.memories where bucket = $1",
            "CTE",
        ),
        ("insert into openmem.audit(bucket, id) select $1, x from unnest($2::text[]) as x", "query finds"),
        (
            "insert into openmem.vectors(bucket, id) values($1, (select id from openmem.memories where bucket = $1))",
            "asks",
        ),
        ("insert into openmem.audit(id) values($1)", "without the column"),
        ("insert into openmem.audit(bucket, id) values($1, $2) on conflict (id) do nothing", "conflicts by id"),
        ("select 1 from openmem.memories m join openmem.models o on true where m.bucket = $1", "joins"),
        ("select 1 from openmem.memories m, openmem.vectors v where m.bucket = $1 and v.bucket = $2", "different"),
        (
            "select 1 from openmem.memories m join openmem.vectors v on v.bucket = m.bucket where m.bucket = $1",
            "others",
        ),
        ("select 1 from openmem.memories where bucket = $1 and exists(select 1 from openmem.vectors)", "others"),
    ],
)
def test_shape_that_no_router_sends_on_is_noticed(sql: str, fault: str) -> None:
    assert fault in " ".join(shape_of(sql).faults)


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 from openmem.memories m where m.bucket = $1 or m.id = $2",
        "select 1 from openmem.memories m where not (m.bucket = $1)",
        "select 1 from openmem.memories m where m.bucket = any($1)",
        "select 1 from openmem.memories m where m.bucket = $1 + 1",
        "update openmem.memories set key = null where id = $2",
        "select (select count(*) from openmem.memories)",
        "with recursive a as (select 1 from openmem.memories m union select 1 from a) select 1 from a",
    ],
)
def test_statement_that_asks_all_servers_is_noticed(sql: str) -> None:
    assert shape_of(sql).kind == ALL_SHARDS
