"""Applying what is stored: each link strictly by its sequence, once, under the partition's lease.

One transaction takes many messages of one link, each in a savepoint of its own: a message that the laboratory cannot
take is quarantined with the reason and the link goes on. At a gap the link stops until it is filled or declared lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import ColumnElement, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, defer

from cloud.gateways import leases, rules
from cloud.gateways.arrivals import LinkKey
from cloud.gateways.inbox import lost_ranges
from cloud.gateways.leases import Lease
from cloud.gateways.model import Gateway, InboxMessage, LinkCursor, MessageStatus
from cloud.kit import clock
from cloud.kit.jobs import Begin
from cloud.kit.live import announce
from cloud.kit.retryable import is_retryable
from cloud.kit.storable import storable, storable_json
from cloud.lis.results.service import MessageSource
from protocols.model import Item
from protocols.uplink.envelope import GapRequest
from protocols.uplink.items import item_from_json

log = structlog.get_logger(__name__)

Ingest = Callable[[Session, MessageSource, Sequence[Item]], Any]
"""`cloud.lis.results.service.ingest`; gives an outcome that is kept beside the message."""
RUN = 200
"""Messages of one link in one transaction, at most."""
READ_AHEAD = 20
"""So many are read at once: what a run that ends early has read ahead, the next one reads again."""
LONG_ENOUGH_S = 0.5
"""After this long a transaction ends: it holds the rows of the specimens that people are working on."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What one transaction did on one link."""

    applied: int = 0
    quarantined: int = 0
    more: bool = False
    """There may be more to apply right now."""
    gap: GapRequest | None = None
    """To be published: the link stands at a gap and it is time to ask (again)."""
    waits: bool = False
    """The link stands at a gap."""


def apply_link(begin: Begin, lease: Lease, key: LinkKey, ingest: Ingest, *, run: int = RUN) -> Applied:
    """Apply the next messages of one link, at most `run`, in one transaction.

    Raises LeaseLost (nothing was applied) when the partition has another holder, and the database's own error when it
    is away; both leave everything as it was.
    """
    with begin() as session:
        leases.hold(session, lease)
        _end_if_stuck(session)
        cursor = _lock_cursor(session, key)
        stored = _next_sequences(session, key, cursor.applied_through, run)
        lost = lost_ranges(session, key, after=cursor.applied_through)
        plan = rules.next_run(cursor.applied_through, stored, lost)
        taken: list[dict[str, Any]] = []
        quarantined = 0
        cut = False
        enough_at = monotonic() + LONG_ENOUGH_S
        for message in _pending(session, key, plan.sequences):
            if len(taken) + quarantined and monotonic() > enough_at:
                stored = stored[: stored.index(message.sequence)]
                plan = rules.next_run(cursor.applied_through, stored, lost)
                cut = True
                break
            source = _source(message, late=message.sequence <= cursor.applied_through)
            outcome, refused = _apply_message(session, message, source, ingest)
            if refused is None:
                taken.append({"inbox_id": message.id, "became": outcome})
            else:
                quarantined += 1
                _quarantine(session, lease, message, refused)
        _mark_applied(session, lease, taken)
        if quarantined or (plan.gap is None) != (cursor.gap_first is None):
            announce(session, "gateways")
        if plan.sequences:
            cursor.applied_at = clock.now()
        cursor.applied_through = plan.applied_through
        return Applied(
            applied=len(taken),
            quarantined=quarantined,
            more=cut or (len(stored) == run and plan.gap is None),
            gap=_note_gap(cursor, plan.gap, clock.now()),
            waits=plan.gap is not None,
        )


def unapplied_links(session: Session, partition: int) -> set[LinkKey]:
    """Links of the partition with messages that wait, for whoever takes it over."""
    rows = session.execute(
        select(InboxMessage.gateway, InboxMessage.epoch, InboxMessage.link)
        .join(Gateway, Gateway.id == InboxMessage.gateway)
        .where(Gateway.partition == partition, InboxMessage.state == MessageStatus.PENDING)
        .distinct()
    )
    return {(row.gateway, row.epoch, row.link) for row in rows}


def _end_if_stuck(session: Session) -> None:
    """A worker that is frozen in this transaction must not keep its partition for ever: the database ends it."""
    session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '30s'"))


def _lock_cursor(session: Session, key: LinkKey) -> LinkCursor:
    gateway, epoch, link = key
    session.execute(
        insert(LinkCursor)
        .values(gateway=gateway, epoch=epoch, link=link, applied_through=0, gap_requests=0)
        .on_conflict_do_nothing()
    )
    return session.get_one(LinkCursor, key, with_for_update=True, populate_existing=True)


