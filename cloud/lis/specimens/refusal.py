"""Rejecting a specimen with a coded reason (拒收), its re-collection, the ward told, and cancelled tubes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.events import publish
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, Order, OrderItem
from cloud.lis.specimens import lookup, record, tubing
from cloud.lis.specimens.events import SpecimenRejected
from cloud.lis.specimens.model import Handling, Specimen, SpecimenDefect, SpecimenState, may_become
from cloud.lis.specimens.rules import RejectionReason
from cloud.web.i18n import mark as N_

OPEN_ITEMS = (ItemState.ORDERED, ItemState.COLLECTED, ItemState.RECEIVED, ItemState.RESULTED)
"""Not released: a value that nobody will release does not finish its test."""
TOLD_HOW = ("phone", "screen", "person")


@dataclass(frozen=True, slots=True)
class Rejected:
    """What became of it; `replacement` is the tube to draw instead."""

    specimen: Specimen
    replacement: Specimen | None


def reject(
    session: Session,
    barcode: str,
    *,
    by: str,
    reason_code: str,
    note: str = "",
    recollect: bool = True,
    place: str = "",
    device: str = "",
) -> Rejected:
    """Refuse a tube. Its unfinished tests go to a new one, linked to this, or are cancelled (`recollect` false).

    Values that exist already stay with the rejected tube, whose values are never released: their tests are measured
    again on the new one (haemolysis is often seen only when the values are there), or cancelled with the others.
    Released tests stay as they are. What is wrong with a tube is wrong with its aliquots: they are rejected with it.
    """
    checked_reason(reason_code, note)
    found = lookup.by_barcode(session, barcode)
    order = orders.locked(session, found.order_id)
    was = found.state
    specimen = record.claim(session, found, SpecimenState.REJECTED)
    children = [
        each for each in lookup.aliquots_of(session, specimen.id) if each.state in may_become(SpecimenState.REJECTED)
    ]
    replacement = None
    if recollect and _unfinished(session, [specimen, *children]):
        source = _outermost(session, specimen)  # an aliquot is drawn anew from the patient as what it was poured from
        replacement = tubing.make(session, order, source.tube_id, source.specimen_type, by=by, replaces_id=specimen.id)
    said = _Said(by, reason_code, note.strip(), place, device)
    _refuse_one(session, order, specimen, was, replacement, said)
    for child in children:
        before = child.state
        claimed = record.claim(session, child, SpecimenState.REJECTED)
        _refuse_one(session, order, claimed, before, replacement, said)
    return Rejected(specimen, replacement)


def _unfinished(session: Session, specimens: list[Specimen]) -> bool:
    """Whether there is anything left to draw again for."""
    return any(item.state in OPEN_ITEMS for each in specimens for item in lookup.live_items(session, each.id))


def checked_reason(reason_code: str, note: str) -> None:
    """Raises `Invalid` for a reason that is no code of ours, or "other" without a word."""
    if reason_code not in set(RejectionReason):
        raise Invalid("reason_unknown", N_("请选择拒收原因。"))
    if reason_code == RejectionReason.OTHER and not note.strip():
        raise Invalid("note_missing", N_("原因为“其他”时请填写说明。"))


@dataclass(frozen=True, slots=True)
class _Said:
    by: str
    reason_code: str
    note: str
    place: str
    device: str


def _refuse_one(
    session: Session, order: Order, specimen: Specimen, was: str, replacement: Specimen | None, said: _Said
) -> None:
    """The claimed tube's tests, its line of history, the fact and the audit entry."""
    moved = [each for each in lookup.live_items(session, specimen.id) if each.state in OPEN_ITEMS]
    detail: dict[str, Any] = {
        "note": said.note,
        "replacement": replacement.accession if replacement else None,
        "from": was,
        "items": {str(each.id): each.state for each in moved},
    }
    if replacement is not None:
        session.execute(
            update(OrderItem)
            .where(OrderItem.specimen_id == specimen.id, OrderItem.state.in_(OPEN_ITEMS))
            .values(specimen_id=replacement.id, state=ItemState.ORDERED)
        )
    elif moved:
        ids = [each.id for each in moved]
        reason = said.note or said.reason_code
        orders.cancel_order(session, order.id, reason=reason, by=said.by, item_ids=ids, with_values=True)
    session.add(
        SpecimenDefect(
            specimen_id=specimen.id,
            handling=Handling.REJECTED,
            reason_code=said.reason_code,
            note=said.note,
            by=said.by,
            replacement_id=replacement.id if replacement else None,
        )
    )
    record.append(
        session,
        specimen.id,
        "rejected",
        by=said.by,
        place=said.place,
        device=said.device,
        reason_code=said.reason_code,
        detail=detail,
        reason=said.note,
    )
    publish(
        session,
        SpecimenRejected(
            aggregate_id=specimen.id,
            order_id=order.id,
            person_id=specimen.person_id,
            accession=specimen.accession,
            reason_code=said.reason_code,
            replacement_id=replacement.id if replacement else None,
        ),
    )
    record.tell_pages(session, specimen)
    audit.record(
        session,
        actor=said.by,
        action="specimen.reject",
        aggregate=("specimen", str(specimen.id)),
        before={"state": was},
        after={"reason": said.reason_code, "note": said.note, "replacement": detail["replacement"]},
        reason=said.note or None,
    )


