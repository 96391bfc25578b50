"""What of the catalogue is maintained by versions, as data: which columns a person may change, and when they are right.

A slice above registers what it keeps itself (channels: `cloud.lis.instruments.versions`). Values go in and out of the
change record as JSON: numbers and dates as text, ids as text.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of row."""

    name: str
    table: type[Any]
    fields: tuple[str, ...]
    """What a person may change, in the order it is shown."""
    label: Callable[[Session, Any], str]
    test_id: Callable[[Any], uuid.UUID | None]
    check: Callable[[Session, Any], None]
    """Raises `Invalid` for a row that may not stand so."""
    key: tuple[str, ...] = ()
    """Versions are rows: what those of one band have in common. (): one row that approved changes are written to."""
    read: Callable[[Session, Any], dict[str, Any]] | None = None
    """Fields that are not columns (a panel's tests)."""
    write: Callable[[Session, Any, Values], None] | None = None
    check_values: Callable[[Session, Values], None] | None = None
    """Raises `Invalid` for what `write` could not write, before a change waits for approval."""

    @property
    def rows_are_versions(self) -> bool:
        return bool(self.key)


_kinds: dict[str, Kind] = {}


def add(kind: Kind) -> Kind:
    _kinds[kind.name] = kind
    return kind


def get(name: str) -> Kind | None:
    return _kinds.get(name)


def every() -> list[Kind]:
    return list(_kinds.values())


def content(session: Session, kind: Kind, row: Any) -> dict[str, Any]:
    """All that a person may change of a row, as JSON."""
    found = {name: plain(getattr(row, name)) for name in kind.fields if hasattr(type(row), name)}
    return found | (kind.read(session, row) if kind.read else {})


def fill(session: Session, kind: Kind, row: Any, values: Values) -> None:
    """Write JSON `values` into a row."""
    columns = kind.table.__mapper__.columns
    for name, value in values.items():
        if name in columns:
            setattr(row, name, typed(columns[name].type.python_type, value))
    if kind.write:
        kind.write(session, row, values)


def plain(value: Any) -> Any:
    """A column's value as JSON; a number without needless zeros, so that 5 and 5.00 are no difference."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value else "0"
    if isinstance(value, date | uuid.UUID):
        return str(value)
    return value


def typed(kind: type, value: Any) -> Any:
    if value is None or not isinstance(value, str):
        return value
    if kind is Decimal:
        return Decimal(value)
    if kind is uuid.UUID:
        return uuid.UUID(value)
    return date.fromisoformat(value) if kind is date else value


def difference(before: Values, after: Values) -> tuple[dict[str, Any], dict[str, Any]]:
    """Only what differs, of both."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}
