"""The audit trail: who did what to which thing, chained per thing so that a change of the past shows.

An entry's hash covers its own content, its number and the hash of the entry before it in the chain of its aggregate.
Number and hash are taken by one statement on the chain's row, so two writers cannot fork it. `cloud.kit.seal` signs the
chains' heads outside the database; `cloud.kit.verify` reads everything back.
"""

from __future__ import annotations

import hashlib
import json
import struct
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from cloud.kit import clock
from cloud.kit.db import Base, Identified
from cloud.kit.ids import new_id


class AuditEntry(Identified, Base):
    """One act. A trigger refuses UPDATE, DELETE and TRUNCATE."""

    __tablename__ = "audit_entry"
    __table_args__ = (UniqueConstraint("kind", "aggregate_id", "number"), Index("ix_audit_entry_at", "at"))

    kind: Mapped[str] = mapped_column(Text)
    aggregate_id: Mapped[str] = mapped_column(Text)
    number: Mapped[int] = mapped_column(BigInteger)
    """1, 2, 3 ... within the chain of (kind, aggregate_id)."""
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text, index=True)
    action: Mapped[str] = mapped_column(Text)
    before: Mapped[Any | None] = mapped_column(JSONB)
    after: Mapped[Any | None] = mapped_column(JSONB)
    reason: Mapped[str | None] = mapped_column(Text)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditChain(Base):
    """The head of one aggregate's chain; its row is what writers take turns on."""

    __tablename__ = "audit_chain"
    __table_args__ = (Index("ix_audit_chain_unsealed", "kind", postgresql_where=text("number > sealed_number")),)

    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    aggregate_id: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_number: Mapped[int] = mapped_column(BigInteger, server_default="0")


class AuditSeal(Base):
    """One batch of heads under one signed root; `line` is what stands in the file outside the database."""

    __tablename__ = "audit_seal"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    root: Mapped[bytes] = mapped_column(LargeBinary)
    line: Mapped[str] = mapped_column(Text)
    written_at: Mapped[datetime | None]
    """When the line was seen durable in the file; empty only for the newest seal, after a crash between the two."""


class AuditSealHead(Base):
    """A chain's head as it was when sealed."""

    __tablename__ = "audit_seal_head"

    seal_number: Mapped[int] = mapped_column(ForeignKey("audit_seal.number"), primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    aggregate_id: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


_RECORD = text(
    """
    WITH head AS (
        INSERT INTO audit_chain AS chain (kind, aggregate_id, number, hash)
        VALUES (:kind, :aggregate_id, 1, sha256(int8send(1) || CAST(:body AS bytea)))
        ON CONFLICT (kind, aggregate_id) DO UPDATE
        SET number = chain.number + 1, hash = sha256(chain.hash || int8send(chain.number + 1) || CAST(:body AS bytea))
        RETURNING number, hash
    )
    INSERT INTO audit_entry (id, kind, aggregate_id, number, at, actor, action, before, after, reason, hash)
    SELECT :id, :kind, :aggregate_id, head.number, :at, :actor, :action,
           CAST(:before AS jsonb), CAST(:after AS jsonb), :reason, head.hash
    FROM head
    RETURNING number
    """
)


def record(
    session: Session,
    *,
    actor: str,
    action: str,
    aggregate: tuple[str, object],
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str | None = None,
) -> int:
    """Add an entry in this transaction; returns its number in the aggregate's chain.

    `actor` is ``staff:<id>``, ``account:<id>`` (patient), ``his`` or ``system``. The chain's row stays locked until the
    transaction ends: record late in a unit of work, and aggregates in a fixed order.
    """
    kind, aggregate_id = aggregate[0], str(aggregate[1])
    at = clock.now()
    was, is_now = plain(before), plain(after)
    content = body(kind, aggregate_id, at, actor, action, was, is_now, reason)
    number = session.execute(
        _RECORD,
        {
            "id": new_id(),
            "kind": kind,
            "aggregate_id": aggregate_id,
            "at": at,
            "actor": actor,
            "action": action,
            "before": None if was is None else json.dumps(was),
            "after": None if is_now is None else json.dumps(is_now),
            "reason": reason,
            "body": content,
        },
    ).scalar_one()
    return int(number)


def plain(value: Any) -> Any:
    """`value` as JSON that PostgreSQL gives back unchanged: no floats, dates and decimals as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float | Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(str(each) for each in value)
    raise TypeError(f"{type(value).__name__} cannot stand in an audit entry")


def body(
    kind: str,
    aggregate_id: str,
    at: datetime,
    actor: str,
    action: str,
    before: Any,
    after: Any,
    reason: str | None,
) -> bytes:
    """The canonical bytes of an entry's content: JSON, sorted keys, no spaces, UTF-8."""
    content = {
        "kind": kind,
        "aggregate_id": aggregate_id,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": actor,
        "action": action,
        "before": before,
        "after": after,
        "reason": reason,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def chained_hash(previous: bytes, number: int, content: bytes) -> bytes:
    """The hash of entry `number`; `previous` is empty for the first. The same formula as in the SQL of `record`."""
    return hashlib.sha256(previous + struct.pack(">q", number) + content).digest()
