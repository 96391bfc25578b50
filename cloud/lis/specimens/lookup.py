"""Finding specimens and what belongs to them."""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.errors import NotFound
from cloud.lis.catalog import service as catalog
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.specimens.model import Specimen, SpecimenBarcode, SpecimenEvent, SpecimenState
from cloud.lis.specimens.rules import clean_barcode
from cloud.web.i18n import mark as N_

OPEN_STATES = (SpecimenState.PRINTED, SpecimenState.COLLECTED, SpecimenState.IN_TRANSIT, SpecimenState.RECEIVED)


def find(session: Session, barcode: str) -> Specimen | None:
    """The specimen with this accession or pre-printed barcode, however it was padded; None when there is none."""
    known = session.get(SpecimenBarcode, clean_barcode(barcode))
    return None if known is None else session.get(Specimen, known.specimen_id)


def by_barcode(session: Session, barcode: str) -> Specimen:
    """As `find`; raises `NotFound` with the barcode named."""
    specimen = find(session, barcode)
    if specimen is None:
        shown = clean_barcode(barcode)[:40]
        raise NotFound("barcode_unknown", N_("没有条码为 {barcode} 的标本。请核对条码后重新扫描。"), barcode=shown)
    return specimen


def open_specimens(session: Session, order_id: uuid.UUID) -> list[Specimen]:
    """The tubes of an order that are neither rejected, cancelled nor done, in the order of draw."""
    tubes = catalog.tubes_by_id(session)
    found = session.scalars(select(Specimen).where(Specimen.order_id == order_id, Specimen.state.in_(OPEN_STATES)))
    return sorted(found, key=lambda each: (tubes[each.tube_id].position, each.accession))


def live_items(session: Session, specimen_id: uuid.UUID) -> list[OrderItem]:
    """What is to be done on this tube (cancelled items left out), in the order's order."""
    found = select(OrderItem).where(OrderItem.specimen_id == specimen_id, OrderItem.state != ItemState.CANCELLED)
    return list(session.scalars(found.order_by(OrderItem.position)))


def timeline(session: Session, specimen_id: uuid.UUID) -> list[SpecimenEvent]:
    """Everything that happened to it, oldest first."""
    found = select(SpecimenEvent).where(SpecimenEvent.specimen_id == specimen_id)
    return list(session.scalars(found.order_by(SpecimenEvent.at, SpecimenEvent.id)))


def history(session: Session, specimen_id: uuid.UUID) -> list[SpecimenEvent]:
    """The same in the order it was written down, whatever clock said when it happened."""
    found = select(SpecimenEvent).where(SpecimenEvent.specimen_id == specimen_id).order_by(SpecimenEvent.id)
    return list(session.scalars(found))


def aliquots_of(session: Session, specimen_id: uuid.UUID) -> list[Specimen]:
    """The tubes taken from this one, oldest first."""
    return list(session.scalars(select(Specimen).where(Specimen.parent_id == specimen_id).order_by(Specimen.id)))
