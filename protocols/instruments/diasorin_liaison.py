"""DiaSorin LIAISON and LIAISON XL immunoassay systems, ASTM E1394.

Source: the LIAISON host interface as levinalex/lis keeps it (liaison_labor: example records of H, P, O, Q and R from
DiaSorin's document, with the query's answer), go-astm (header of a LIAISON XL) and an open laboratory system (orders
of a LIAISON). Not captured by us.

What it adds to the standard: Q.3 is the bare specimen; O.5 is ``^^^test^dilution``, and the result that follows is of
that dilution. An order is one O for each test, with N (routine) in O.6, S (serum) in O.16 and O in O.26.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context
from protocols.driver import Match, Status
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import Decoded, HostQuery, Observation, Order, QcMark, Undecoded, changed
from protocols.worklist import echoed, joined


class DiasorinLiaison(AstmDriver):
    id: ClassVar[str] = "diasorin_liaison"
    vendor: ClassVar[str] = "DiaSorin"
    models: ClassVar[tuple[str, ...]] = ("LIAISON", "LIAISON XL")
    source: ClassVar[str] = "LIAISON host interface as levinalex/lis and go-astm quote it"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "<": "below the measuring range",
        ">": "above the measuring range",
    }

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        name = header.component(5, 1)
        if name.upper().replace(" ", "") in ("LIAISON", "LIAISONXL"):
            return Match(1.0, f"H.5 names a DiaSorin {name}")
        return Match(0.0, "H.5 is not a LIAISON")

    # ------------------------------------------------------------------ results

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q of the standard. O.16 is the specimen type and no level."""
        mark = super().qc_mark(order, context)
        return QcMark(material=mark.material) if mark is not None else None

    def observation(self, record: Record, context: Context) -> Observation | Undecoded:
        """The dilution stands with the test in the order; with the result only where the result writes it."""
        found = super().observation(record, context)
        if isinstance(found, Undecoded) or len(record.components(3)) < 4:
            return found
        diluted = record.component(3, 5)
        if not diluted and context.order is not None:
            ordered = {each[3]: each[4] for each in context.order.repeats(5) if len(each) > 4}
            diluted = ordered.get(found.code, "")
        return changed(found, name=None, dilution=diluted or None)

    # ------------------------------------------------------------------ orders

    def can_dilute(self, factor: str) -> bool:
        return factor.isdecimal()

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        header = self.read(payload).header
        asker = echoed(header.raw(5)) if header is not None else "Liaison"
        return [self._reply(query, orders, asker, now) for query in decoded.items if isinstance(query, HostQuery)]

    def _reply(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], asker: str, now: datetime) -> bytes:
        sent_at = now.strftime("%Y%m%d%H%M%S")
        records: list[Sequence[str]] = [("H", "\\^&", "", "", "HOST", "", "", "", "", asker, "", "", "1", sent_at)]
        specimens = orders if query.everything else query.specimens
        known = joined(order for specimen in specimens for order in orders.get(specimen, ()))
        for number, order in enumerate(known, start=1):
            records += [self.patient_record(number, order), *self._tests(order)]
        return build_message([*records, ("L", "1", "N" if known else "I")])

    def _tests(self, order: Order) -> list[Sequence[str]]:
        specimen, kind = escape(order.specimen), escape(order.specimen_type or "S")
        priority = "S" if order.priority == "S" else "N"
        return [
            ("O", str(n), specimen, "", _test(order, code), priority, *[""] * 9, kind, *[""] * 9, "O")
            for n, code in enumerate(order.codes, start=1)
        ]


def _test(order: Order, code: str) -> str:
    factor = order.dilution_of(code)
    return f"^^^{escape(code)}^1:{escape(factor)}" if factor else f"^^^{escape(code)}"
