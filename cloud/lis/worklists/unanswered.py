"""Tubes that stood on an instrument and got no order: listed until their order came, a result came, or somebody closes.

Never commits. What a specimen has to do with a row is decided under the specimen's lock, the one that `service.refresh`
takes: an order that comes while the box's word of the tube is stored is seen by one of the two.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import case, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.kit.live import announce
from cloud.kit.storable import storable
from cloud.lis.instruments.model import Instrument
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen, SpecimenBarcode, SpecimenState
from cloud.lis.specimens.rules import clean_barcode
from cloud.lis.worklists import service
from cloud.lis.worklists.model import ClosedHow, UnansweredState, UnansweredTube
from cloud.web.i18n import mark as N_
from protocols.model import UnansweredQuery

TOPIC = "unanswered"
RIGHT = "unmatched.match"
SHOWN_FOR = timedelta(hours=24)
"""Closed ones stay on the page for so long."""
OLD_AFTER = timedelta(days=7)
"""A tube of last week is not on the bench any more."""
_OPEN = UnansweredTube.state != UnansweredState.CLOSED


class Closer(Protocol):
    """`cloud.staff.access.CurrentStaff` is one."""

    @property
    def id(self) -> uuid.UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def permissions(self) -> Collection[str]: ...


def keep(session: Session, gateway: str, link: str, asked_at: datetime, items: Iterable[UnansweredQuery]) -> int:
    """What a box told of tubes without an order; gives how many. Its caller makes sure that it is told once."""
    kept = 0
    for item in items:
        specimen = specimens.find(session, item.specimen) if item.specimen else None
        if specimen is not None:
            specimen = _locked(session, specimen.id)
        _put(session, gateway, link, asked_at, item, specimen)
        if specimen is not None:
            consider(session, specimen)
        kept += 1
    if kept:
        announce(session, TOPIC)
    return kept


def _put(
    session: Session, gateway: str, link: str, asked_at: datetime, item: UnansweredQuery, specimen: Specimen | None
) -> None:
    what = clean_barcode(item.specimen or "") or f"{item.rack or ''}/{item.position or ''}"
    told = insert(UnansweredTube).values(
        id=new_id(),
        gateway=gateway,
        link=link,
        what=storable(what)[:128],
        barcode=storable(item.specimen),
        rack=storable(item.rack),
        position=storable(item.position),
        specimen_id=specimen.id if specimen is not None else None,
        reason=storable(item.reason)[:32],
        asked_at=asked_at,
        last_asked_at=asked_at,
        times=1,
        state=UnansweredState.WAITING,
        created_at=clock.now(),
    )
    session.execute(
        told.on_conflict_do_update(
            index_elements=["gateway", "link", "what"],
            index_where=text("state <> 'closed'"),
            set_={
                "times": UnansweredTube.times + 1,
                "last_asked_at": func.greatest(UnansweredTube.last_asked_at, told.excluded.last_asked_at),
                "reason": told.excluded.reason,
                "rack": told.excluded.rack,
                "position": told.excluded.position,
                "specimen_id": func.coalesce(told.excluded.specimen_id, UnansweredTube.specimen_id),
            },
        )
    )


def consider(session: Session, specimen: Specimen) -> int:
    """The specimen changed: which of its rows have their order now, and which have not any more. How many moved."""
    barcodes = select(SpecimenBarcode.barcode).where(SpecimenBarcode.specimen_id == specimen.id)
    rows = session.scalars(
        select(UnansweredTube)
        .where(_OPEN, UnansweredTube.what.in_(barcodes))
        .order_by(UnansweredTube.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    if not rows:
        return 0
    wanted = service.wanted_by_gateway(session, specimen)
    moved = 0
    for row in rows:
        row.specimen_id = specimen.id
        has_order = row.link in wanted.get(row.gateway, {})
        if has_order and row.state == UnansweredState.WAITING:
            row.state, row.order_came_at = UnansweredState.ORDER_CAME, clock.now()
        elif not has_order and specimen.state == SpecimenState.DONE:
            _close(row, ClosedHow.DONE)
        elif not has_order and row.state == UnansweredState.ORDER_CAME:
            row.state, row.order_came_at = UnansweredState.WAITING, None
        else:
            continue
        moved += 1
    if moved:
        announce(session, TOPIC, {"specimen": str(specimen.id)})
    return moved


def specimen_changed(session: Session, specimen_id: uuid.UUID) -> int:
    specimen = _locked(session, specimen_id)
    return 0 if specimen is None else consider(session, specimen)


def result_came(session: Session, gateway: str, link: str, barcodes: Iterable[str | None]) -> int:
    """The instrument measured these tubes: nothing waits there any more. How many rows that closed."""
    read = {clean_barcode(each or "") for each in barcodes} - {""}
    if not read:
        return 0
    closed = session.scalars(
        update(UnansweredTube)
        .where(_OPEN, UnansweredTube.gateway == gateway, UnansweredTube.link == link, UnansweredTube.what.in_(read))
        .values(state=UnansweredState.CLOSED, closed_how=ClosedHow.RESULT, closed_at=clock.now())
        .returning(UnansweredTube.id)
        .execution_options(synchronize_session=False)
    ).all()
    if closed:
        announce(session, TOPIC)
    return len(closed)


def close(session: Session, row_id: uuid.UUID, *, by: Closer, reason: str) -> None:
    """Somebody dealt with the tube. Refuses without a reason and for one that is closed already."""
    if RIGHT not in by.permissions:
        raise Forbidden("forbidden", N_("您没有这项操作的权限，请联系管理员。"), permission=RIGHT)
    if not reason.strip():
        raise Invalid("unanswered.reason", N_("请填写处理说明（例如：标本已由另一台仪器检测）。"))
    row = session.get(UnansweredTube, row_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("unanswered.unknown", N_("没有这条记录。"))
    if row.state == UnansweredState.CLOSED:
        raise Conflict("unanswered.closed", N_("这支标本已经处理过了，请刷新列表。"))
    before = str(row.state)
    _close(row, ClosedHow.BY_HAND)
    row.closed_by, row.closed_by_name, row.close_reason = by.id, by.name, reason.strip()[:500]
    session.flush()
    record(
        session,
        actor=f"staff:{by.id}",
        action="unanswered.closed",
        aggregate=("unanswered", str(row.id)),
        before={"state": before, "reason": row.reason},
        after={"state": str(row.state)},
        reason=row.close_reason,
    )
    announce(session, TOPIC)


def look_again(session: Session, limit: int = 500) -> int:
    """For a job: an order that came while the box's word was on its way, and what is old. How many rows moved."""
    old = update(UnansweredTube).where(_OPEN, UnansweredTube.last_asked_at < clock.now() - OLD_AFTER)
    closed = old.values(state=UnansweredState.CLOSED, closed_how=ClosedHow.OLD, closed_at=clock.now())
    moved = len(session.scalars(closed.returning(UnansweredTube.id)).all())
    known = (
        select(SpecimenBarcode.specimen_id)
        .join(UnansweredTube, UnansweredTube.what == SpecimenBarcode.barcode)
        .where(_OPEN)
        .distinct()
        .order_by(SpecimenBarcode.specimen_id)
        .limit(limit)
    )
    moved += sum(specimen_changed(session, each) for each in session.scalars(known).all())
    if moved:
        announce(session, TOPIC)
    return moved


