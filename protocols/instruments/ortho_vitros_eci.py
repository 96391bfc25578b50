"""Ortho VITROS ECi / ECiQ immunodiagnostic systems, ASTM E1394.

Source: the "vitros-eciq" dialect of harshilzala/lab-connector, checked there byte by byte against the wire log of a
laboratory's running integration, with the words of Ortho's LIS Guide for the test identifier. Not captured by us.

What it adds to the standard: component 4 of R.3 and O.5 is ``manual dilution+test code+test dilution``; the middle
one is the code, the other two are carried as ``manual dilution+test dilution``, as sent (1.000000 comes back for our
1.0). In an order the manual dilution stands once, before the first of the tests. O.3 has two more components that the
source does not explain; R.7 is ``^0^`` with every result of the log: a lone 0 is taken for no flag. The instrument
does not ask for orders: they are downloaded. The order's O.12 N, O.16 4 and O.26 O and the empty fields behind are
what the instrument is known to accept. Controls run under a plain number and carry no mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Test
from protocols.driver import Match, Status
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import Order, QcMark
from protocols.worklist import joined


class OrthoVitrosEci(AstmDriver):
    id: ClassVar[str] = "ortho_vitros_eci"
    vendor: ClassVar[str] = "Ortho Clinical Diagnostics"
    models: ClassVar[tuple[str, ...]] = ("VITROS ECi", "VITROS ECiQ")
    source: ClassVar[str] = (
        "VITROS ECiQ dialect of lab-connector, made from a laboratory's wire log and Ortho's LIS Guide"
    )
    status: ClassVar[Status] = Status.MANUAL

    def fingerprint(self, payload: bytes) -> Match:
        message = read_message(payload[:2048])
        if message.header is None:
            return Match(0.0, "no ASTM header record")
        if message.header.text(5).upper() != "VITROS":
            return Match(0.0, "H.5 is not VITROS")
        return Match(1.0, "H.5 names a VITROS")

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        return order.component(3, 1) or None, None, None

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q of the standard. O.16 is the specimen type and no level."""
        mark = super().qc_mark(order, context)
        return QcMark(material=mark.material) if mark is not None else None

    def test(self, parts: Sequence[str]) -> Test:
        assay = parts[3].split("+") if len(parts) > 3 else []
        if len(assay) != 3 or not assay[1]:
            return super().test(parts)
        return assay[1].strip(), None, f"{assay[0]}+{assay[2]}"

    def flags(self, result: Record) -> tuple[str, ...]:
        found = super().flags(result)
        return () if found == ("0",) else found

    def download(self, orders: Sequence[Order], now: datetime) -> Sequence[bytes]:
        header = ("H", "\\^&", "", "", "HOST", *[""] * 8, now.strftime("%Y%m%d%H%M%S"))
        return [
            build_message([header, self.patient_record(1, order), self.order_record(order), ("L", "1", "N")])
            for order in joined(orders)
        ]

    def patient_record(self, number: int, order: Order) -> Sequence[str]:
        """P.3 patient, P.6 name in one piece, P.9 sex; padded to 36 fields."""
        name = f"{escape(order.patient_name)}^^" if order.patient_name else ""
        head = ("P", str(number), escape(order.patient_id or ""), "", "", name, "", "", order.sex or "")
        return (*head, *[""] * 27)

    def order_record(self, order: Order) -> Sequence[str]:
        tests = "\\".join(f"{escape(code)}+1" for code in order.codes)
        head = ("O", "1", escape(order.specimen), "", f"^^^1.0+{tests}", order.priority, *[""] * 5, "N", "", "", "")
        return (*head, escape(order.specimen_type or "4"), *[""] * 9, "O", *[""] * 6)
