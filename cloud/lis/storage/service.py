"""The verbs of storage: put a tube into a place, take it out. They never commit.

Of two scans into one place one succeeds: the rack's row is locked for the next free place, and a unique index refuses a
second tube wherever it comes from.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.live import announce
from cloud.lis.specimens import lookup, policy, record
from cloud.lis.specimens.model import ClockSource, Specimen, SpecimenState, Whereabouts
from cloud.lis.specimens.rules import clean_barcode
from cloud.lis.storage import rules
from cloud.lis.storage.model import RackState, StorageRack, StorageUnit, StoredTube, UnitKind
from cloud.web.i18n import mark as N_

NOT_HERE = (SpecimenState.PRINTED, SpecimenState.COLLECTED, SpecimenState.IN_TRANSIT)


def add_unit(session: Session, *, code: str, name: str, kind: str, place: str = "", by: str) -> StorageUnit:
    """A refrigerator, freezer, cold room."""
    wanted = clean_barcode(code)[:32]
    if not wanted or not name.strip() or kind not in set(UnitKind):
        raise Invalid("unit_incomplete", N_("请填写编号、名称和类型。"))
    if session.scalar(select(StorageUnit.id).where(StorageUnit.code == wanted)) is not None:
        raise Conflict("unit_code_taken", N_("编号 {rack} 已存在。"), rack=wanted)
    unit = StorageUnit(code=wanted, name=name.strip(), kind=kind, place=place.strip())
    session.add(unit)
    session.flush()
    audit.record(
        session, actor=by, action="storage.unit", aggregate=("storage_unit", wanted), after={"name": unit.name}
    )
    return unit


def add_rack(
    session: Session,
    *,
    code: str,
    name: str,
    unit_id: uuid.UUID,
    rows: int,
    columns: int,
    keep_days: int | None = None,
    by: str,
) -> StorageRack:
    """A rack with a grid of at most 26 rows and 50 columns."""
    wanted = clean_barcode(code)[:32]
    sized = 0 < rows <= 26 and 0 < columns <= 50
    if not wanted or not name.strip() or not sized or session.get(StorageUnit, unit_id) is None:
        raise Invalid("rack_incomplete", N_("请填写架号、名称、位置和行列数（最多 26 行 50 列）。"))
    if keep_days is not None and not 0 <= keep_days <= 3650:
        raise Invalid("keep_days_wrong", N_("保存天数须在 0 至 3650 之间。"))
    if session.scalar(select(StorageRack.id).where(StorageRack.code == wanted)) is not None:
        raise Conflict("rack_code_taken", N_("编号 {rack} 已存在。"), rack=wanted)
    rack = StorageRack(code=wanted, name=name.strip(), unit_id=unit_id, rows=rows, columns=columns, keep_days=keep_days)
    session.add(rack)
    session.flush()
    audit.record(
        session, actor=by, action="storage.rack", aggregate=("storage_rack", wanted), after={"name": rack.name}
    )
    return rack


def rack_by_code(session: Session, code: str) -> StorageRack:
    """Raises `NotFound`, with the code named."""
    wanted = clean_barcode(code)[:32]
    rack = session.scalar(select(StorageRack).where(StorageRack.code == wanted))
    if rack is None:
        raise NotFound("rack_unknown", N_("没有编号为 {rack} 的标本架。"), rack=wanted)
    return rack


def store(
    session: Session,
    rack_code: str,
    barcode: str,
    *,
    by: str,
    position: str | None = None,
    device: str = "",
) -> StoredTube:
    """Put the tube into the next free place of a rack, or into `position`. One that stood elsewhere leaves there.

    Raises `Conflict` for a full rack, a place that is taken, a tube that is not in the laboratory or discarded.
    """
    rack = rack_by_code(session, rack_code)
    session.get_one(StorageRack, rack.id, with_for_update=True, populate_existing=True)
    if rack.state != RackState.OPEN or not rack.rows:
        raise Conflict("rack_closed", N_("标本架 {rack} 已关闭，不能再放入。"), rack=rack.code)
    specimen = record.locked(session, lookup.by_barcode(session, barcode).id)
    if specimen.state in NOT_HERE:
        raise Conflict("not_in_laboratory", N_("标本 {barcode} 尚未接收，不能入库。"), barcode=specimen.barcode)
    taken = set(session.scalars(select(StoredTube.position).where(_here(rack.id))))
    if position is None:
        chosen = rules.next_free(rack.rows, rack.columns, taken)
        if chosen is None:
            raise Conflict("rack_full", N_("标本架 {rack} 已满，请换一架。"), rack=rack.code)
    else:
        chosen = position.strip().upper()
        if not rules.is_place(chosen, rack.rows, rack.columns):
            raise Invalid("place_unknown", N_("标本架 {rack} 没有位置 {place}。"), rack=rack.code, place=chosen[:8])
        if chosen in taken:
            raise Conflict("place_taken", N_("位置 {place} 已有标本。"), place=chosen)
    return _place(session, rack, specimen, chosen, by=by, device=device)


def _place(
    session: Session,
    rack: StorageRack,
    specimen: Specimen,
    position: str,
    *,
    by: str,
    device: str = "",
    clock_source: str = ClockSource.SERVER,
) -> StoredTube:
    specimen = record.put(session, specimen, Whereabouts.STORED)
    leave(session, specimen.id, by=by, how="moved")
    days = rack.keep_days if rack.keep_days is not None else policy.value(session, "keep_days")
    stored = StoredTube(
        rack_id=rack.id,
        position=position,
        specimen_id=specimen.id,
        stored_by=by,
        discard_on=None if days is None else clock.today() + timedelta(days=days),
    )
    try:
        with session.begin_nested():
            session.add(stored)
    except IntegrityError:
        raise Conflict("place_taken", N_("位置 {place} 已有标本。"), place=position) from None
    unit = session.get_one(StorageUnit, rack.unit_id)
    detail = {"rack": rack.code, "position": position}
    record.append(
        session,
        specimen.id,
        "stored",
        by=by,
        place=unit.name,
        device=device,
        clock_source=clock_source,
        detail=detail,
    )
    _tell(session, rack, specimen)
    return stored


def retrieve(session: Session, barcode: str, *, by: str, reason: str, device: str = "") -> Specimen:
    """Take a tube out of its rack, for what."""
    because = record.needs_reason(reason)
    specimen = record.locked(session, lookup.by_barcode(session, barcode).id)
    if specimen.whereabouts != Whereabouts.STORED:
        raise Conflict("not_stored", N_("标本 {barcode} 不在库中。"), barcode=specimen.barcode)
    stood = leave(session, specimen.id, by=by, how="retrieved")
    specimen = record.put(session, specimen, Whereabouts.RETRIEVED)
    rack = session.get(StorageRack, stood.rack_id) if stood else None
    detail = {"rack": rack.code, "position": stood.position} if rack and stood else {}
    record.append(session, specimen.id, "retrieved", by=by, device=device, reason=because, detail=detail)
    if rack is not None:
        _tell(session, rack, specimen)
    return specimen


def leave(session: Session, specimen_id: uuid.UUID, *, by: str, how: str) -> StoredTube | None:
    """The tube's place is free from now on; where it stood, if it stood anywhere."""
    return session.scalar(
        update(StoredTube)
        .where(StoredTube.specimen_id == specimen_id, StoredTube.left_at.is_(None))
        .values(left_at=clock.now(), left_by=by, left_how=how)
        .returning(StoredTube)
        .execution_options(populate_existing=True)
    )


