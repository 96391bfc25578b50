"""Siemens DCA Vantage analyzer (HbA1c, albumin, creatinine in urine) in its ASTM mode, E1381 and E1394.

Source: senaite.astm's description, which quotes Siemens "DCA Vantage Analyzer, Host Computer Communications Link",
17306 rev. E (2012); the Operator's Guide, appendix G. No capture: not proved on an instrument.

It writes no specimen: the number that the operator scanned stands as the patient's in P.3 and is taken as the specimen
(nothing else of P is read); without it the analyzer's own sequence number is. O.4 is ``sequence^reagent lot``; O.12 Q
a control. A comment behind a result holds the user's correction slope and offset, of HbA1c also the reporting unit and
the estimated average glucose. One way: it asks nothing. H.12 D: the instrument is in service mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context
from protocols.driver import Match, Status
from protocols.messages.astm import Record, read_message
from protocols.model import Decoded, Item, Observation, QcMark, Undecoded, changed


class SiemensDcaAstm(AstmDriver):
    id: ClassVar[str] = "siemens_dca_astm"
    vendor: ClassVar[str] = "Siemens"
    models: ClassVar[tuple[str, ...]] = ("DCA Vantage",)
    source: ClassVar[str] = "senaite.astm (quotes Siemens 17306 rev. E); DCA Vantage Operator's Guide, appendix G"
    status: ClassVar[Status] = Status.MANUAL
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "<": "below the measuring range of the instrument",
        ">": "above the measuring range of the instrument",
        "H": "above the reference range, or the expected range of a control",
        "L": "below the reference range, or the expected range of a control",
    }

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is not None and header.component(5, 1).upper() == "DCA VANTAGE":
            return Match(1.0, "H.5 names a DCA Vantage")
        return Match(0.0, "H.5 is not a DCA Vantage")

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        return order.component(4, 1) or None, None, None

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        return QcMark(material=context.specimen) if order.text(12) == "Q" else None

    def observation(self, record: Record, context: Context) -> Observation | Undecoded:
        found = super().observation(record, context)
        if isinstance(found, Undecoded) or context.order is None:
            return found
        return changed(found, reagent_lot=context.order.component(4, 2) or None)

    def decode(self, payload: bytes) -> Decoded:
        decoded = super().decode(payload)
        scanned = {record.index: record.text(3) for record in self.read(payload).records if record.kind == "P"}
        items: list[Item] = []
        for item in decoded.items:
            above = [index for index in scanned if index < (item.record or 0)]
            number = scanned[max(above)] if above else ""
            if number and isinstance(item, Observation) and item.qc is not None:
                item = changed(item, qc=QcMark(material=number))
            elif number and isinstance(item, Observation):
                sequence = (f"sample {item.specimen}",) if item.specimen else ()
                item = changed(item, specimen=number, comments=(*sequence, *item.comments))
            items.append(item)
        return Decoded(
            items=tuple(items), sender=decoded.sender, message_id=decoded.message_id, charset=decoded.charset
        )
