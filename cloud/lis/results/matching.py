"""Which order item an observation belongs to: instrument by link, test by channel, specimen by any barcode it ever
bore.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.lis.catalog.model import Test
from cloud.lis.instruments.model import InstrumentChannel
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.results.known import channels_of
from cloud.lis.results.model import UnmatchedReason
from cloud.lis.results.sheets import touch
from cloud.lis.specimens.model import Specimen, SpecimenBarcode, SpecimenState
from cloud.lis.specimens.rules import clean_barcode
from protocols.model import Observation


@dataclass(frozen=True, slots=True)
class Match:
    """An observation's place in the laboratory."""

    specimen: Specimen
    item: OrderItem
    test: Test
    channel: InstrumentChannel | None


@dataclass(slots=True)
class Lookup:
    """All that one message needs, loaded at once."""

    instrument_id: uuid.UUID | None
    channels: dict[str, tuple[InstrumentChannel, Test]] = field(default_factory=dict)
    messages: set[str] = field(default_factory=set)
    """Codes of the instrument that are no tests (`ChannelKind.MESSAGE`)."""
    specimens: dict[str, Specimen] = field(default_factory=dict)
    """By the barcode as read."""
    items: dict[tuple[uuid.UUID, uuid.UUID], OrderItem] = field(default_factory=dict)
    """By specimen and test; a cancelled item only where no other is there."""
    indices: dict[str, str] = field(default_factory=dict)
    """Letter of the serum index by the instrument's code; these codes are messages too."""

    def test_ids(self) -> dict[str, uuid.UUID]:
        return {code: test.id for code, (_, test) in self.channels.items()}

    def specimen_of(self, observation: Observation) -> Specimen | None:
        return self.specimens.get(clean_barcode(observation.specimen or ""))

    def match(self, observation: Observation) -> Match | UnmatchedReason:
        """The place of an observation, or why it has none."""
        barcode = clean_barcode(observation.specimen or "")
        if self.instrument_id is None:
            return UnmatchedReason.UNKNOWN_INSTRUMENT
        if not barcode:
            return UnmatchedReason.NO_BARCODE
        specimen = self.specimens.get(barcode)
        if specimen is None:
            return UnmatchedReason.UNKNOWN_SPECIMEN
        channel = self.channels.get(observation.code)
        if channel is None:
            return UnmatchedReason.UNKNOWN_CODE
        return place(specimen, self.items.get((specimen.id, channel[1].id)), channel[1], channel[0])


def place(
    specimen: Specimen, item: OrderItem | None, test: Test, channel: InstrumentChannel | None
) -> Match | UnmatchedReason:
    """A match, unless the test was not ordered or specimen or item are closed to results."""
    if specimen.state in (SpecimenState.REJECTED, SpecimenState.CANCELLED):
        return UnmatchedReason.CLOSED_SPECIMEN
    if item is None:
        return UnmatchedReason.NOT_ORDERED
    if item.state == ItemState.CANCELLED:
        return UnmatchedReason.CLOSED_SPECIMEN
    return Match(specimen, item, test, channel)


def look_up(session: Session, gateway: str, link: str, observations: Iterable[Observation]) -> Lookup:
    """Instrument, channels, specimens and their order items of one message.

    The specimens' sheets are locked before their items are read, so that a release at the same moment comes wholly
    before or wholly after.
    """
    channels = channels_of(session, gateway, link)
    lookup = Lookup(None)
    if channels is not None:
        lookup = Lookup(channels.instrument_id, channels.tests, channels.messages, indices=channels.indices)
    barcodes = {clean_barcode(each.specimen or "") for each in observations if each.qc is None} - {""}
    if barcodes:
        lookup.specimens = specimens_by_barcode(session, barcodes)
        touch(session, {each.id for each in lookup.specimens.values()})
        lookup.items = items_of(session, [each.id for each in lookup.specimens.values()])
    return lookup


def specimens_by_barcode(session: Session, barcodes: Iterable[str]) -> dict[str, Specimen]:
    """Specimens by any barcode they ever bore (accession or pre-printed)."""
    rows = session.execute(
        select(SpecimenBarcode.barcode, Specimen)
        .join(Specimen, Specimen.id == SpecimenBarcode.specimen_id)
        .where(SpecimenBarcode.barcode.in_(list(barcodes)))
    )
    return {row.barcode: row.Specimen for row in rows}


def items_of(session: Session, specimen_ids: Iterable[uuid.UUID]) -> dict[tuple[uuid.UUID, uuid.UUID], OrderItem]:
    """Order items by specimen and test, as they are now (other sessions' changes included)."""
    ids = list(specimen_ids)
    found: dict[tuple[uuid.UUID, uuid.UUID], OrderItem] = {}
    if not ids:
        return found
    rows = session.scalars(
        select(OrderItem).where(OrderItem.specimen_id.in_(ids)).execution_options(populate_existing=True)
    )
    for item in rows:
        key = (item.specimen_id or uuid.UUID(int=0), item.test_id)
        if key not in found or found[key].state == ItemState.CANCELLED:
            found[key] = item
    return found
