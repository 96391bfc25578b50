"""The ASTM E1394-97 dialect of Sysmex analyzers (haematology XN, XP, XT, XE, XS; coagulation CA, CS).

Source: Sysmex "XP Series ASTM Communication Specifications" (rev. 1.0, 2012) and "XN-L series ASTM Host Interface
Specifications" (rev. 6, 2017) as public LIS integrations quote them, and captures of an XN-550 and an XP-100.

O.4 (or O.3) and Q.3 are ``rack^position^specimen, padded with blanks^how it was read``: M by hand, A given by the
analyzer, B barcode reader, C given by the host. R.3 has the parameter in component 5 and the dilution ratio in 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Test
from protocols.driver import Match
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import HostQuery, Order, QcMark


class SysmexAstm(AstmDriver):
    names: ClassVar[tuple[str, ...]]
    """How H.5 begins, upper case: ``XP-``. A name without a hyphen stands for itself alone."""

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        name = header.component(5, 1)
        if any(name.upper() == known if known[-1] != "-" else name.upper().startswith(known) for known in self.names):
            return Match(1.0, f"H.5 names a Sysmex {name}")
        return Match(0.0, f"H.5 names none of {', '.join(self.names)}")

    # ------------------------------------------------------------------ results

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        parts = order.components(4)
        if len(parts) < 3:
            parts = order.components(3)
        if len(parts) < 3:
            return super().specimen(order)
        return parts[2] or None, parts[0] or None, parts[1] or None

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q: QC data."""
        return QcMark(material=context.specimen) if order.text(12) == "Q" else None

    def test(self, parts: Sequence[str]) -> Test:
        if len(parts) < 5:
            return "^".join(filter(None, parts)), None, None
        return parts[4], None, (parts[5] or None) if len(parts) > 5 else None

    # ------------------------------------------------------------------ host query

    def host_query(self, record: Record) -> HostQuery:
        """Q.3 goes back unchanged, padding too, in O.3 of the answer."""
        parts = record.components(3)
        specimen = parts[2] if len(parts) >= 3 else (parts[0] if parts else "")
        return HostQuery(
            specimens=(specimen,) if specimen else (),
            rack=(parts[0] or None) if len(parts) >= 3 else None,
            position=(parts[1] or None) if len(parts) >= 3 else None,
            context={"asked": record.raw(3)},
            record=record.index,
        )

    def reply_header(self, now: datetime) -> tuple[str, ...]:
        return ("H", "\\^&", *[""] * 10, "E1394-97")

    def answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], now: datetime) -> bytes:
        """One O for the specimen. No order: report type Y, "no order on record" (LIS02-A2 8.4.26), never silence."""
        asked = query.context.get("asked", "")
        known = [each for specimen in query.specimens for each in orders.get(specimen, ()) if not each.cancelled]
        if not known:
            order: Sequence[str] = ("O", "1", asked, *[""] * 22, "Y")
            return build_message([self.reply_header(now), ("P", "1"), order, ("L", "1", "N")])
        codes = dict.fromkeys(code for each in known for code in each.codes)
        tests = "\\".join(f"^^^^{escape(code)}" for code in codes)
        order = ("O", "1", asked, "", tests, "", now.strftime("%Y%m%d%H%M%S"), *[""] * 4, "N", *[""] * 13, "Q")
        return build_message([self.reply_header(now), self.patient_record(1, known[0]), order, ("L", "1", "N")])

    def patient_record(self, number: int, order: Order) -> Sequence[str]:
        """P.5 practice's patient number, P.6 name, P.8 birth date, P.9 sex: each only if the order has it."""
        if not (order.patient_id or order.patient_name or order.birth_date or order.sex):
            return ("P", str(number))
        name = f"^{escape(order.patient_name)}^" if order.patient_name else ""
        birth = (order.birth_date or "").replace("-", "")
        return ("P", str(number), "", "", escape(order.patient_id or ""), name, "", escape(birth), order.sex or "")
