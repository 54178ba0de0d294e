"""The index of words, which trails behind the memories: a user's newest ones wait until some can be entered at once.

Why so: FTS5 makes a part of the index for each transaction that enters something, which costs as much as all the rest
of an `add`, and every search has to join the parts. The words of a memory stand in its row as well. So a search looks
into the index up to the user's `indexed`, and into the rows behind that, which are few and short.

There are four cases:

1. A new memory waits, as long as less than `WAIT_AT_MOST` of its user do and its text is short (`LONG`).
2. One that is too many or too long (`is_behind`) brings in all that wait, itself included, in one part of the index.
3. A memory that is in the index and changes its words is taken out before and entered again behind its row's change:
   FTS5 can only forget words that it is told, and those are in the row until then. It keeps its `rid`, which `indexed`
   has passed, so it does not wait.
4. A memory that waits and changes or goes needs nothing: its row is all that a search looks at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from openmem._sql.sqlite.purge import taken_out
from openmem._sql.sqlite.rows import dumps
from openmem._sql.sqlite.schema import index_token
from openmem._sql.sqlite.word_index import ENTER, TOKENS
from openmem._sql.sqlite.writer import Writer
from openmem._sql.steps import Query, Steps

WAIT_AT_MOST: Final = 64  # memories of a user
LONG: Final = 4_000  # characters of a text for which nothing waits

_TAKE_OUT: Final = f"""
    insert into word_index(word_index, rowid, words) select 'delete', rid, {TOKENS} from memories
    where rid in (select value from json_each(?))
"""


def is_behind(writer: Writer, longest: int) -> bool:
    """Return whether so much waits that it is to be entered.

    Args:
        writer: The transaction.
        longest: Characters of the longest text that was written just now.
    """
    waiting = writer.next_rid - 1 - writer.indexed
    return waiting >= WAIT_AT_MOST or (waiting > 0 and longest >= LONG)


def catch_up(writer: Writer) -> Steps[None]:
    """Enter everything that waits."""
    last = writer.next_rid - 1
    yield Query(f"{ENTER} > ? and rid <= ?", (*_prefixes(writer), writer.indexed, last))
    yield Query("update users set indexed = ? where user_no = ?", (last, writer.user_no))
    writer.indexed = last


def take_out(writer: Writer, rids: Sequence[int]) -> Steps[None]:
    """Take memories out of the index. It reads their rows, so change those afterwards."""
    entered = [rid for rid in rids if rid <= writer.indexed]
    if entered:
        yield Query(_TAKE_OUT, (*_prefixes(writer), dumps(entered)))
        yield taken_out()


def enter_again(writer: Writer, rid: int) -> Query:
    """Return the statement that enters a memory again that was taken out."""
    return Query(f"{ENTER} = ? and rid <= ?", (*_prefixes(writer), rid, writer.indexed))


def _prefixes(writer: Writer) -> tuple[str, str]:
    prefix = index_token(writer.user_no, "")
    return prefix, prefix
