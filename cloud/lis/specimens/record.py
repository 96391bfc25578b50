"""Writing of specimens: one line of history, one claim of a state, one sentence why not. Nobody else writes a state."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import Conflict, Invalid, XinglinError
from cloud.kit.events import publish
from cloud.kit.live import announce
from cloud.lis.specimens.events import SpecimenTestsChanged
from cloud.lis.specimens.model import (
    SPECIMEN_UNDO,
    ClockSource,
    Specimen,
    SpecimenEvent,
    SpecimenState,
    Whereabouts,
    may_become,
    may_get,
)
from cloud.web.i18n import mark as N_


def append(
    session: Session,
    specimen_id: uuid.UUID,
    type_: str,
    *,
    by: str,
    at: datetime | None = None,
    place: str = "",
    reason_code: str | None = None,
    detail: dict[str, Any] | None = None,
    device: str = "",
    clock_source: str = ClockSource.SERVER,
    reason: str = "",
    submission: uuid.UUID | None = None,
) -> None:
    """Add one line to the specimen's history."""
    session.add(
        SpecimenEvent(
            specimen_id=specimen_id,
            type=type_,
            at=at or clock.now(),
            by=by,
            place=place,
            reason_code=reason_code,
            detail=detail or {},
            device=device,
            clock_source=clock_source,
            reason=reason,
            submission=submission,
        )
    )
    session.flush()


def claim(session: Session, specimen: Specimen, goes_to: SpecimenState, **values: Any) -> Specimen:
    """Move the specimen to a state that the table allows from its present one, or raise why not."""
    return _moved(session, specimen, may_become(goes_to), goes_to, values)


def claim_back(session: Session, specimen: Specimen, goes_to: SpecimenState, **values: Any) -> Specimen:
    """The same backwards, from the state the caller saw; only where `SPECIMEN_UNDO` has the step."""
    seen = SpecimenState(specimen.state)
    allowed = (seen,) if goes_to in SPECIMEN_UNDO.get(seen, frozenset()) else ()
    return _moved(session, specimen, allowed, goes_to, values)


def _moved(
    session: Session,
    specimen: Specimen,
    come_from: tuple[SpecimenState, ...],
    goes_to: SpecimenState,
    values: dict[str, Any],
) -> Specimen:
    claimed = session.scalar(
        update(Specimen)
        .where(Specimen.id == specimen.id, Specimen.state.in_(come_from))
        .values(state=goes_to, **values)
        .returning(Specimen)
        .execution_options(populate_existing=True)
    )
    if claimed is None:
        raise why_not(session, specimen)
    return claimed


def put(session: Session, specimen: Specimen, goes_to: Whereabouts) -> Specimen:
    """Note what became of the tube itself, where the table allows it from what is known; else raises `Conflict`."""
    claimed = session.scalar(
        update(Specimen)
        .where(Specimen.id == specimen.id, Specimen.whereabouts.in_(may_get(goes_to)))
        .values(whereabouts=goes_to)
        .returning(Specimen)
        .execution_options(populate_existing=True)
    )
    if claimed is None:
        session.refresh(specimen)
        raise not_there(specimen)
    return claimed


def locked(session: Session, specimen_id: uuid.UUID) -> Specimen:
    """The specimen as it stands now, its row locked until the transaction ends."""
    return session.get_one(Specimen, specimen_id, with_for_update={"key_share": True}, populate_existing=True)


def done_before(session: Session, specimen: Specimen, submission: uuid.UUID | None) -> bool:
    """Whether this very act is on the specimen's history already: the page sent it twice."""
    if submission is None:
        return False
    found = select(SpecimenEvent.id).where(
        SpecimenEvent.specimen_id == specimen.id, SpecimenEvent.submission == submission
    )
    return session.scalar(found.limit(1)) is not None


def needs_reason(reason: str) -> str:
    """The reason of a step back, without blanks; raises `Invalid` for none."""
    if not reason.strip():
        raise Invalid("reason_missing", N_("请填写原因。"))
    return reason.strip()


def not_there(specimen: Specimen) -> XinglinError:
    """Why this tube cannot be taken in hand."""
    sentence = {
        Whereabouts.DISCARDED: N_("标本 {barcode} 已丢弃，不能再操作。"),
        Whereabouts.LOST: N_("标本 {barcode} 已登记丢失，找到后请先登记找回。"),
        Whereabouts.STORED: N_("标本 {barcode} 已入库存放，请先取出。"),
    }.get(Whereabouts(specimen.whereabouts), N_("标本 {barcode} 不在库中。"))
    return Conflict(f"specimen_{specimen.whereabouts}", sentence, barcode=specimen.barcode)


def why_not(session: Session, specimen: Specimen) -> Conflict:
    """Why the tube is past this step, with the moment, as a sentence for who scanned it."""
    session.refresh(specimen)
    when = specimen.received_at or specimen.collected_at
    moment = clock.local(when).strftime("%H:%M:%S") if when else ""
    sentence = {
        SpecimenState.PRINTED: N_("标本 {barcode} 尚未采集。"),
        SpecimenState.COLLECTED: N_("标本 {barcode} 已于 {moment} 采集，不能重复采集。"),
        SpecimenState.IN_TRANSIT: N_("标本 {barcode} 已送出，正在途中。"),
        SpecimenState.RECEIVED: N_("标本 {barcode} 已于 {moment} 接收，不能重复操作。"),
        SpecimenState.REJECTED: N_("标本 {barcode} 已拒收，请使用重采的新标本。"),
        SpecimenState.CANCELLED: N_("标本 {barcode} 的医嘱已取消。"),
        SpecimenState.DONE: N_("标本 {barcode} 已完成检验。"),
    }.get(SpecimenState(specimen.state), N_("标本 {barcode} 的状态不允许此操作。"))
    return Conflict(f"specimen_{specimen.state}", sentence, barcode=specimen.barcode, moment=moment)


def tests_changed(session: Session, specimen: Specimen) -> None:
    """Say that another set of tests is to be done on this tube (or that it may not be measured any more)."""
    publish(
        session,
        SpecimenTestsChanged(aggregate_id=specimen.id, order_id=specimen.order_id, accession=specimen.accession),
    )


def told(specimen: Specimen) -> dict[str, Any]:
    """What most facts say of a specimen."""
    return {
        "order_id": specimen.order_id,
        "person_id": specimen.person_id,
        "accession": specimen.accession,
        "priority": specimen.priority,
    }


def tell_pages(session: Session, specimen: Specimen) -> None:
    announce(session, "specimens", {"specimen": str(specimen.id), "state": specimen.state})