def place_of(session: Session, specimen_id: uuid.UUID) -> tuple[StoredTube, StorageRack, StorageUnit] | None:
    """Where the tube stands now, or stood last."""
    row = session.execute(
        select(StoredTube, StorageRack, StorageUnit)
        .join(StorageRack, StorageRack.id == StoredTube.rack_id)
        .join(StorageUnit, StorageUnit.id == StorageRack.unit_id)
        .where(StoredTube.specimen_id == specimen_id)
        .order_by(StoredTube.left_at.is_(None).desc(), StoredTube.id.desc())
        .limit(1)
    ).first()
    return None if row is None else (row[0], row[1], row[2])


def tubes_in(session: Session, rack_id: uuid.UUID) -> dict[str, tuple[StoredTube, Specimen]]:
    """What stands in a rack, by place."""
    rows = session.execute(
        select(StoredTube, Specimen).join(Specimen, Specimen.id == StoredTube.specimen_id).where(_here(rack_id))
    )
    return {stored.position: (stored, specimen) for stored, specimen in rows}


def count_in(session: Session) -> dict[uuid.UUID, int]:
    """How many tubes stand in each rack."""
    rows = session.execute(
        select(StoredTube.rack_id, func.count()).where(StoredTube.left_at.is_(None)).group_by(StoredTube.rack_id)
    )
    return {row[0]: row[1] for row in rows}


def set_state(session: Session, rack_code: str, state: str, *, by: str) -> StorageRack:
    """Close a rack (put away) or open it again."""
    rack = rack_by_code(session, rack_code)
    if state not in set(RackState):
        raise Invalid("rack_state", N_("标本架的状态不正确。"))
    before, rack.state = rack.state, state
    session.flush()
    audit.record(
        session,
        actor=by,
        action="storage.rack_state",
        aggregate=("storage_rack", rack.code),
        before={"state": before},
        after={"state": state},
    )
    return rack


def _here(rack_id: uuid.UUID) -> ColumnElement[bool]:
    return (StoredTube.rack_id == rack_id) & StoredTube.left_at.is_(None)


def _tell(session: Session, rack: StorageRack, specimen: Specimen) -> None:
    announce(session, "storage", {"rack": rack.code, "specimen": str(specimen.id)})
