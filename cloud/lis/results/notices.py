"""What an instrument says that is no result: alarms, and codes mapped as messages (a suspicion, a grade, a picture).

Messages stay with their specimen and are shown beside its values; they are never matched, judged or reported. Where
the barcode is not known, they wait with it until a person gives its values to a specimen.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.bulk import insert_rows
from cloud.lis.results.matching import Lookup
from cloud.lis.results.model import InstrumentNotice, ResultAttachment
from cloud.lis.results.source import MessageSource
from protocols.model import InstrumentEvent, Observation, SpecimenEvent
from protocols.uplink.items import item_from_json, item_to_json

Placed = tuple[int, Observation]
"""An observation with its place in the message."""


def is_picture(observation: Observation) -> bool:
    """Nothing but a picture: kept as the specimen's attachment."""
    return bool(observation.attachments) and observation.quantity is None


def keep_messages(session: Session, source: MessageSource, found: Lookup, said: Sequence[Placed]) -> None:
    """Keep messages with their specimen (whose pictures are attached already), else with their barcode."""
    rows = []
    for at, observation in said:
        specimen = found.specimen_of(observation)
        if specimen is not None and is_picture(observation):
            continue
        rows.append(
            InstrumentNotice(
                inbox_id=source.inbox_id,
                ordinal=at,
                gateway=source.gateway,
                link=source.link,
                instrument_id=found.instrument_id,
                name=observation.code,
                specimen=observation.specimen,
                specimen_id=specimen.id if specimen else None,
                value=observation.value,
                serum_index=found.indices.get(observation.code),
                flags=list(observation.flags),
                item=None if specimen else item_to_json(observation),
                occurred_at=clock.from_instrument(observation.observed_at),
                received_at=source.received_at,
            )
        )
    insert_rows(session, rows)


def keep_events(
    session: Session, source: MessageSource, found: Lookup, events: Sequence[tuple[int, InstrumentEvent]]
) -> None:
    """Keep alarms and states of the instrument itself."""
    insert_rows(session, [_notice(source, found, at, event, event.name) for at, event in events])


def keep_unknown_tubes(
    session: Session, source: MessageSource, found: Lookup, events: Sequence[tuple[int, SpecimenEvent]]
) -> None:
    """What an assembly line did with tubes whose barcode nobody knows: kept with that barcode."""
    insert_rows(
        session,
        [_notice(source, found, at, event, f"tube {event.action}", item_to_json(event)) for at, event in events],
    )


def _notice(
    source: MessageSource,
    found: Lookup,
    at: int,
    event: InstrumentEvent | SpecimenEvent,
    name: str,
    item: dict[str, Any] | None = None,
) -> InstrumentNotice:
    return InstrumentNotice(
        inbox_id=source.inbox_id,
        ordinal=at,
        gateway=source.gateway,
        link=source.link,
        instrument_id=found.instrument_id,
        name=name,
        specimen=event.specimen,
        detail=event.detail,
        item=item,
        occurred_at=clock.from_instrument(event.occurred_at),
        received_at=source.received_at,
    )


def claim_messages(session: Session, source: MessageSource, barcode: str | None, specimen_id: uuid.UUID) -> int:
    """A person found the specimen of a message's unknown barcode: what was said about it goes there. How many."""
    waiting = session.scalars(
        select(InstrumentNotice).where(
            InstrumentNotice.inbox_id == source.inbox_id,
            InstrumentNotice.specimen == barcode,
            InstrumentNotice.specimen_id.is_(None),
        )
    ).all()
    for row in waiting:
        observation = item_from_json(row.item) if row.item else None
        row.specimen_id, row.item = specimen_id, None
        if isinstance(observation, Observation):
            attach(session, source, specimen_id, row.ordinal, observation)
            if is_picture(observation):
                session.delete(row)
    session.flush()
    return len(waiting)


def attach(session: Session, source: MessageSource, specimen_id: uuid.UUID, at: int, observation: Observation) -> int:
    """The pictures of an observation, kept with its specimen; how many are new. A resend brings the same ones again."""
    if not observation.attachments:
        return 0
    rows = session.execute(
        select(
            ResultAttachment.name,
            ResultAttachment.media_type,
            ResultAttachment.reference,
            func.sha256(ResultAttachment.data),
        ).where(ResultAttachment.specimen_id == specimen_id, ResultAttachment.code == observation.code)
    )
    known = {tuple(row) for row in rows}
    new = 0
    for attachment in observation.attachments:
        digest = hashlib.sha256(attachment.data).digest()
        content = (attachment.name, attachment.media_type, attachment.reference, digest)
        if content in known:
            continue
        known.add(content)
        new += 1
        session.add(
            ResultAttachment(
                specimen_id=specimen_id,
                inbox_id=source.inbox_id,
                ordinal=at,
                code=observation.code,
                name=attachment.name,
                media_type=attachment.media_type,
                data=attachment.data,
                reference=attachment.reference,
                received_at=source.received_at,
            )
        )
    return new


def of_specimen(session: Session, specimen_id: uuid.UUID) -> list[InstrumentNotice]:
    """What was said about a specimen: the newest of each name, those that the instrument raised first."""
    newest: dict[tuple[uuid.UUID | None, str], InstrumentNotice] = {}
    for row in session.scalars(
        select(InstrumentNotice)
        .where(InstrumentNotice.specimen_id == specimen_id)
        .order_by(InstrumentNotice.received_at, InstrumentNotice.ordinal)
    ):
        newest[row.instrument_id, row.name] = row
    return sorted(newest.values(), key=lambda row: (not row.raised, row.ordinal))
