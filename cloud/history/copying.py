"""Rows in bulk by COPY, whatever columns the tables have today.

A `Sheet` names the columns it is given; what else the model has takes its Python default once, or NULL. A column that
has neither is an error at the start and not after an hour. Indexes that are no constraint are put aside while rows come
and made again behind them, all in one transaction: it happens whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import Connection, sql
from sqlalchemy import Column, Table

from cloud.kit.db import Base

NULL = r"\N"
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def text_of(value: Any) -> str:
    """One value as COPY's text format has it."""
    if value is None:
        return NULL
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, bytes):
        return r"\\x" + value.hex()
    if isinstance(value, dict | list):
        return json_text(value)
    if isinstance(value, int | Decimal | UUID):
        return str(value)
    return str(value)


def moment(value: datetime) -> str:
    """A time in UTC; naive ones are refused like everywhere."""
    if value.tzinfo is None:
        raise ValueError(f"naive datetime {value!r}")
    return (value if value.tzinfo is UTC else value.astimezone(UTC)).isoformat(" ")


def json_text(value: Any) -> str:
    return _JSON(value).replace("\\", r"\\")


class Sheet:
    """The rows of one table on their way; `add` takes the texts of `columns` (names between blanks) in their order."""

    def __init__(self, model: type[Base], columns: str) -> None:
        names = columns.split()
        table = model.__table__
        assert isinstance(table, Table)
        self.table = table.name
        rest = [each for each in table.columns if each.name not in names]
        unknown = set(names) - {each.name for each in table.columns}
        if unknown:
            raise ValueError(f"{self.table} has no column {', '.join(sorted(unknown))}")
        constants = [(each, default_of(each)) for each in rest]
        given = [(each, value) for each, value in constants if value is not None or each.server_default is None]
        self.columns = [*names, *(each.name for each, _ in given)]
        self._width = len(names)
        self._tail = "".join("\t" + text_of(value) for _, value in given) + "\n"
        self._lines: list[str] = []

    def add(self, *texts: str) -> None:
        self._lines.append("\t".join(texts) + self._tail)

    def take(self) -> bytes:
        """What was added since the last time, for COPY."""
        text = "".join(self._lines)
        self._lines.clear()
        return text.encode()

    def statement(self, *, frozen: bool = False) -> sql.Composed:
        """`frozen`: into a table emptied in this very transaction; its rows need no vacuum later."""
        columns = sql.SQL(", ").join(map(sql.Identifier, self.columns))
        form = sql.SQL("COPY {} ({}) FROM STDIN" + (" (FREEZE)" if frozen else ""))
        return form.format(sql.Identifier(self.table), columns)


def default_of(column: Column[Any]) -> Any:
    """The model's own default, drawn once; raises for a column that must be given and is not."""
    default: Any = column.default
    if default is not None:
        value = default.arg(None) if default.is_callable else default.arg
        return getattr(value, "value", value)
    if column.nullable or column.server_default is not None:
        return None
    raise ValueError(f"{column.table.name}.{column.name} needs a value and the history does not give one")


def put_indexes_aside(connection: Connection[Any], tables: Iterable[str]) -> list[str]:
    """Drop the indexes of `tables` that no constraint needs; the statements that make them again."""
    rows = connection.execute(
        """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
        WHERE indrelid = ANY (%s::regclass[]) AND NOT indisprimary
          AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)
        ORDER BY indrelid, indexrelid
        """,
        [list(tables)],
    ).fetchall()
    for name, _ in rows:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.SQL(name)))
    return [definition for _, definition in rows]


def begin_anew(connection: Connection[Any], tables: Iterable[str]) -> set[str]:
    """Truncate those of `tables` that hold nothing; their names.

    PostgreSQL then writes each row once: it may be frozen from the beginning, and with `wal_level = minimal` it goes
    past the log. Tables that refer to a truncated one must be truncated with it: all of them are empty, or none is.
    """
    emptied: set[str] = set()
    for table in tables:
        if table in emptied:
            continue
        family = [row[0] for row in connection.execute(_FAMILY, [table]).fetchall()]
        names = [sql.Identifier(each) for each in family]
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.SQL(", ").join(names)))
        queries = [sql.SQL("EXISTS (SELECT 1 FROM {})").format(each) for each in names]
        row = connection.execute(sql.SQL("SELECT {}").format(sql.SQL(" OR ").join(queries))).fetchone()
        if row is not None and not row[0]:
            connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(names)))
            emptied |= set(family)
    return emptied


_FAMILY = """
    WITH RECURSIVE family AS (
        SELECT %s::regclass::oid AS id
        UNION SELECT c.conrelid FROM pg_constraint c JOIN family ON c.confrelid = family.id WHERE c.contype = 'f'
    )
    SELECT relname FROM family JOIN pg_class ON pg_class.oid = family.id ORDER BY 1
"""


def skip_references(connection: Connection[Any]) -> bool:
    """No look-up of foreign keys for rows made with their parents; only a superuser may, others wait longer."""
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if row is None or not row[0]:
        return False
    connection.execute("SET LOCAL session_replication_role = replica")
    return True
