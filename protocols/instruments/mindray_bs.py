"""Mindray BS series chemistry analyzers (BS-120 to BS-2000M), HL7 2.3.1 over MLLP.

Source: Mindray's host interface manuals as public projects quote them (BS series, P/N BA20-20-75337, in a public LIS
specification; CL series, 2013-08, as extracted text). No capture of a BS was at hand: not proved on an instrument.

Results come as ORU^R01, often one test a message; MSH-16 says what it is: 0 patient, 1 calibration, 2 control. A
control result stands in the OBR itself. QRY^Q02 is answered by QCK^Q02 and, where an order is known, DSR^Q03 with
positional DSP lines: 21 barcode, 23 time, 24 STAT, 26 specimen type, from 29 on one test each (``number^^^``). Tests
are the channel numbers set on the analyzer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.hl7_driver import Hl7Driver
from protocols.messages.hl7 import Hl7Message, Segment, build, escape, read_messages, reply_header
from protocols.messages.times import iso_time
from protocols.model import Attachment, HostQuery, InstrumentEvent, Item, Observation, Order, QcMark, Undecoded

_CALIBRATION, _CONTROL = "1", "2"
_INVALID = ("-0x0fffffff", str(-0x0FFFFFFF))
_FIRST_TEST_LINE = 29
_HEADER_FIELDS = 21
_SPECIMEN_TYPES = {
    "serum": "serum",
    "plasma": "plasma",
    "urine": "urine",
    "SER": "serum",
    "PLAS": "plasma",
    "UR": "urine",
}


class MindrayBs(Hl7Driver):
    id: ClassVar[str] = "mindray_bs"
    vendor: ClassVar[str] = "Mindray"
    models: ClassVar[tuple[str, ...]] = ("BS-120", "BS-200", "BS-350", "BS-480", "BS-800", "BS-2000M")
    source: ClassVar[str] = (
        "Mindray host interface manuals (BS BA20-20-75337; CL 2013-08) as public projects quote them"
    )
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "within the analyzer's reference range",
        "H": "above the analyzer's reference range",
        "L": "below the analyzer's reference range",
    }

    def fingerprint(self, payload: bytes) -> Match:
        messages = read_messages(payload[:4096])
        if not messages:
            return Match(0.0, "no MSH segment")
        message = messages[0]
        model = message.header.component(4, 1)
        if message.header.component(3, 1).upper() == "MINDRAY" and model.upper().startswith("BS"):
            return Match(1.0, f"MSH-3 and MSH-4 name a Mindray {model}")
        for segment in message.segments:
            place = {"OBR": (4, 2), "QRF": (1, 1)}.get(segment.name)
            if place is not None and segment.component(*place).upper().startswith("BS-"):
                return Match(0.9, f"{segment.name}-{place[0]} names {segment.component(*place)}")
        return Match(0.0, "neither MSH, OBR-4 nor QRF-1 names a BS")

    # ------------------------------------------------------------------ results

    def results(self, message: Hl7Message) -> list[Item]:
        kind = message.header.text(16)
        if kind == _CONTROL:
            return [item for each in message.segments if each.name == "OBR" for item in self._controls(each)]
        if kind == _CALIBRATION:
            return [
                InstrumentEvent("calibration", None, each.line, iso_time(each.raw(6)), each.index)
                for each in message.segments
                if each.name in ("OBR", "OBX")
            ]
        return super().results(message)

    def _controls(self, request: Segment) -> list[Item]:
        """OBR-2 test, 3 its name, 6/8 time, 13 material, 14 lot, 17 level, 18 mean, 19 SD, 20 result, 21 unit.

        Several controls of a test may share a segment, as components at the same position.
        """
        code = request.component(2, 1)
        if not code:
            return [Undecoded("control result without a test number (OBR-2)", request.line[:2000], request.index)]
        columns = [request.components(number) for number in (13, 14, 17, 18, 19, 20)]
        observed_at = iso_time(request.raw(8)) or iso_time(request.raw(6)) or iso_time(request.raw(7))
        return [
            Observation(
                specimen=None,
                code=code,
                value=value or None,
                unit=request.component(21, 1) or None,
                observed_at=observed_at,
                name=request.component(3, 1) or None,
                comments=tuple(f"{word} {number}" for word, number in (("mean", mean), ("SD", sd)) if number),
                qc=QcMark(material or None, level or None, lot or None),
                record=request.index,
            )
            for material, lot, level, mean, sd, value in zip_longest(*columns, fillvalue="")
        ]

    def specimen(self, request: Segment) -> str | None:
        """OBR-2 barcode; without one the analyzer's own sample number, which a person must match."""
        return request.component(2, 1) or request.component(3, 1) or None

    def code(self, segment: Segment) -> tuple[str, str | None]:
        return segment.component(3, 1), segment.text(4) or None

    def value(self, segment: Segment, code: str) -> tuple[str | None, tuple[Attachment, ...]]:
        """OBX-5; an invalid number there means that OBX-9 holds the (qualitative) result."""
        value, attachments = super().value(segment, code)
        if value is not None and value.split(".")[0].lower() in _INVALID:
            value = segment.text(9) or None
        return value, attachments

    # ------------------------------------------------------------------ host query

    def host_query(self, message: Hl7Message) -> Item:
        """QRD-8 is the barcode; none asks for all of a span of time. QRD-9 CAN takes the query back."""
        definition = message.first("QRD")
        if definition is None:
            return Undecoded("a query without QRD", message.header.line, 0)
        if definition.component(9, 1) == "CAN":
            return InstrumentEvent("query cancelled", None, message.control_id, record=definition.index)
        barcode = definition.component(8, 1)
        return HostQuery(
            specimens=(barcode,) if barcode else (),
            everything=not barcode,
            query_id=message.control_id or None,
            record=definition.index,
        )

    def answer(self, message: Hl7Message, orders: Mapping[str, Sequence[Order]], now: datetime) -> list[bytes]:
        query = self.host_query(message)
        if not isinstance(query, HostQuery):
            return [self._query_acknowledgement(message, "OK", now)]
        asked = list(orders) if query.everything else list(query.specimens)
        known = [found for each in asked if (found := self._merged(each, orders))]
        replies = [self._query_acknowledgement(message, "OK" if known else "NF", now)]
        for number, order in enumerate(known, start=1):
            replies.append(self._display(message, order, "" if number == len(known) else str(number), now))
        return replies

    def _merged(self, specimen: str, orders: Mapping[str, Sequence[Order]]) -> Order | None:
        """One DSR names all tests of a specimen."""
        known = [each for each in orders.get(specimen, ()) if not each.cancelled and each.codes]
        if not known:
            return None
        codes = tuple(dict.fromkeys(code for each in known for code in each.codes))
        first = known[0]
        priority = "S" if any(each.priority == "S" for each in known) else first.priority
        return Order(
            specimen=specimen,
            codes=codes,
            priority=priority,
            specimen_type=first.specimen_type,
            collected_at=first.collected_at,
            patient_id=first.patient_id,
            patient_name=first.patient_name,
            sex=first.sex,
            birth_date=first.birth_date,
        )

    def _query_acknowledgement(self, message: Hl7Message, status: str, now: datetime) -> bytes:
        return build([*self._head(message, "QCK^Q02", status, now)], self.reply_charset(message))

    def _head(self, message: Hl7Message, kind: str, status: str, now: datetime) -> list[list[str]]:
        return [
            self.reply_header(message, kind, now),
            ["MSA", "AA", message.header.raw(10), "Message accepted", "", "", "0", ""],
            ["ERR", "0", ""],
            ["QAK", "SR", status, ""],
        ]

    def _display(self, message: Hl7Message, order: Order, more: str, now: datetime) -> bytes:
        echoed = [each.line.split("|") for name in ("QRD", "QRF") if (each := message.first(name)) is not None]
        lines = {
            1: order.patient_id,
            3: order.patient_name,
            4: _digits(order.birth_date),
            5: order.sex,
            21: order.specimen,
            23: _digits(order.collected_at),
            24: "Y" if order.priority == "S" else "N",
            26: _SPECIMEN_TYPES.get(order.specimen_type or ""),
        }
        display = [["DSP", str(n), "", escape(lines.get(n) or ""), "", "", ""] for n in range(1, _FIRST_TEST_LINE)]
        for number, code in enumerate(order.codes, start=_FIRST_TEST_LINE):
            display.append(["DSP", str(number), "", f"{escape(code)}^^^", "", "", ""])
        head = self._head(message, "DSR^Q03", "OK", now)
        charset = self.reply_charset(message)
        if charset == "ascii" and order.patient_name and not order.patient_name.isascii():
            charset = "utf-8"
        return build([*head, *echoed, *display, ["DSC", more, ""]], charset)

    def reply_header(self, message: Hl7Message, kind: str, now: datetime) -> list[str]:
        """MSH-16 says again what kind of result is acknowledged."""
        fields = reply_header(message.header, kind, now, result_type=message.header.raw(16))
        return fields + [""] * (_HEADER_FIELDS - len(fields))


def _digits(time: str | None) -> str | None:
    """An ISO time as the DSP lines want it: ``YYYYMMDDHHMMSS``."""
    if not time:
        return None
    digits = "".join(each for each in time if each.isdigit())[:14]
    return digits.ljust(14, "0") if digits else None
