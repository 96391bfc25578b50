"""Beckman Coulter Access 2 and UniCel DxI 600/800 immunoassay systems, ASTM E1394-91.

Source: messages of Access 2 and DxI 800 lines in public integrations (garett1973/analyzers: DxI 800 dialogue with its
query; astmio and MedLink LIS: Access 2 results and the order they send down). Beckman's own document was not at hand;
nothing is captured by us.

What the lines show: H.5 is ``ACCESS^serial number``; the rack and position of the tube are O.4 components 2 and 3;
R.14 is the serial number of the system; the host sends ``L|1|F``. Component 5 of R.3 was 1 wherever it was seen and
is taken for the replicate. How a host says "no order" is not shown: the standard's ``L|1|I`` is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Test
from protocols.driver import Match, Status
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import Decoded, HostQuery, Observation, Order, QcMark, Undecoded, changed
from protocols.worklist import echoed, joined


class BeckmanAccess(AstmDriver):
    id: ClassVar[str] = "beckman_access"
    vendor: ClassVar[str] = "Beckman Coulter"
    models: ClassVar[tuple[str, ...]] = ("Access 2", "UniCel DxI 600", "UniCel DxI 800")
    source: ClassVar[str] = (
        "Access 2 and DxI 800 messages in public integrations (garett1973/analyzers, MedLink LIS, astmio)"
    )
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "within the reference range",
        "L": "below the reference range",
        "H": "above the reference range",
    }

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        parts = header.components(5)
        if parts[0].upper() == "ACCESS" and len(parts) > 1:
            return Match(1.0, f"H.5 names an Access or DxI system, serial number {parts[1]}")
        return Match(0.0, "H.5 is not ACCESS")

    # ------------------------------------------------------------------ results

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        return order.component(3, 1) or None, order.component(4, 2) or None, order.component(4, 3) or None

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q of the standard. O.16 is the specimen type and no level."""
        mark = super().qc_mark(order, context)
        return QcMark(material=mark.material) if mark is not None else None

    def test(self, parts: Sequence[str]) -> Test:
        return (parts[3], None, None) if len(parts) >= 4 and parts[3] else super().test(parts)

    def observation(self, record: Record, context: Context) -> Observation | Undecoded:
        found = super().observation(record, context)
        replicate = record.component(3, 5)
        if isinstance(found, Undecoded) or not replicate.isdecimal():
            return found
        return changed(found, run=int(replicate[:9]))

    # ------------------------------------------------------------------ orders

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        header = self.read(payload).header
        asker = echoed(header.raw(5)) if header is not None else "ACCESS"
        return [self._reply(query, orders, asker, now) for query in decoded.items if isinstance(query, HostQuery)]

    def _reply(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], asker: str, now: datetime) -> bytes:
        specimens = orders if query.everything else query.specimens
        known = joined(order for specimen in specimens for order in orders.get(specimen, ()))
        header = ("H", "\\^&", "", "", "LIS", "", "", "", "", asker, "", "P", "1", now.strftime("%Y%m%d%H%M%S"))
        records = [each for n, order in enumerate(known, start=1) for each in self._order(n, order)]
        return build_message([header, *records, ("L", "1", "F" if known else "I")])

    def _order(self, number: int, order: Order) -> tuple[Sequence[str], Sequence[str]]:
        """O.16 is Serum wherever it was seen; another specimen type only where the order carries it."""
        tests = "\\".join(f"^^^{escape(code)}" for code in order.codes)
        head = ("O", "1", escape(order.specimen), "", tests, order.priority, *[""] * 5, "A", "", "", "")
        return self.patient_record(number, order), (*head, escape(order.specimen_type or "Serum"))
