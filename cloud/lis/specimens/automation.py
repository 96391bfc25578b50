"""What an assembly line did with tubes, on the timeline of those that are ours.

An event names its tube by any barcode the tube ever bore. An aliquot whose own barcode is nobody's belongs to the tube
it was taken from. The line's events move no state: a tube is received by a person's scan (and its bill executed), not
because a conveyor saw it. Where the line stored it, took it out or threw it away is told to storage as a fact. The
database refuses changes of the timeline, so that an event is written once (the caller's message is taken in once).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.bulk import insert_rows
from cloud.kit.events import publish
from cloud.kit.storable import storable, storable_json
from cloud.lis.specimens.events import TubeMovedByLine
from cloud.lis.specimens.model import ClockSource, SpecimenBarcode, SpecimenEvent
from cloud.lis.specimens.rules import clean_barcode
from protocols import model

PREFIX = "line_"
"""Before the action, so that the line's "stored" is never a person's."""
_MOVES = (f"{PREFIX}stored", f"{PREFIX}retrieved", f"{PREFIX}disposed")
_SHOWN = ("rack", "position", "destination", "parent", "volume_ul", "detail")


class Source(Protocol):
    """The message that carried them."""

    @property
    def gateway(self) -> str: ...
    @property
    def link(self) -> str: ...
    @property
    def received_at(self) -> datetime: ...


Placed = tuple[int, model.SpecimenEvent]


def keep_line_events(session: Session, source: Source, events: Sequence[Placed]) -> list[Placed]:
    """Write them on their tubes' timelines; gives back those whose tube nobody knows."""
    if not events:
        return []
    known = _specimens(session, events)
    rows: list[SpecimenEvent] = []
    unknown: list[Placed] = []
    for at, event in events:
        specimen = known.get(clean_barcode(event.specimen or ""))
        aliquot = None
        if specimen is None and event.parent:
            specimen, aliquot = known.get(clean_barcode(event.parent)), event.specimen
        if specimen is None:
            unknown.append((at, event))
        else:
            rows.append(_row(source, specimen, event, aliquot))
    insert_rows(session, rows)
    for row in rows:
        if row.type in _MOVES and "aliquot" not in row.detail:
            publish(session, _moved(row))
    return unknown


def _moved(row: SpecimenEvent) -> TubeMovedByLine:
    return TubeMovedByLine(
        aggregate_id=row.specimen_id,
        action=row.type.removeprefix(PREFIX),
        rack=str(row.detail.get("rack", "")),
        position=str(row.detail.get("position", "")),
        module=row.place,
        line=row.by,
        moved_at=row.at,
    )


def _row(source: Source, specimen: uuid.UUID, event: model.SpecimenEvent, aliquot: str | None) -> SpecimenEvent:
    detail = {key: value for key in _SHOWN if (value := getattr(event, key))}
    if aliquot:
        detail["aliquot"] = aliquot
    return SpecimenEvent(
        specimen_id=specimen,
        type=PREFIX + event.action,
        at=clock.from_instrument(event.occurred_at) or source.received_at,
        by=f"line:{source.gateway}/{source.link}",
        place=storable(event.module or ""),
        device=storable(event.module or "")[:64],
        clock_source=ClockSource.LINE if clock.from_instrument(event.occurred_at) else ClockSource.SERVER,
        detail=storable_json(detail),
    )


def _specimens(session: Session, events: Sequence[Placed]) -> dict[str, uuid.UUID]:
    barcodes = {clean_barcode(each or "") for _, event in events for each in (event.specimen, event.parent)} - {""}
    rows = session.execute(
        select(SpecimenBarcode.barcode, SpecimenBarcode.specimen_id).where(SpecimenBarcode.barcode.in_(barcodes))
    )
    return {row.barcode: row.specimen_id for row in rows}
