"""The host interface of Roche/Hitachi cobas analyzers ("cobas type" messages), ASTM E1381-91 and E1394-91.

Source: Roche "cobas e 411 analyzer Host Interface Manual" 2.3 and "cobas c 311 analyzer Host Interface Manual" 1.3 in
public manual archives, whose record tables and traces agree with captures of a c 311 and an e 411, and public LIS
integrations of the c 311, 6000 and 8000. The cobas 6000 interface is the same with minor differences (e 411, p. 28).

H.11 says what a message is: TSREQ inquiry, TSDWN order, RSUPL results, PCUPL and ICUPL calibrations, ABUPL absorbances,
each ``^REAL`` or ``^BATCH``. O.4 and Q.3 carry ``sequence^carrier^position^^sample type^container``, which an answer
must give back unchanged, else the sample is skipped. A comment behind a result holds the number of a data alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Details, Test, Value
from protocols.driver import Match
from protocols.links.astm_frames import AstmOptions
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import HostQuery, InstrumentEvent, Item, Order, QcMark, changed

QUALITATIVE: Mapping[str, str] = {"-1": "negative (non-reactive)", "0": "borderline", "1": "positive (reactive)"}
"""First component of R.4 of a qualitative test (e 411 manual, p. 43); the second is the cut-off index."""
_CANCELLED = "A"
_UPLOADS = {"PCUPL": "photometric calibration", "RCUPL": "photometric calibration", "ICUPL": "ISE calibration",
            "ABUPL": "absorbance data"}  # fmt: skip


class CobasHost(AstmDriver):
    names: ClassVar[tuple[str, ...]]
    """What H.5 begins with, lower case without blanks and hyphens."""
    link_options: ClassVar[AstmOptions] = AstmOptions(one_record_per_frame=False)
    """All records of a message follow one another; frames are cut at 240 bytes (ETB)."""
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "normal",
        "L": "below low normal",
        "H": "above high normal",
        "LL": "below panic normal",
        "HH": "above panic high",
        "A": "abnormal",
    }
    """The letters that the interface uses, with the meanings of ASTM E1394 10.1.7."""

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        name = header.component(5, 1)
        plain = name.lower().replace(" ", "").replace("-", "").replace("_", "")
        if plain and plain.startswith(self.names):
            return Match(1.0, f"H.5 names a Roche {name}")
        return Match(0.0, f"H.5 names none of {', '.join(self.names)}")

    # ------------------------------------------------------------------ results

    def remark(self, text: str) -> str:
        """Comments of digits are data alarms: 0 is none."""
        if not text.isdigit():
            return text
        return f"data alarm {text}" if text.strip("0") else ""

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        """O.3 is the sample; a c 311 writes ``counter^sample^...`` there. Carrier and position stand in O.4."""
        parts = order.components(3)
        sample = parts[1] if len(parts) > 1 and parts[1] else (parts[0] if parts else "")
        place = order.components(4)
        if len(place) < 3:
            return sample or None, None, None
        return sample or None, place[1] or None, place[2] or None

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q, or a control as sample type in O.4 (``QC``; ``CONTROL`` in the Elecsys type)."""
        if "Q" in (part for repeat in order.repeats(12) for part in repeat):
            return QcMark(material=context.specimen)
        return QcMark(material=context.specimen) if order.component(4, 5) in ("QC", "CONTROL") else None

    def test(self, parts: Sequence[str]) -> Test:
        """``^^^application/dilution/pre-dilution``; the application code alone names the test."""
        if len(parts) < 4:
            return "^".join(filter(None, parts)), None, None
        code, _, dilution = parts[3].partition("/")
        return code, None, dilution.strip("/") or "^".join(filter(None, parts[4:])) or None

    def value(self, result: Record) -> Value:
        """The measured value, beside it the number of a result message; of a qualitative test the cut-off index and

        its call.
        """
        parts = result.components(4)
        if len(parts) < 2:
            return parts[0] if parts else "", ()
        if _is_qualitative(parts, result.text(5)):
            return parts[1] or parts[0], (f"{QUALITATIVE[parts[0]]} ({parts[0]})",)
        return parts[0], (f"result message {parts[1]}",) if parts[1] else ()

    def details(self, record: Record) -> Details:
        told = super().details(record)
        if told[5] and record.delimiters.component not in told[5]:
            return told
        module = record.component(14, 1) or record.component(15, 1)  # a cobas 6000 writes one field more
        return (*told[:5], module, *told[6:])

    def manufacturer(self, record: Record, context: Context) -> None:
        """Calibrations and absorbances are carried whole, under the name that H.11 gives them."""
        purpose = context.header.component(11, 1) if context.header is not None else ""
        name = _UPLOADS.get(purpose, "manufacturer record")
        context.items.append(InstrumentEvent(name, context.specimen, record.whole(), record=record.index))

    # ------------------------------------------------------------------ host query

    def host_query(self, record: Record) -> HostQuery:
        """``^^sample^sequence^carrier^position^^type^container``. A sample that begins with @ was made up by the
        analyzer, whose reader could not read the tube: then there is no specimen, the answer still echoes it."""
        raw = record.raw(3).split(record.delimiters.component)
        asked = raw[2] if len(raw) > 2 else ""
        sample = record.component(3, 3)
        place = record.delimiters.component.join(raw[3:])
        return HostQuery(
            specimens=(sample,) if sample and not sample.startswith("@") else (),
            rack=record.component(3, 5) or None,
            position=record.component(3, 6) or None,
            context={"asked": asked, "place": place, "status": record.text(13)},
            record=record.index,
        )

    def asked(self, record: Record, context: Context) -> Sequence[Item]:
        """The query with what its header says, and the event that takes it back (Q.13 A: nobody answered in time)."""
        query, header = self.host_query(record), context.header
        named = {"sender": header.raw(5), "purpose": header.raw(11)} if header else {}
        known = {**query.context, **named}
        found: list[Item] = [changed(query, context=known)]
        if known["status"] == _CANCELLED:
            specimen = query.specimens[0] if query.specimens else None
            found.append(InstrumentEvent("query cancelled", specimen, record=query.record))
        return found

    def stands(self, query: HostQuery) -> bool:
        return query.context.get("status") != _CANCELLED

    def answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], now: datetime) -> bytes:
        """TSDWN^REPLY with the sample's tests. No order: the same O with no test (e 411 manual, p. 51, example 2)."""
        context = query.context
        known = [each for specimen in query.specimens for each in orders.get(specimen, ()) if not each.cancelled]
        purpose = "TSDWN^REPLY" if "^" in context.get("purpose", "^") else "TSDWN"
        header = self.order_header(self.receiver(context.get("sender", "")), purpose, now)
        order = self.test_order(context.get("asked", ""), context.get("place", ""), known)
        patient = self.patient_record(1, known[0]) if known else ("P", "1")
        return build_message([header, patient, order, ("L", "1", "N")])

    def download(self, orders: Sequence[Order], now: datetime) -> Sequence[bytes]:
        """TSDWN^BATCH: tests of a sample that has not been read yet; one sample a message, no carrier known."""
        return [
            build_message(
                [
                    self.order_header(self.batch_receiver, "TSDWN^BATCH", now),
                    self.patient_record(1, order),
                    self.test_order(escape(order.specimen), "0^^^^S1^SC", [order]),
                    ("L", "1", "N"),
                ]
            )
            for order in orders
            if not order.cancelled and order.codes
        ]

    batch_receiver: ClassVar[str] = ""

    def receiver(self, sender: str) -> str:
        """H.10 of an answer: the analyzer's name without the version of its interface."""
        return sender.partition("^")[0]

    def order_header(self, receiver: str, purpose: str, now: datetime) -> tuple[str, ...]:
        return ("H", "\\^&", "", "", "host^1", "", "", "", "", receiver, purpose, "P", "1")

    def patient_record(self, number: int, order: Order) -> Sequence[str]:
        """Name and birth date are never sent: the interface shows them nowhere but on the screen."""
        return ("P", str(number))

    def test_id(self, code: str) -> str:
        """``code`` or ``code/dilution``, as results write it."""
        code, _, dilution = code.partition("/")
        return f"^^^{escape(code)}^{escape(dilution)}"

    def test_order(self, sample: str, place: str, orders: Sequence[Order]) -> tuple[str, ...]:
        """`sample` and `place` go back as they were asked. O.12 A: ordered by the host; O.16 sample type's digit."""
        codes = dict.fromkeys(_with_dilution(order, code) for order in orders for code in order.codes)
        tests = "\\".join(self.test_id(code) for code in codes)
        priority = "S" if any(order.priority == "S" for order in orders) else "R"
        kind = place.split("^")[4] if place.count("^") >= 4 else ""
        descriptor = kind[1:2] if kind[:1] == "S" and kind[1:2] in tuple("12345") else "1"
        return ("O", "1", sample, place, tests, priority, *[""] * 5, "A", *[""] * 3, descriptor, *[""] * 9, "O")


def _with_dilution(order: Order, code: str) -> str:
    factor = order.dilution_of(code)
    return f"{code}/{factor}" if factor and "/" not in code else code


def _is_qualitative(parts: Sequence[str], unit: str) -> bool:
    """A call of -1, 0 or 1 before an index; a quantitative value has a result message (two digits) there instead."""
    return parts[0] in QUALITATIVE and (unit.upper() == "COI" or "." in parts[1])
