"""The index of words as a whole: how worn it is, and how it is emptied and filled again."""

from __future__ import annotations

from typing import Final

from openmem._sql.sqlite.schema import USER_RANGE, index_token
from openmem._sql.steps import Query, Steps

TOKENS: Final = "case words when '' then '' else ? || replace(words, ' ', ' ' || ?) end"
"""The words of a row as the index has them; the prefix of the user twice."""
ENTER: Final = f"insert into word_index(rowid, words) select rid, {TOKENS} from memories where rid"

_USERS: Final = f"""
    select user_no, max(indexed, user_no << 32), coalesce((select max(rid) from memories where rid {USER_RANGE}), 0)
    from users where user_no >= ? order by user_no limit 100
"""
_NEXT: Final = (
    "select count(*), max(rid) from (select rid from memories where rid > ? and rid <= ? order by rid limit ?)"
)


def levels() -> Steps[int]:
    """Return how many levels of parts FTS5 counts.

    It is the first number of the record of its structure, behind a cookie of four bytes (SQLite's fts5_index.c,
    "Structure record").
    """
    rows = yield Query("select block from word_index_data where id = 10")
    return first_number(rows[0][0][4:]) if rows else 0


def empty() -> Steps[None]:
    """Take everything out of the index: from here on, all memories wait for it."""
    yield Query("insert into word_index(word_index) values('delete-all')")
    yield Query("update users set indexed = 0")


def enter_some(user_no: int, most: int) -> Steps[int | None]:
    """Enter memories that wait into the index, user by user.

    Args:
        user_no: The user to begin with.
        most: How many memories.

    Returns:
        The user to go on with, or `None` at the end.
    """
    users = yield Query(_USERS, (user_no,))
    for number, indexed, last in users:
        count, upto = (yield Query(_NEXT, (indexed, last, most)))[0]
        if count:
            prefix = index_token(number, "")
            yield Query(f"{ENTER} > ? and rid <= ?", (prefix, prefix, indexed, upto))
            yield Query("update users set indexed = ? where user_no = ?", (upto, number))
        most -= count
        if most <= 0:
            return int(number)
    return int(users[-1][0]) + 1 if users else None


def first_number(record: bytes) -> int:
    """Return the number at the beginning of some bytes, as SQLite writes numbers of any size: seven bits a byte."""
    value = 0
    for byte in record[:8]:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value
