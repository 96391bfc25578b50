"""What a box hears when it asks about a tube that is not on its worklist: received a moment ago, not scanned, unknown.

Reads only; the worklist itself changes by what happens to the specimen, never because somebody asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy.orm import Session

from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.worklists import service
from protocols.uplink.asking import Finding, NoOrder
from protocols.uplink.items import order_from_json

_WHY = {
    SpecimenState.PRINTED: NoOrder.NOT_COLLECTED,
    SpecimenState.REJECTED: NoOrder.CLOSED,
    SpecimenState.CANCELLED: NoOrder.CLOSED,
    SpecimenState.DONE: NoOrder.DONE,
}


def find(session: Session, gateway: str, link: str, barcodes: Sequence[str]) -> list[Finding]:
    """Each tube's order for this instrument, under the barcode it was asked by (a tube may bear two), or why none."""
    return [_finding(session, gateway, link, each) for each in barcodes]


def _finding(session: Session, gateway: str, link: str, barcode: str) -> Finding:
    specimen = specimens.find(session, barcode)
    if specimen is None:
        return Finding(barcode, None, NoOrder.UNKNOWN)
    order = service.wanted_by_gateway(session, specimen).get(gateway, {}).get(link)
    if order is None:
        return Finding(barcode, None, why_not(session, specimen))
    return Finding(barcode, msgspec.structs.replace(order_from_json(order), specimen=barcode))


def why_not(session: Session, specimen: Specimen) -> NoOrder:
    """Why a tube that is known has no order for an instrument."""
    found = _WHY.get(SpecimenState(specimen.state))
    if found is not None:
        return found
    open_ = [each for each in specimens.live_items(session, specimen.id) if each.state in service.TO_BE_MEASURED]
    return NoOrder.NOTHING_HERE if open_ else NoOrder.DONE
