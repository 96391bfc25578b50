"""Sysmex XN series (XN-1000 to XN-9000, XN-L: XN-330/350/450/550) haematology analyzers, ASTM E1394-97.

Source: a capture of an XN-550 (results, flags, suspect messages, scattergram and histogram files) and, for the host
query and its answers, public LIS integrations of the Sysmex ASTM dialect (OpenELIS Global plug-ins for XN-L and XP,
LabBook connect for XP), which quote the vendor's examples. The vendor's own manual was not at hand: host query and QC
are not proved on an instrument.

Beyond the standard: O.4 and Q.3 are ``rack^position^specimen, padded with blanks^how it was read`` (M, A, B and C are
seen, B with a barcode reader); R.3 has the parameter in component 5 and what is taken as the dilution ratio (1, 26) in
component 6; a file name with escaped backslashes stands where a picture belongs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context
from protocols.driver import Match, Status
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import Attachment, HostQuery, Order, QcMark

_PICTURES = {"PNG": "image/png", "BMP": "image/bmp", "JPG": "image/jpeg"}
_BACKGROUND = "BACKGROUNDCHECK"


class SysmexXn(AstmDriver):
    id: ClassVar[str] = "sysmex_xn"
    vendor: ClassVar[str] = "Sysmex"
    models: ClassVar[tuple[str, ...]] = (
        "XN-330", "XN-350", "XN-450", "XN-550", "XN-1000", "XN-2000", "XN-3000", "XN-9000",
    )  # fmt: skip
    source: ClassVar[str] = "capture of an XN-550; Sysmex ASTM dialect as public LIS integrations quote it"
    status: ClassVar[Status] = Status.CAPTURED
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "within the instrument's limits",
        "H": "above the instrument's upper limit",
        "L": "below the instrument's lower limit",
        "A": "abnormal: a suspect or abnormal message stands, or the value is masked",
        ">": "outside the assured linear range",
        "W": "low reliability",
    }

    def fingerprint(self, payload: bytes) -> Match:
        message = read_message(payload[:1024])
        if message.header is None:
            return Match(0.0, "no ASTM header record")
        name = message.header.component(5, 1)
        if name.upper().startswith("XN-") or name.upper() == "XN":
            return Match(1.0, f"H.5 names a Sysmex {name}")
        return Match(0.0, "H.5 is not an XN")

    # ------------------------------------------------------------------ results

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        parts = order.components(4)
        if len(parts) < 3:
            parts = order.components(3)
        if len(parts) < 3:
            return super().specimen(order)
        return parts[2] or None, parts[0] or None, parts[1] or None

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q, and the background check that the instrument runs by itself at start."""
        if order.text(12) == "Q" or context.specimen == _BACKGROUND:
            return QcMark(material=context.specimen)
        return None

    def code(self, result: Record) -> tuple[str, str | None, str | None]:
        parts = result.components(3)
        if len(parts) < 5:
            return "^".join(filter(None, parts)), None, None
        return parts[4], None, (parts[5] or None) if len(parts) > 5 else None

    def attachments(self, code: str, value: str) -> tuple[Attachment, ...]:
        """``PNG\\folder\\file``: the instrument keeps the picture and names it (SCAT_, DIST_)."""
        if "\\" not in value:
            return ()
        kind, _, path = value.partition("\\")
        media_type = _PICTURES.get(kind.upper())
        return (Attachment(code, media_type, reference=path),) if media_type else ()

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
