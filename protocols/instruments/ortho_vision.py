"""Ortho VISION and VISION Max column-agglutination analyzers (blood bank), ASTM E1394 / LIS2-A.

Source: the record tables of the ORTHO VISION LIS specification as krishnareddyML/astm-interface-service keeps them
(fields of H, P, O, Q, R, M and the grades), and messages of a VISION that T. W. Genaux explains (twgenaux.github.io).
Not captured by us.

What it adds to the standard: no leading ``^^^``: O.5 is the profile, R.3 is ``analysis^donor specimen`` (a
crossmatch: code ``analysis^donor``). O.3 may hold two specimens by repeat; the first is carried. R.15 names the test.
M records hold one well each: M.3 well, M.4 card type, well number, card number, lot, expiry and the files of its
pictures, M.5 reagents with lots, M.6 grade, how it was corrected, the grade first read and who corrected it. A well
is carried as a result of its own, code ``card type^well``, value the grade code, with the picture files as references
and the lots of card and reagents. O.20 is the reason why an order could not be processed. An empty message (H, L)
keeps the connection alive and holds nothing. An order must name its specimen type (O.16, a name configured on the
instrument): without one the field stays empty and the instrument refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Test
from protocols.driver import Match, Status
from protocols.messages.astm import Record, escape, read_message
from protocols.model import Attachment, InstrumentEvent, Observation, Order, QcMark, Undecoded, changed
from protocols.worklist import digits_of_time

GRADES: Mapping[str, str] = {
    "0": "0 reaction", "10": "1+ reaction", "20": "2+ reaction", "30": "3+ reaction", "40": "4+ reaction",
    "-90": "well not found", "-95": "wrong liquid level", "-100": "light too low", "-101": "light too high",
    "-110": "contrast interference", "-111": "empty column", "-112": "too few cells", "-113": "too many cells",
    "-115": "mixed field", "-116": "indeterminate", "-117": "fibrin", "-118": "bubble", "-119": "cells detected",
    "-201": "focus error", "-203": "splash", "-206": "tilt error", "-207": "rotation error", "-208": "skew error",
    "-209": "well fluid error", "-256": "card not detected", "-260": "wrong position", "-999": "not applicable",
}  # fmt: skip
"""M.6.1 and M.6.3: grade codes of a well."""
_PICTURES = {"bmp": "image/bmp", "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "tif": "image/tiff"}


class OrthoVision(AstmDriver):
    id: ClassVar[str] = "ortho_vision"
    vendor: ClassVar[str] = "Ortho Clinical Diagnostics"
    models: ClassVar[tuple[str, ...]] = ("ORTHO VISION", "ORTHO VISION Max")
    source: ClassVar[str] = (
        "ORTHO VISION record specification as astm-interface-service and twgenaux.github.io quote it"
    )
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "M": "entered or changed by hand",
        "Q": "out of QC: overdue QC of a reagent or card",
        "S": "out of maintenance: overdue task",
        "T": "test mode, simulated result",
        "X": "imaging system error",
        "E": "temperature or humidity out of range",
        "I": "indeterminate",
        "F": "user-defined protocol",
        "C": "discrepant result",
        "P": "above or below the positive reaction threshold",
        "NA": "result expired",
        "R": "result expired, entered by hand",
        "N": "negative reaction threshold",
        "A": "grade corrected automatically (a well)",
    }

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        if header.component(5, 2).upper() == "VISION" and header.component(5, 1).upper() in ("OCD", ""):
            return Match(1.0, f"H.5 names an ORTHO VISION, instrument {header.component(5, 4) or 'not told'}")
        return Match(0.0, "H.5 is not OCD^VISION")

    def sender(self, header: Record) -> str:
        return header.component(5, 2)

    # ------------------------------------------------------------------ results

    def begin_order(self, record: Record, context: Context) -> None:
        super().begin_order(record, context)
        reason = record.text(20)
        if record.text(26) == "X" or reason:
            detail = " ".join(filter(None, (record.text(5), reason)))
            context.items.append(
                InstrumentEvent("order not processed", context.specimen, detail or None, record=record.index)
            )

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q of the standard. O.16 is the specimen type and no level."""
        mark = super().qc_mark(order, context)
        return QcMark(material=mark.material) if mark is not None else None

    def test(self, parts: Sequence[str]) -> Test:
        return "^".join(filter(None, parts)), None, None

    def observation(self, record: Record, context: Context) -> Observation | Undecoded:
        """R.15 names the test."""
        found = super().observation(record, context)
        name = record.text(15)
        return changed(found, name=name) if name and isinstance(found, Observation) else found

    def manufacturer(self, record: Record, context: Context) -> None:
        """One well. Its time and module are those of the result before it."""
        card, grade = record.components(4) + [""] * 7, record.components(6) + [""] * 4
        if not record.text(3) or not card[0]:
            super().manufacturer(record, context)
            return
        lots = [card[3], *(repeat[1] for repeat in record.repeats(5) if len(repeat) > 1)]
        corrected = () if not grade[2] else (f"first read as {grade[2]} ({GRADES.get(grade[2], 'not in the table')})",)
        meaning = GRADES.get(grade[0])
        before = context.items[-1] if context.items else None
        context.items.append(
            Observation(
                specimen=context.specimen,
                code=f"{card[0]}^{record.text(3)}",
                value=grade[0] or None,
                flags=(grade[1],) if grade[1] else (),
                observed_at=context.observed_at,
                operator=grade[3] or None,
                module=before.module if isinstance(before, Observation) else None,
                reagent_lot=", ".join(filter(None, lots)) or None,
                position=card[1] or None,
                comments=(*((meaning,) if meaning else ()), *corrected),
                attachments=tuple(_picture(record.text(3), file) for file in card[5:7] if file),
                qc=context.qc,
                record=record.index,
            )
        )

    # ------------------------------------------------------------------ orders

    def order_record(self, order: Order) -> Sequence[str]:
        profiles = "\\".join(escape(code) for code in order.codes)
        collected = digits_of_time(order.collected_at)
        head = ("O", "1", escape(order.specimen), "", profiles, order.priority, "", collected, "", "", "", "N")
        return (*head, "", "", "", escape(order.specimen_type or ""))


def _picture(well: str, file: str) -> Attachment:
    kind = _PICTURES.get(file.rpartition(".")[2].lower(), "application/octet-stream")
    return Attachment(well, kind, reference=file)
