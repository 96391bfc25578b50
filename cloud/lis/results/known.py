"""What ingest needs of the catalogue, read once in a transaction that applies many messages.

Never across transactions: the rows are those of the transaction's first look, and a run of applying ends after half a
second. Within it they are dropped as soon as this session itself changes one of them, or takes something back.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import event, select
from sqlalchemy.orm import ORMExecuteState, Session

from cloud.lis.catalog.model import ApprovalState, CriticalLimit, ReferenceRange, Test
from cloud.lis.instruments.model import SERUM_INDEX, ChannelKind, Instrument, InstrumentChannel

_KEY = "lis.results.known"
_WATCHED = (Instrument, InstrumentChannel, Test, ReferenceRange, CriticalLimit)


@dataclass(slots=True)
class Channels:
    """All codes of one instrument."""

    instrument_id: uuid.UUID
    tests: dict[str, tuple[InstrumentChannel, Test]] = field(default_factory=dict)
    messages: set[str] = field(default_factory=set)
    """Codes that are no tests."""
    indices: dict[str, str] = field(default_factory=dict)
    """Letter of the serum index by code; these codes are among `messages` too."""


@dataclass(slots=True)
class Known:
    """The catalogue as this transaction saw it."""

    channels: dict[tuple[str, str], Channels] = field(default_factory=dict)
    """By gateway and link."""
    ranges: dict[uuid.UUID, list[ReferenceRange]] = field(default_factory=dict)
    """Every band of every version, by test."""
    limits: dict[uuid.UUID, list[CriticalLimit]] = field(default_factory=dict)
    instruments: dict[uuid.UUID, str] = field(default_factory=dict)
    """Codes by id."""

    def clear(self) -> None:
        self.channels.clear()
        self.ranges.clear()
        self.limits.clear()
        self.instruments.clear()


def channels_of(session: Session, gateway: str, link: str) -> Channels | None:
    """The instrument behind a link with its codes; None (asked again next time) where none is registered."""
    known = _known(session)
    found = known.channels.get((gateway, link))
    if found is None:
        found = _read_channels(session, gateway, link)
        if found is not None:
            known.channels[gateway, link] = found
    return found


def _read_channels(session: Session, gateway: str, link: str) -> Channels | None:
    rows = session.execute(
        select(Instrument.id, InstrumentChannel, Test)
        .outerjoin(
            InstrumentChannel,
            (InstrumentChannel.instrument_id == Instrument.id) & (InstrumentChannel.state != ApprovalState.RETIRED),
        )
        .outerjoin(Test, Test.id == InstrumentChannel.test_id)
        .where(Instrument.gateway == gateway, Instrument.link == link)
    ).all()
    if not rows:
        return None
    found = Channels(rows[0].id)
    for _, channel, test in rows:
        if channel is not None and channel.kind != ChannelKind.TEST:
            found.messages.add(channel.code)
            if channel.kind in SERUM_INDEX:
                found.indices[channel.code] = SERUM_INDEX[ChannelKind(channel.kind)]
        elif channel is not None:
            found.tests[channel.code] = (channel, test)
    return found


def ranges_of(session: Session, test_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[ReferenceRange]]:
    """Every reference range of these tests (at least)."""
    return _bands(session, ReferenceRange, _known(session).ranges, test_ids)


def limits_of(session: Session, test_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[CriticalLimit]]:
    """Every critical limit of these tests (at least)."""
    return _bands(session, CriticalLimit, _known(session).limits, test_ids)


def instrument_code(session: Session, instrument_id: uuid.UUID | None) -> str:
    """As ranges name it; "" for a value typed in."""
    if instrument_id is None:
        return ""
    kept = _known(session).instruments
    if instrument_id not in kept:
        found = session.scalar(select(Instrument.code).where(Instrument.id == instrument_id))
        kept[instrument_id] = found or ""
    return kept[instrument_id]


B = TypeVar("B", ReferenceRange, CriticalLimit)


def _bands(
    session: Session, table: type[B], kept: dict[uuid.UUID, list[B]], test_ids: Iterable[uuid.UUID]
) -> dict[uuid.UUID, list[B]]:
    unread = [each for each in test_ids if each not in kept]
    if unread:
        found: dict[uuid.UUID, list[B]] = {each: [] for each in unread}
        for row in session.scalars(select(table).where(table.test_id.in_(unread))):
            found[row.test_id].append(row)
        kept.update(found)
    return kept


def _known(session: Session) -> Known:
    known: Known | None = session.info.get(_KEY)
    if known is None:
        known = session.info[_KEY] = Known()
        _watch(session, known)
    return known


def _watch(session: Session, known: Known) -> None:
    """Forget on every change of a watched table by this session, when it takes something back, and at its end."""

    def flushed(session: Session, _context: object) -> None:
        if any(isinstance(each, _WATCHED) for rows in (session.new, session.dirty, session.deleted) for each in rows):
            known.clear()

    def executed(state: ORMExecuteState) -> None:
        changes = state.is_update or state.is_delete or state.is_insert
        if changes and state.bind_mapper is not None and state.bind_mapper.class_ in _WATCHED:
            known.clear()

    def ended(_session: Session, transaction: Any) -> None:
        if transaction.parent is None:
            known.clear()

    def taken_back(_session: Session, _transaction: object) -> None:
        known.clear()

    event.listen(session, "after_flush", flushed)
    event.listen(session, "do_orm_execute", executed)
    event.listen(session, "after_transaction_end", ended)
    event.listen(session, "after_soft_rollback", taken_back)
