"""The database: base class, column types, sessions, and the unit of work that commits once at the edge.

Services take a `Session` and never commit. A request gets one by ``session: Transaction`` in its signature and is
committed before its answer leaves; a job and a command use ``with begin() as session:``.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, ClassVar, cast

from fastapi import Depends
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    Uuid,
    create_engine,
    func,
    literal,
    make_url,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.types import TypeDecorator

from cloud.config import settings
from cloud.kit import clock
from cloud.kit.ids import new_id


class UtcDateTime(TypeDecorator[datetime]):
    """``timestamptz`` that refuses naive values and always gives UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: give it a zone before it is stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table. Constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        uuid.UUID: Uuid(as_uuid=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


def among(column: Any, ids: Collection[uuid.UUID]) -> ColumnElement[bool]:
    """`column` is one of `ids`, which travel as one array: the statement is the same for one and for two thousand.

    ``in_`` spells each of them out anew, and PostgreSQL plans every length of the list again.
    """
    return cast(ColumnElement[bool], column == func.any(literal(list(ids), ARRAY(Uuid))))


class Identified:
    """Primary key `id` (UUIDv7)."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)


class Created:
    """When the row was made."""

    created_at: Mapped[datetime] = mapped_column(default=clock.now)


def make_engine(url: str) -> Engine:
    """Statements of pages are short: compiling them, or starting workers for them, costs more than it saves.

    Options in the URL take the place of these.
    """
    given = make_url(url)
    options = {} if "options" in given.query else {"options": "-c jit=off -c max_parallel_workers_per_gather=0"}
    return create_engine(
        given, pool_size=10, max_overflow=30, pool_pre_ping=True, hide_parameters=True, connect_args=options
    )


@cache
def engine() -> Engine:
    """The process's engine on the configured (or embedded) database."""
    from cloud.kit.embedded import database_url

    return make_engine(database_url(settings()))


@cache
def _sessions() -> sessionmaker[Session]:
    return sessionmaker(engine(), expire_on_commit=False)


def wait_at_most(session: Session, seconds: float) -> None:
    """No statement of this transaction takes longer, waits for locks included; else it ends as `OperationalError`."""
    session.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))


def new_session() -> Session:
    return _sessions()()


@contextmanager
def begin() -> Iterator[Session]:
    """One unit of work: commits at the end, rolls back on an error."""
    with new_session() as session, session.begin():
        yield session


def _request_session() -> Iterator[Session]:
    with begin() as session:
        yield session


Transaction = Annotated[Session, Depends(_request_session, scope="function")]
"""A request's unit of work: committed after the handler returned and before the answer leaves."""
