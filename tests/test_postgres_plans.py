"""Plans of the statements: work for what is asked, not for all that a user has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from openmem import Memory
from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.database import Pg
from openmem._sql.steps import Query, Steps
from openmem.testing.postgres import PostgresServer
from tests.postgres_recorder import Record, Sent, recorded

# Of a table that was not analyzed the server knows the pages only: of fewer rows it expects one in a bucket, which any
# index finds as well.
ROWS = 2_400
PAGE = 100


@pytest.fixture(scope="module")
def sent(postgres: PostgresServer) -> Iterator[tuple[str, Record]]:
    """An address, and what was sent there: a table that was just filled and not analyzed yet."""
    url = postgres.new_database()
    with Memory(url=url, embedder="none") as memory:
        with psycopg.connect(url, autocommit=True) as connection:
            for table in ("memories", "audit", "versions", "supersessions", "vectors"):
                connection.execute(f"alter table openmem.{table} set (autovacuum_enabled = off)".encode())
        made = memory.add_many([{"content": f"note {number}"} for number in range(ROWS)], user_id="ann")
        ids = [record.id for record in made[:3]]
        with recorded() as record, Memory(url=url, embedder="none") as other:
            other.wait_for_ingest(ids, "ann")
            newer = other.add(content="newer", user_id="ann", supersedes=ids)
            other.update(newer.id, user_id="ann", supersedes=ids[:2])
            other.history(newer.id, user_id="ann")
            page = other.export("ann", limit=PAGE)
            other.export("ann", limit=PAGE, cursor=page.next_cursor)
            for order in ("created", "updated", "valid_from"):
                listed = other.list("ann", limit=PAGE, order=order)
                other.list("ann", limit=PAGE, order=order, cursor=listed.next_cursor)
            other.audit("ann", limit=10)
            other.delete(ids[0], user_id="ann")
    yield url, record
    postgres.drop_database(url)


def rows_read(url: str, sent: Sent) -> int:
    """Return the most rows that a node of the plan really read, kept or filtered out."""

    def steps() -> Steps[str]:
        rows = yield Query(f"explain (analyze, costs off, timing off, buffers off) {sent.sql}", sent.params)
        return "\n".join(row[0] for row in rows)

    db = Pg(url)
    try:
        plan: Any = db.run(steps, Deadline.after(10.0))
    finally:
        db.close()
    numbers = re.findall(r"actual rows=([\d.]+)|Rows Removed by \w+(?: Recheck)?: (\d+)", plan)
    return max(int(float(one or other)) for one, other in numbers)


@pytest.mark.parametrize(
    "place", ["read.check_all", "supersession._recompute", "history._members", "history._versions", "write.erase_rows"]
)
def test_lookup_by_ids_reads_those_rows_only(sent: tuple[str, Record], place: str) -> None:
    url, record = sent
    found = [one for one in record.sent if one.step == place and "insert" not in one.sql]
    assert found
    assert max(rows_read(url, one) for one in found) <= 3


def test_page_of_an_export_reads_a_page(sent: tuple[str, Record]) -> None:
    url, record = sent
    pages = [one for one in record.sent if one.step == "portable.export_page"]
    assert [rows_read(url, page) for page in pages] == [PAGE + 1, PAGE + 1]


def test_audit_reads_what_it_returns(sent: tuple[str, Record]) -> None:
    url, record = sent
    found = [one for one in record.sent if one.step == "audit.entries"]
    assert [rows_read(url, one) for one in found] == [10]


def test_page_of_a_list_in_any_order_reads_a_page(sent: tuple[str, Record]) -> None:
    """Of a list by another date than that of storing, each half comes in order by its own index."""
    url, record = sent
    pages = [one for one in record.sent if one.step == "read.page"]
    assert len(pages) == 6
    assert max(rows_read(url, page) for page in pages) <= PAGE + 10
