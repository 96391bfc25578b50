"""A tube that is lost, and one that is found again. Put into racks, taken out, discarded: `cloud.lis.storage`."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.kit import audit
from cloud.kit.errors import Conflict
from cloud.lis.specimens import lookup, record
from cloud.lis.specimens.model import Specimen, SpecimenState, Whereabouts
from cloud.web.i18n import mark as N_


def lose(session: Session, barcode: str, *, by: str, reason: str, place: str = "") -> Specimen:
    """Nobody finds the tube. Its tests stay on it until it is found, or rejected as lost (then it is drawn again)."""
    because = record.needs_reason(reason)
    found = lookup.by_barcode(session, barcode)
    if found.state == SpecimenState.PRINTED:
        raise Conflict("specimen_printed", N_("标本 {barcode} 尚未采集。"), barcode=found.barcode)
    was = found.whereabouts
    specimen = record.put(session, found, Whereabouts.LOST)  # refused for one in a rack: it is taken out first
    record.append(session, specimen.id, "lost", by=by, place=place, reason=because)
    _seal(session, specimen, "specimen.lost", was, by, because)
    return specimen


def found_again(session: Session, barcode: str, *, by: str, reason: str, place: str = "") -> Specimen:
    """The tube is there again (also said by receiving one that was lost on its way)."""
    because = record.needs_reason(reason)
    found = lookup.by_barcode(session, barcode)
    if found.whereabouts != Whereabouts.LOST:
        raise Conflict("not_lost", N_("标本 {barcode} 没有登记丢失。"), barcode=found.barcode)
    specimen = record.put(session, found, Whereabouts.RETRIEVED)
    record.append(session, specimen.id, "found", by=by, place=place, reason=because)
    _seal(session, specimen, "specimen.found", Whereabouts.LOST, by, because)
    return specimen


def _seal(session: Session, specimen: Specimen, action: str, was: str, by: str, reason: str) -> None:
    record.tell_pages(session, specimen)
    audit.record(
        session,
        actor=by,
        action=action,
        aggregate=("specimen", str(specimen.id)),
        before={"whereabouts": str(was)},
        after={"whereabouts": str(specimen.whereabouts)},
        reason=reason,
    )
