"""Aliquots (分杯): part of a tube poured into another with its own barcode, which takes some of its tests."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import update
from sqlalchemy.orm import Session

from cloud.kit import audit
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.specimens import lookup, record, tubing
from cloud.lis.specimens.model import Specimen, SpecimenState, Whereabouts
from cloud.web.i18n import mark as N_

NOT_BEGUN = (ItemState.ORDERED, ItemState.COLLECTED, ItemState.RECEIVED)
"""A test with a value belongs to the tube it was measured on."""


def aliquot(
    session: Session,
    barcode: str,
    *,
    item_ids: Sequence[uuid.UUID] = (),
    by: str,
    volume_ml: Decimal | None = None,
    device: str = "",
    place: str = "",
) -> Specimen:
    """A new tube with part of this one, on which `item_ids` are to be done (none: kept as a reserve).

    Of a tube that is in the laboratory and at hand; one that is discarded at the same moment, or whose tests got
    values meanwhile, is refused with nothing poured.
    """
    if volume_ml is not None and not 0 < volume_ml < 1000:
        raise Invalid("volume_wrong", N_("分杯体积须大于 0 毫升。"))
    found = lookup.by_barcode(session, barcode)
    order = orders.locked(session, found.order_id)
    parent = record.locked(session, found.id)
    if parent.state not in (SpecimenState.RECEIVED, SpecimenState.DONE):
        raise record.why_not(session, parent)
    if parent.whereabouts in (Whereabouts.DISCARDED, Whereabouts.LOST, Whereabouts.STORED):
        raise record.not_there(parent)
    child = tubing.new_row(session, order, parent.tube_id, parent.specimen_type, parent_id=parent.id)
    child.state, child.volume_ml = SpecimenState.RECEIVED, volume_ml
    child.collected_at, child.collected_by = parent.collected_at, parent.collected_by
    child.received_at, child.received_by = parent.received_at, parent.received_by
    session.flush()
    moved = list(
        session.scalars(
            update(OrderItem)
            .where(
                OrderItem.id.in_(tuple(item_ids)),
                OrderItem.specimen_id == parent.id,
                OrderItem.state.in_(NOT_BEGUN),
            )
            .values(specimen_id=child.id, state=ItemState.RECEIVED)
            .returning(OrderItem.id)
        )
    )
    if len(moved) != len(set(item_ids)):
        raise Conflict("tests_not_on_tube", N_("所选项目已有结果或不在此标本上，请刷新页面。"))
    said = {"volume_ml": str(volume_ml)} if volume_ml is not None else {}
    record.append(
        session,
        child.id,
        "aliquot_made",
        by=by,
        place=place,
        device=device,
        detail={"parent": parent.accession, "tests": len(moved), **said},
    )
    record.append(
        session,
        parent.id,
        "aliquoted",
        by=by,
        place=place,
        device=device,
        detail={"aliquot": child.accession, "tests": len(moved), **said},
    )
    if moved:
        record.tests_changed(session, parent)
        record.tests_changed(session, child)
    record.tell_pages(session, child)
    audit.record(
        session,
        actor=by,
        action="specimen.aliquot",
        aggregate=("specimen", str(parent.id)),
        after={"aliquot": child.accession, "items": [str(each) for each in moved], **said},
    )
    return child
