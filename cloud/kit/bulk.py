"""Many new rows of one table in one statement with one parameter.

The ORM sends a parameter for each column of each row: 24 results are more than 1,000, and the text of such a statement
is put together, taken apart and planned anew every time. Here the rows travel as one JSON text, which PostgreSQL reads
by the table's own column types (`json_populate_recordset`); the statement never changes, so it stays prepared.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import TextClause, inspect, text
from sqlalchemy.orm import Mapper, Session

from cloud.kit.db import Base


def insert_rows(session: Session, rows: Sequence[Base]) -> None:
    """Insert new objects of one class. They get their defaults but do not join the session; whoever wants one managed
    reads it again. What the session holds is flushed first, constraints hold as ever.
    """
    if not rows:
        return
    mapper = inspect(type(rows[0]))
    keys, defaults, statement = _shape(mapper)
    records = []
    for row in rows:
        values = row.__dict__
        for key, default in defaults.items():
            if key not in values:
                setattr(row, key, default.arg(None) if default.is_callable else default.arg)
        records.append({column: values.get(key) for key, column in keys.items()})
    session.flush()
    session.execute(statement, {"rows": json.dumps(records, default=_encoded, separators=(",", ":"))})


@cache
def _shape(mapper: Mapper[Any]) -> tuple[dict[str, str], dict[str, Any], TextClause]:
    """Column names by attribute, Python-side defaults by attribute, and the statement."""
    keys = {each.key: each.columns[0].name for each in mapper.column_attrs}
    defaults = {each.key: each.columns[0].default for each in mapper.column_attrs if each.columns[0].default}
    quote = '"{}"'.format
    table, columns = quote(mapper.class_.__tablename__), ", ".join(map(quote, keys.values()))
    source = f"json_populate_recordset(NULL::{table}, CAST(:rows AS json))"
    return keys, defaults, text(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {source}")  # noqa: S608


def _encoded(value: object) -> str:
    """A value as the text that its column's type reads."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: give it a zone before it is stored")
        return value.isoformat()
    if isinstance(value, uuid.UUID | Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    raise TypeError(f"{type(value).__name__} has no column type here")
