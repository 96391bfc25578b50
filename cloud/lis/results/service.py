"""Taking in what instruments send: `ingest` turns the items of one inbox message into results, once.

Nothing is refused and nothing is dropped: what belongs to no order waits in `UnmatchedResult`, what comes after its
report was released is kept for an amendment, what was sent twice is linked to the first. The verbs on results are in
`review`, those on the unmatched in `unmatched`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.lis.qc import service as qc
from cloud.lis.results.matching import Lookup, look_up
from cloud.lis.results.model import IngestedMessage, InstrumentNotice, UnmatchedReason
from cloud.lis.results.source import IngestOutcome, MessageSource
from cloud.lis.results.storing import store_observations, unmatched_row
from protocols.model import HostQuery, InstrumentEvent, Item, Observation, Undecoded

__all__ = ["IngestOutcome", "MessageSource", "ingest"]


def ingest(session: Session, source: MessageSource, items: Sequence[Item]) -> IngestOutcome:
    """Store what one message holds. Idempotent by `source.inbox_id`; the caller keeps the order of a link."""
    claimed = session.execute(
        insert(IngestedMessage)
        .values(inbox_id=source.inbox_id, outcome={}, applied_at=clock.now())
        .on_conflict_do_nothing()
        .returning(IngestedMessage.inbox_id)
    ).first()
    if claimed is None:
        return _outcome_of(session, source.inbox_id)
    outcome = _ingest_new(session, source, items)
    session.execute(
        update(IngestedMessage).where(IngestedMessage.inbox_id == source.inbox_id).values(outcome=asdict(outcome))
    )
    return outcome


def _outcome_of(session: Session, inbox_id: uuid.UUID) -> IngestOutcome:
    done = session.get_one(IngestedMessage, inbox_id)
    return IngestOutcome(**done.outcome)


def _ingest_new(session: Session, source: MessageSource, items: Sequence[Item]) -> IngestOutcome:
    placed = list(enumerate(items))
    observations = [(at, item) for at, item in placed if isinstance(item, Observation) and item.qc is None]
    controls = [(at, item) for at, item in placed if isinstance(item, Observation) and item.qc is not None]
    events = [(at, item) for at, item in placed if isinstance(item, InstrumentEvent)]
    undecoded = [(at, item) for at, item in placed if isinstance(item, Undecoded)]
    found = look_up(session, source.gateway, source.link, [item for _, item in observations + controls])
    stored = store_observations(session, source, found, observations)
    qc.store(session, source, found.instrument_id, found.test_ids(), controls)
    for at, event in events:
        session.add(_notice(source, found, at, event))
    for at, item in undecoded:
        session.add(unmatched_row(source, found, at, item, UnmatchedReason.UNDECODED))
    session.flush()
    return IngestOutcome(
        matched=stored.matched,
        after_release=stored.after_release,
        unmatched=stored.unmatched,
        resent=stored.resent,
        attachments=stored.attachments,
        qc=len(controls),
        queries=sum(isinstance(item, HostQuery) for item in items),
        events=len(events),
        undecoded=len(undecoded),
    )


def _notice(source: MessageSource, found: Lookup, at: int, event: InstrumentEvent) -> InstrumentNotice:
    return InstrumentNotice(
        inbox_id=source.inbox_id,
        ordinal=at,
        gateway=source.gateway,
        link=source.link,
        instrument_id=found.instrument_id,
        name=event.name,
        specimen=event.specimen,
        detail=event.detail,
        occurred_at=clock.from_instrument(event.occurred_at),
        received_at=source.received_at,
    )