# ---------------------------------------------------------------------- for the page


@dataclass(frozen=True, slots=True)
class Listed:
    tube: UnansweredTube
    instrument: str
    accession: str | None


def listed(session: Session) -> tuple[list[Listed], list[Listed]]:
    """(open, those to be put on again first; closed within a day), bounded."""
    again_first = case((UnansweredTube.state == UnansweredState.ORDER_CAME, 0), else_=1)
    open_ = _rows(session, [_OPEN], [again_first, UnansweredTube.last_asked_at.desc()], 300)
    recently = UnansweredTube.closed_at > clock.now() - SHOWN_FOR
    return open_, _rows(session, [~_OPEN, recently], [UnansweredTube.closed_at.desc()], 50)


def one(session: Session, row_id: uuid.UUID) -> Listed:
    found = _rows(session, [UnansweredTube.id == row_id], [UnansweredTube.id], 1)
    if not found:
        raise NotFound("unanswered.unknown", N_("没有这条记录。"))
    return found[0]


def _rows(session: Session, where: Sequence[object], order: Sequence[object], limit: int) -> list[Listed]:
    query = (
        select(UnansweredTube, Instrument.name, Specimen.accession)
        .outerjoin(
            Instrument, (Instrument.gateway == UnansweredTube.gateway) & (Instrument.link == UnansweredTube.link)
        )
        .outerjoin(Specimen, Specimen.id == UnansweredTube.specimen_id)
        .where(*where)  # type: ignore[arg-type]
        .order_by(*order)  # type: ignore[arg-type]
        .limit(limit)
    )
    return [
        Listed(row, name or f"{row.gateway}/{row.link}", accession) for row, name, accession in session.execute(query)
    ]


def open_count(session: Session) -> int:
    """For the home page."""
    return session.scalar(select(func.count()).where(_OPEN)) or 0


def again_count(session: Session) -> int:
    """Tubes whose order came: put them on again."""
    return session.scalar(select(func.count()).where(UnansweredTube.state == UnansweredState.ORDER_CAME)) or 0


def _close(row: UnansweredTube, how: ClosedHow) -> None:
    row.state, row.closed_how, row.closed_at = UnansweredState.CLOSED, how, clock.now()


def _locked(session: Session, specimen_id: uuid.UUID) -> Specimen | None:
    return session.get(Specimen, specimen_id, populate_existing=True, with_for_update={"key_share": True})
