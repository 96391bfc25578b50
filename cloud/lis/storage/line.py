"""Storage modules of assembly lines: the line says where it put a tube, and it is right about its own racks.

A tube that stood in that place by our books has left it without a word; a step older than what we know changes nothing.
"""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.ids import new_id
from cloud.lis.specimens import record
from cloud.lis.specimens.events import TubeMovedByLine
from cloud.lis.specimens.model import ClockSource, Whereabouts, may_get
from cloud.lis.storage import service
from cloud.lis.storage.model import RackState, StorageRack, StorageUnit, StoredTube, UnitKind


def moved(session: Session, event: TubeMovedByLine) -> None:
    """Bring our books in line with one step of the line. Its effect twice is its effect once."""
    specimen = record.locked(session, event.aggregate_id)
    newest = session.scalars(
        select(StoredTube).where(StoredTube.specimen_id == specimen.id).order_by(StoredTube.id.desc()).limit(1)
    ).first()
    if newest is not None and event.moved_at <= (newest.left_at or newest.stored_at):
        return
    if event.action == "stored":
        if specimen.whereabouts in may_get(Whereabouts.STORED) and event.rack:
            _stored(session, event)
    elif event.action == "retrieved" and specimen.whereabouts == Whereabouts.STORED:
        service.leave(session, specimen.id, by=event.line, how="retrieved")
        _note(session, event, Whereabouts.RETRIEVED)
    elif event.action == "disposed" and specimen.whereabouts in may_get(Whereabouts.DISCARDED):
        service.leave(session, specimen.id, by=event.line, how="discarded")
        _note(session, event, Whereabouts.DISCARDED)


def _stored(session: Session, event: TubeMovedByLine) -> None:
    rack = _rack(session, event)
    session.get_one(StorageRack, rack.id, with_for_update=True, populate_existing=True)
    place = event.position[:16] or "?"
    gone = session.scalar(
        update(StoredTube)
        .where(StoredTube.rack_id == rack.id, StoredTube.position == place, StoredTube.left_at.is_(None))
        .where(StoredTube.specimen_id != event.aggregate_id)
        .values(left_at=clock.now(), left_by=event.line, left_how="displaced")
        .returning(StoredTube.specimen_id)
    )
    if gone is not None:
        other = record.put(session, record.locked(session, gone), Whereabouts.RETRIEVED)
        record.append(session, other.id, "retrieved", by=event.line, device=event.module, reason="displaced")
    service.leave(session, event.aggregate_id, by=event.line, how="moved")
    session.add(
        StoredTube(
            rack_id=rack.id,
            position=place,
            specimen_id=event.aggregate_id,
            stored_by=event.line,
            stored_at=event.moved_at,
        )
    )
    session.flush()
    _note(session, event, Whereabouts.STORED)


def _rack(session: Session, event: TubeMovedByLine) -> StorageRack:
    """The rack that the line names; one that nobody entered is made, without a grid."""
    code = event.rack[:32]
    found = session.scalar(select(StorageRack).where(StorageRack.code == code))
    if found is not None:
        return found
    module = (event.module or event.line)[:32]
    session.execute(
        insert(StorageUnit)
        .values(id=new_id(), created_at=clock.now(), code=module, name=module, kind=UnitKind.LINE, place="")
        .on_conflict_do_nothing()
    )
    unit = session.scalars(select(StorageUnit).where(StorageUnit.code == module)).one()
    session.execute(
        insert(StorageRack)
        .values(
            id=new_id(),
            created_at=clock.now(),
            code=code,
            name=code,
            unit_id=unit.id,
            rows=0,
            columns=0,
            state=RackState.OPEN,
        )
        .on_conflict_do_nothing()
    )
    return session.scalars(select(StorageRack).where(StorageRack.code == code)).one()


def _note(session: Session, event: TubeMovedByLine, goes_to: Whereabouts) -> None:
    specimen = record.put(session, record.locked(session, event.aggregate_id), goes_to)
    detail = {key: value for key, value in (("rack", event.rack), ("position", event.position)) if value}
    record.append(
        session,
        specimen.id,
        str(goes_to),
        by=event.line,
        at=event.moved_at,
        place=event.module,
        device=event.module[:64],
        clock_source=ClockSource.LINE,
        detail=detail,
    )
    record.tell_pages(session, specimen)
