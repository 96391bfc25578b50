"""Steps back: a collection, a reception, a rejection undone. Each is a new event with a reason, and an audit entry;
what was written stays. Nothing is undone that others have built upon (a value, an aliquot, a tube drawn again).
"""

from __future__ import annotations

import uuid

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.specimens import charging, lookup, record, tubing
from cloud.lis.specimens.model import Handling, Specimen, SpecimenDefect, SpecimenEvent, SpecimenState, Whereabouts
from cloud.web.i18n import mark as N_


def undo_collection(session: Session, barcode: str, *, by: str, reason: str) -> Specimen:
    """The tube was not drawn after all, or from somebody else: its label waits for a collection again."""
    because = record.needs_reason(reason)
    found = lookup.by_barcode(session, barcode)
    if found.state != SpecimenState.COLLECTED:
        raise record.why_not(session, found)
    specimen = record.claim_back(session, found, SpecimenState.PRINTED, collected_at=None, collected_by=None)
    _items_become(session, specimen, ItemState.COLLECTED, ItemState.ORDERED)
    _note(session, specimen, "collection_undone", SpecimenState.COLLECTED, by, because)
    return specimen


def undo_reception(session: Session, barcode: str, *, by: str, reason: str) -> Specimen:
    """The tube is not in the laboratory (a wrong scan). Refused once something was measured on it or poured from it."""
    because = record.needs_reason(reason)
    specimen = record.locked(session, lookup.by_barcode(session, barcode).id)
    if specimen.state != SpecimenState.RECEIVED or specimen.parent_id is not None:
        raise record.why_not(session, specimen)
    if specimen.whereabouts in (Whereabouts.STORED, Whereabouts.DISCARDED):
        raise record.not_there(specimen)
    items = lookup.live_items(session, specimen.id)
    begun = any(each.state in (ItemState.RESULTED, ItemState.RELEASED) for each in items)
    if begun or lookup.aliquots_of(session, specimen.id):
        raise Conflict("work_begun", N_("标本 {barcode} 已有结果或已分杯，不能撤销接收。"), barcode=specimen.barcode)
    back_to = SpecimenState(_last(session, specimen.id, "received").detail.get("from") or _before_receipt(specimen))
    specimen = record.claim_back(session, specimen, back_to, received_at=None, received_by=None)
    _items_become(session, specimen, ItemState.RECEIVED, tubing.item_state_on(specimen))
    charging.given_back(session, specimen.order_id, [each.id for each in items], by=by, reason=because)
    _note(session, specimen, "reception_undone", SpecimenState.RECEIVED, by, because)
    return specimen


def undo_rejection(session: Session, barcode: str, *, by: str, reason: str) -> Specimen:
    """The tube is fit after all: its tests come back from the tube to be drawn instead, which is cancelled.

    Refused when that tube was drawn already, or when the tests were cancelled instead of drawn again.
    """
    because = record.needs_reason(reason)
    found = lookup.by_barcode(session, barcode)
    orders.locked(session, found.order_id)
    if found.state != SpecimenState.REJECTED:
        raise record.why_not(session, found)
    rejection = _last(session, found.id, "rejected")
    before = {uuid.UUID(item): state for item, state in rejection.detail.get("items", {}).items()}
    if found.whereabouts == Whereabouts.DISCARDED:
        raise record.not_there(found)
    defect = session.scalar(
        select(SpecimenDefect)
        .where(
            SpecimenDefect.specimen_id == found.id,
            SpecimenDefect.handling == Handling.REJECTED,
            SpecimenDefect.undone_at.is_(None),
        )
        .with_for_update()
    )
    if defect is None or defect.replacement_id is None:
        raise Conflict(
            "tests_cancelled",
            N_("标本 {barcode} 的项目已随拒收取消，不能撤销拒收；请另开医嘱。"),
            barcode=found.barcode,
        )
    _take_back(session, found, defect.replacement_id, before, by)
    specimen = record.claim_back(session, found, SpecimenState(rejection.detail.get("from") or _before_receipt(found)))
    defect.undone_at, defect.undone_by, defect.undo_reason = clock.now(), by, because
    _note(session, specimen, "rejection_undone", SpecimenState.REJECTED, by, because)
    return specimen


def _take_back(
    session: Session, specimen: Specimen, replacement_id: uuid.UUID, before: dict[uuid.UUID, str], by: str
) -> None:
    """The tests leave the tube that was to be drawn instead, as they were; it is cancelled once nothing is on it."""
    replacement = record.locked(session, replacement_id)
    if replacement.state != SpecimenState.PRINTED:
        raise Conflict(
            "recollected_already",
            N_("重采的标本 {barcode} 已采集，不能撤销拒收。"),
            barcode=replacement.barcode,
        )
    for state in sorted(set(before.values())):
        session.execute(
            update(OrderItem)
            .where(
                OrderItem.id.in_([item for item, was in before.items() if was == state]),
                OrderItem.specimen_id == replacement_id,
                OrderItem.state == ItemState.ORDERED,
            )
            .values(specimen_id=specimen.id, state=state)
        )
    if not lookup.live_items(session, replacement_id):
        record.claim(session, replacement, SpecimenState.CANCELLED)
        record.append(session, replacement_id, "cancelled", by=by, detail={"instead_of": specimen.accession})


def _before_receipt(specimen: Specimen) -> SpecimenState:
    return SpecimenState.COLLECTED if specimen.collected_at else SpecimenState.PRINTED


def _last(session: Session, specimen_id: uuid.UUID, type_: str) -> SpecimenEvent:
    found = select(SpecimenEvent).where(SpecimenEvent.specimen_id == specimen_id, SpecimenEvent.type == type_)
    return session.scalars(found.order_by(SpecimenEvent.id.desc()).limit(1)).one()


def _items_become(session: Session, specimen: Specimen, come_from: ItemState, goes_to: ItemState) -> None:
    session.execute(
        update(OrderItem)
        .where(OrderItem.specimen_id == specimen.id, OrderItem.state == come_from)
        .values(state=goes_to)
    )


def _note(session: Session, specimen: Specimen, type_: str, was: str, by: str, reason: str) -> None:
    record.append(
        session, specimen.id, type_, by=by, reason=reason, detail={"from": was, "back_to": str(specimen.state)}
    )
    record.tests_changed(session, specimen)
    record.tell_pages(session, specimen)
    audit.record(
        session,
        actor=by,
        action=f"specimen.{type_}",
        aggregate=("specimen", str(specimen.id)),
        before={"state": was},
        after={"state": str(specimen.state)},
        reason=reason,
    )