def _of_link(key: LinkKey) -> tuple[ColumnElement[bool], ...]:
    gateway, epoch, link = key
    return InboxMessage.gateway == gateway, InboxMessage.epoch == epoch, InboxMessage.link == link


def _next_sequences(session: Session, key: LinkKey, after: int, run: int) -> list[int]:
    """Late ones (declared lost and arrived after all) first, then those beyond the cursor, whatever their state."""
    sequence = InboxMessage.sequence
    late = select(sequence).where(*_of_link(key), sequence <= after, InboxMessage.state == MessageStatus.PENDING)
    due = select(sequence).where(*_of_link(key), sequence > after)
    found = list(session.scalars(late.order_by(sequence).limit(run)))
    found += session.scalars(due.order_by(sequence).limit(run - len(found)))
    return found


def _pending(session: Session, key: LinkKey, sequences: Sequence[int]) -> Iterator[InboxMessage]:
    """Those of `sequences` that are to be applied, in order (what the box could not read is passed over)."""
    for first in range(0, len(sequences), READ_AHEAD):
        statement = select(InboxMessage).where(
            *_of_link(key),
            InboxMessage.sequence.in_(sequences[first : first + READ_AHEAD]),
            InboxMessage.state == MessageStatus.PENDING,
        )
        yield from session.scalars(statement.order_by(InboxMessage.sequence).options(defer(InboxMessage.raw))).all()


def _apply_message(
    session: Session, message: InboxMessage, source: MessageSource, ingest: Ingest
) -> tuple[dict[str, Any] | None, Exception | None]:
    """(what became of it, None), or (None, why the laboratory cannot take it). An error of the database itself goes
    up: the whole run is tried again.
    """
    try:
        with session.begin_nested():
            return _outcome(ingest(session, source, [item_from_json(each) for each in message.items])), None
    except leases.LeaseLost:
        raise
    except Exception as error:
        if is_retryable(error):
            raise
        log.error("message_quarantined", inbox_id=str(message.id), gateway=message.gateway, error=type(error).__name__)
        return None, error


_APPLIED = (
    update(InboxMessage.__table__)  # type: ignore[arg-type]
    .where(InboxMessage.id == bindparam("inbox_id"))
    .values(
        state=MessageStatus.APPLIED,
        outcome=bindparam("became"),
        applied_by=bindparam("holder"),
        applied_at=text("clock_timestamp()"),
    )
)


def _mark_applied(session: Session, lease: Lease, taken: Sequence[dict[str, Any]]) -> None:
    """The messages of this run, in one round trip."""
    if taken:
        session.execute(_APPLIED, [each | {"holder": str(lease)} for each in taken])


def _quarantine(session: Session, lease: Lease, message: InboxMessage, error: Exception) -> None:
    session.execute(
        update(InboxMessage)
        .where(InboxMessage.id == message.id)
        .values(
            state=MessageStatus.QUARANTINED,
            reason=_reason(error),
            applied_by=str(lease),
            applied_at=text("clock_timestamp()"),
        ),
        execution_options={"synchronize_session": False},
    )


def _source(message: InboxMessage, *, late: bool) -> MessageSource:
    return MessageSource(
        inbox_id=message.id,
        gateway=message.gateway,
        link=message.link,
        epoch=message.epoch,
        sequence=message.sequence,
        received_at=rules.received_at(
            message.corrected_at or message.received_at,
            message.clock_sure or message.corrected_at is not None,
            message.stored_at,
        ),
        driver=message.driver,
        driver_version=message.driver_version,
        late=late,
    )


def _outcome(outcome: Any) -> dict[str, Any] | None:
    if is_dataclass(outcome) and not isinstance(outcome, type):
        outcome = asdict(outcome)
    return storable_json(outcome) if isinstance(outcome, dict) else None


def _reason(error: Exception) -> str:
    """What refused it, for the person who looks at the message; kept beside it in the database and not logged."""
    return storable(f"{type(error).__name__}: {getattr(error, 'orig', None) or error}")[:2000]


def _note_gap(cursor: LinkCursor, gap: tuple[int, int] | None, now: datetime) -> GapRequest | None:
    if gap is None:
        cursor.gap_first = cursor.gap_last = cursor.gap_since = cursor.gap_requested_at = None
        cursor.gap_requests = 0
        return None
    if gap[0] != cursor.gap_first:
        cursor.gap_since, cursor.gap_requested_at, cursor.gap_requests = now, None, 0
    cursor.gap_first, cursor.gap_last = gap
    since = cursor.gap_since or now
    if not rules.gap_request_due(since, cursor.gap_requested_at, cursor.gap_requests, now):
        return None
    cursor.gap_requested_at = now
    cursor.gap_requests += 1
    return GapRequest(cursor.epoch, cursor.link, *gap)