def _outermost(session: Session, specimen: Specimen) -> Specimen:
    while specimen.parent_id is not None:
        specimen = session.get_one(Specimen, specimen.parent_id)
    return specimen


def told_ward(session: Session, defect_id: uuid.UUID, *, by: str, whom: str, how: str = "phone") -> SpecimenDefect:
    """The ward knows that its tube was refused: whom we told, who told them and when. Told once."""
    if not whom.strip():
        raise Invalid("told_whom_missing", N_("请填写被通知人。"))
    if how not in TOLD_HOW:
        raise Invalid("told_how_unknown", N_("请选择通知方式。"))
    told = session.scalar(
        update(SpecimenDefect)
        .where(SpecimenDefect.id == defect_id, SpecimenDefect.told_at.is_(None), SpecimenDefect.undone_at.is_(None))
        .values(told_at=clock.now(), told_by=by, told_whom=whom.strip(), told_how=how)
        .returning(SpecimenDefect)
        .execution_options(populate_existing=True)
    )
    if told is None:
        if session.get(SpecimenDefect, defect_id) is None:
            raise NotFound("defect_unknown", N_("没有这条不合格记录。"))
        raise Conflict("told_already", N_("该拒收已通知过或已撤销，请刷新页面。"))
    record.append(session, told.specimen_id, "ward_told", by=by, detail={"whom": told.told_whom, "how": how})
    specimen = session.get_one(Specimen, told.specimen_id)
    record.tell_pages(session, specimen)
    return told


def defects_of(session: Session, specimen_id: uuid.UUID) -> list[SpecimenDefect]:
    """Rejections and concessions of a tube, undone ones too, oldest first."""
    found = select(SpecimenDefect).where(SpecimenDefect.specimen_id == specimen_id).order_by(SpecimenDefect.id)
    return list(session.scalars(found))


def untold(session: Session, limit: int = 200) -> list[SpecimenDefect]:
    """Rejections of which no ward was told, oldest first."""
    return list(session.scalars(select(SpecimenDefect).where(_UNTOLD).order_by(SpecimenDefect.at).limit(limit)))


def untold_count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(SpecimenDefect).where(_UNTOLD)) or 0


_UNTOLD = (
    SpecimenDefect.told_at.is_(None)
    & SpecimenDefect.undone_at.is_(None)
    & (SpecimenDefect.handling == Handling.REJECTED)
)


def cancel_emptied(session: Session, specimen_ids: tuple[uuid.UUID, ...], *, by: str) -> None:
    """After items were cancelled: a tube without any test left is cancelled, the others have other tests now."""
    for specimen_id in sorted(specimen_ids):
        live = select(OrderItem.id).where(OrderItem.specimen_id == specimen_id, OrderItem.state != ItemState.CANCELLED)
        # A tube whose tests all went to its aliquots is not cancelled: it is what they were poured from.
        poured = select(Specimen.id).where(Specimen.parent_id == specimen_id).correlate(None)
        emptied = session.scalar(
            update(Specimen)
            .where(
                Specimen.id == specimen_id,
                Specimen.state.in_(may_become(SpecimenState.CANCELLED)),
                ~live.exists(),
                ~poured.exists(),
            )
            .values(state=SpecimenState.CANCELLED)
            .returning(Specimen.id)
        )
        if emptied is not None:
            record.append(session, specimen_id, "cancelled", by=by)
        specimen = session.get(Specimen, specimen_id)
        if specimen is not None:
            record.tests_changed(session, specimen)
