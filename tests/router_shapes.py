"""The shape of a statement for a router that spreads tables over servers, from the parser of Postgres itself.

Citus sends a statement on as it is, to one server, where every table in it is bound to one and the same value of the
column by which the tables are spread. Its documents name what it cuts in pieces, pulls together or refuses: writing
in a CTE, an insert of what a query finds, subqueries in an insert.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pglast import ast, parse_sql
from pglast.enums import A_Expr_Kind, BoolExprType, JoinType

SPREAD: Final = frozenset({"memories", "versions", "supersessions", "vectors", "audit", "feed"})
COLUMN: Final = "bucket"

ONE_SHARD, ALL_SHARDS, LOCAL, CONTROL = "one shard", "all shards", "local tables", "no table"


@dataclass
class Shape:
    """The demands of a statement on a router.

    Attributes:
        kind: Where it goes.
        faults: Why a router would not send it on as it is, if it would not.
    """

    kind: str = CONTROL
    faults: list[str] = field(default_factory=list)


def shape_of(sql: str) -> Shape:
    """Return the shape of one statement."""
    statements = parse_sql(sql)
    assert len(statements) == 1, "one statement at a time"
    return _Walk(statements[0].stmt).shape()


class _Walk:
    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._faults: list[str] = []
        self._bound: set[int | None] = set()
        self._tables: set[str] = set()
        self._read(statement, frozenset())

    def shape(self) -> Shape:
        spread = self._tables & SPREAD
        if not spread:
            return Shape(LOCAL if self._tables else CONTROL, self._faults)
        if self._tables - SPREAD:
            self._faults.append(f"joins {sorted(self._tables - SPREAD)} to tables that are spread")
        kind = ALL_SHARDS if None in self._bound else ONE_SHARD
        if len(self._bound - {None}) > 1:
            self._faults.append("binds tables to different values")
        if kind == ALL_SHARDS and len(spread) + len(self._bound) > 2:
            self._faults.append("some tables are bound and others are not")
        return Shape(kind, self._faults)

    def _read(self, node: Any, ctes: frozenset[str]) -> None:
        """Look at a query or a change, and at those inside of it."""
        ctes = self._with(node, ctes)
        if isinstance(node, ast.InsertStmt):
            self._insert(node)
            return
        if isinstance(node, ast.SelectStmt) and node.larg is not None:
            for side in (node.larg, node.rarg):
                self._read(side, ctes)
            return
        tables, quals = _sources(node)
        bound = _bindings(quals)
        for table in tables:
            if table.schemaname is None and table.relname in ctes:
                continue
            if table.schemaname is None or table.schemaname.startswith("pg_"):
                continue
            self._tables.add(table.relname)
            if table.relname in SPREAD:
                alias = table.alias.aliasname if table.alias is not None else table.relname
                self._bound.add(bound.get(alias, bound.get("") if len(tables) == 1 else None))
        for inner in _inner_queries(node):
            self._read(inner, ctes)

    def _with(self, node: Any, ctes: frozenset[str]) -> frozenset[str]:
        clause = getattr(node, "withClause", None)
        if clause is None:
            return ctes
        names = ctes | {cte.ctename for cte in clause.ctes}
        for cte in clause.ctes:
            if not isinstance(cte.ctequery, ast.SelectStmt):
                self._faults.append(f"writes in the CTE {cte.ctename}")
            self._read(cte.ctequery, names)
        return names

    def _insert(self, node: Any) -> None:
        self._tables.add(node.relation.relname)
        if node.relation.relname not in SPREAD:
            return
        rows = getattr(node.selectStmt, "valuesLists", None)
        if not rows:
            self._faults.append("inserts what a query finds")
            self._bound.add(None)
            return
        columns = [column.name for column in node.cols or ()]
        if COLUMN not in columns:
            self._faults.append("inserts without the column of the distribution")
            self._bound.add(None)
            return
        for row in rows:
            value = row[columns.index(COLUMN)]
            self._bound.add(value.number if isinstance(value, ast.ParamRef) else None)
            if any(_subqueries(item) for item in row):
                self._faults.append("asks for values in an insert")
        conflict = node.onConflictClause
        if conflict is not None and conflict.infer is not None:
            first = conflict.infer.indexElems[0].name
            if first != COLUMN:
                self._faults.append(f"finds conflicts by {first} first")


def _sources(node: Any) -> tuple[list[Any], list[Any]]:
    """Return the tables that a query names itself, not in a query inside of it, and the conditions on them."""
    tables: list[Any] = []
    quals: list[Any] = [getattr(node, "whereClause", None)]
    waiting = [*(getattr(node, "fromClause", None) or ()), *(getattr(node, "usingClause", None) or ())]
    if isinstance(node, ast.UpdateStmt | ast.DeleteStmt):
        tables.append(node.relation)
    while waiting:
        item = waiting.pop()
        if isinstance(item, ast.RangeVar):
            tables.append(item)
        elif isinstance(item, ast.JoinExpr):
            waiting += [item.larg, item.rarg]
            # What an outer join demands binds the side that may be missing.
            assert item.jointype in (JoinType.JOIN_INNER, JoinType.JOIN_LEFT)
            quals.append(item.quals)
    return tables, [qual for qual in quals if qual is not None]


def _bindings(quals: list[Any]) -> dict[str, int]:
    """Return to which parameter the conditions bind the column, by alias; without one, by the empty text."""
    found: dict[str, int] = {}
    waiting = list(quals)
    while waiting:
        qual = waiting.pop()
        if isinstance(qual, ast.BoolExpr) and qual.boolop == BoolExprType.AND_EXPR:
            waiting += qual.args or ()
        elif isinstance(qual, ast.A_Expr) and qual.kind == A_Expr_Kind.AEXPR_OP:
            operator: Any = qual.name
            left: Any = qual.lexpr
            right: Any = qual.rexpr
            if operator[0].sval == "=" and isinstance(left, ast.ColumnRef) and isinstance(right, ast.ParamRef):
                path = [getattr(part, "sval", "*") for part in left.fields or ()]
                if path[-1] == COLUMN and right.number is not None:
                    found[path[0] if len(path) == 2 else ""] = right.number
    return found


def _inner_queries(node: Any) -> Iterator[Any]:
    for name in node.__slots__:
        if name != "withClause":
            yield from _subqueries(getattr(node, name))


def _subqueries(value: Any) -> list[Any]:
    """Return the queries right inside of a part of a statement."""
    found: list[Any] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, tuple | list):
            waiting += item
        elif isinstance(item, ast.SelectStmt):
            found.append(item)
        elif isinstance(item, ast.Node):
            fields: Any = type(item)
            waiting += [getattr(item, name) for name in fields.__slots__]
    return found
