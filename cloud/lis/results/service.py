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
from cloud.lis.environment import service as environment
from cloud.lis.qc import service as qc
from cloud.lis.results.matching import look_up
from cloud.lis.results.model import IngestedMessage, UnmatchedReason
from cloud.lis.results.notices import keep_events, keep_unknown_tubes
from cloud.lis.results.source import IngestOutcome, MessageSource
from cloud.lis.results.storing import store_observations
from cloud.lis.results.strays import keep_strays
from cloud.lis.specimens.automation import keep_line_events
from cloud.lis.worklists import unanswered
from protocols.model import (
    HostQuery,
    InstrumentEvent,
    Item,
    Observation,
    Reading,
    SpecimenEvent,
    UnansweredQuery,
    Undecoded,
)

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
    readings = [(at, item) for at, item in placed if isinstance(item, Reading)]
    on_the_line = [(at, item) for at, item in placed if isinstance(item, SpecimenEvent)]
    undecoded = [(at, item) for at, item in placed if isinstance(item, Undecoded)]
    found = look_up(session, source.gateway, source.link, [item for _, item in observations + controls])
    stored = store_observations(session, source, found, observations)
    unanswered.result_came(session, source.gateway, source.link, [item.specimen for _, item in observations])
    if controls:
        qc.store(session, source, found.instrument_id, found.test_ids(), controls)
    environment.store(session, source, readings)
    unknown = keep_line_events(session, source, on_the_line)
    keep_unknown_tubes(session, source, found, unknown)
    keep_events(session, source, found, events)
    keep_strays(session, source, found, [(at, item, UnmatchedReason.UNDECODED) for at, item in undecoded])
    told = [item for item in items if isinstance(item, UnansweredQuery)]
    unanswered.keep(session, source.gateway, source.link, source.received_at, told)
    session.flush()
    return IngestOutcome(
        matched=stored.matched,
        after_release=stored.after_release,
        unmatched=stored.unmatched,
        resent=stored.resent,
        attachments=stored.attachments,
        messages=stored.messages,
        qc=len(controls),
        queries=sum(isinstance(item, HostQuery) for item in items),
        events=len(events),
        undecoded=len(undecoded),
        readings=len(readings),
        line_events=len(on_the_line),
        unknown_tubes=len(unknown),
        unanswered=len(told),
    )
