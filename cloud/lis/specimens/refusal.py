"""Rejecting a specimen with a coded reason (拒收), its re-collection, and specimens whose order was cancelled."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import audit
from cloud.kit.errors import Invalid
from cloud.kit.events import publish
from cloud.kit.live import announce
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.specimens import service
from cloud.lis.specimens.events import SpecimenRejected
from cloud.lis.specimens.model import Specimen, SpecimenState, may_become
from cloud.lis.specimens.rules import RejectionReason
from cloud.web.i18n import mark as N_


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
) -> Rejected:
    """Refuse a tube. Its unfinished tests go to a new one, linked to this, or are cancelled (`recollect` false).

    Values that exist already stay with the rejected tube, whose values are never released: their tests are measured
    again on the new one (haemolysis is often seen only when the values are there), or cancelled with the others.
    Released tests stay as they are.
    """
    if reason_code not in set(RejectionReason):
        raise Invalid("reason_unknown", N_("请选择拒收原因。"))
    if reason_code == RejectionReason.OTHER and not note.strip():
        raise Invalid("note_missing", N_("原因为“其他”时请填写说明。"))
    found = service.by_barcode(session, barcode)
    order = orders.locked(session, found.order_id)
    specimen = service.claim(session, found, SpecimenState.REJECTED)
    replacement = None
    if recollect:
        replacement = service.make(
            session, order, specimen.tube_id, specimen.specimen_type, by=by, replaces_id=specimen.id
        )
        _hand_over(session, specimen.id, replacement.id)
    else:
        items = [each.id for each in service.live_items(session, specimen.id) if each.state in _OPEN]
        if items:
            orders.cancel_order(session, order.id, reason=note or reason_code, by=by, item_ids=items, with_values=True)
    detail = {"note": note, "replacement": replacement.accession if replacement else None}
    service.append(session, specimen.id, "rejected", by=by, place=place, reason_code=reason_code, detail=detail)
    publish(
        session,
        SpecimenRejected(
            aggregate_id=specimen.id,
            order_id=order.id,
            person_id=specimen.person_id,
            accession=specimen.accession,
            reason_code=reason_code,
            replacement_id=replacement.id if replacement else None,
        ),
    )
    announce(session, "specimens", {"specimen": str(specimen.id), "state": specimen.state})
    audit.record(
        session,
        actor=by,
        action="specimen.reject",
        aggregate=("specimen", str(specimen.id)),
        before=None,
        after={"reason": reason_code, **detail},
        reason=note or None,
    )
    return Rejected(specimen, replacement)


_OPEN = (ItemState.ORDERED, ItemState.COLLECTED, ItemState.RECEIVED, ItemState.RESULTED)
"""Not released: a value that nobody will release does not finish its test."""


def _hand_over(session: Session, specimen_id: uuid.UUID, replacement_id: uuid.UUID) -> None:
    session.execute(
        update(OrderItem)
        .where(OrderItem.specimen_id == specimen_id, OrderItem.state.in_(_OPEN))
        .values(specimen_id=replacement_id, state=ItemState.ORDERED)
    )


def cancel_emptied(session: Session, specimen_ids: tuple[uuid.UUID, ...], *, by: str) -> None:
    """After items were cancelled: a tube without any test left is cancelled, the others have other tests now."""
    for specimen_id in sorted(specimen_ids):
        live = select(OrderItem.id).where(OrderItem.specimen_id == specimen_id, OrderItem.state != ItemState.CANCELLED)
        emptied = session.scalar(
            update(Specimen)
            .where(Specimen.id == specimen_id, Specimen.state.in_(may_become(SpecimenState.CANCELLED)), ~live.exists())
            .values(state=SpecimenState.CANCELLED)
            .returning(Specimen.id)
        )
        if emptied is not None:
            service.append(session, specimen_id, "cancelled", by=by)
        specimen = session.get(Specimen, specimen_id)
        if specimen is not None:
            service.tests_changed(session, specimen)
