"""Host query by display lines, HL7 2.3.1: QRY^Q02 is answered by QCK^Q02, then one DSR^Q03 for each specimen found.

An order stands in positional DSP lines: 21 barcode, 23 time, 24 STAT, 26 specimen type, from 29 on one test each
(``number^^^``). Of several specimens each DSR^Q03 but the last has a number in DSC. The analyzer answers each with
ACK^Q03. A DSR^Q03 that nobody asked for says P in MSH-15.

Source: Mindray's host interface manual of the CL series (2013-08), as extracted text in a public project; URIT and
others copy the dialogue with other lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.hl7_driver import Hl7Driver
from protocols.law_orders import digits, new_control_id
from protocols.links.answered import AnsweredLink, AnswerOptions
from protocols.links.contract import Link
from protocols.links.mllp import MllpLink
from protocols.messages.hl7 import Hl7Message, build, escape, reply_header
from protocols.model import HostQuery, InstrumentEvent, Item, Order, Undecoded

_HEADER_FIELDS = 21


class DisplayDriver(Hl7Driver):
    first_test_line: ClassVar[int] = 29
    specimen_types: ClassVar[Mapping[str, str]] = {}
    """The word of DSP line 26 for an order's specimen type."""
    application: ClassVar[tuple[str, str]] = ("", "")
    """MSH-5 and MSH-6 of orders that nobody asked for."""
    takes_orders: ClassVar[bool] = False
    """The manual shows DSR^Q03 without a query."""
    answer_options: ClassVar[AnswerOptions] = AnswerOptions(awaited=frozenset({"DSR"}), timeout_s=10.0)

    def new_link(self) -> Link:
        return AnsweredLink(MllpLink(self.link_options), self.answer_options)

    def host_query(self, message: Hl7Message) -> Item:
        """QRD-8 is the barcode; none asks for all of a span of time, or of a span of the analyzer's own numbers (QRF-4
        to QRF-5), which nobody here knows. QRD-9 CAN takes the query back."""
        definition = message.first("QRD")
        if definition is None:
            return Undecoded(reason="a query without QRD", text=message.header.line[:2000], record=0)
        if definition.component(9, 1) == "CAN":
            return InstrumentEvent(name="query cancelled", detail=message.control_id, record=definition.index)
        barcode = definition.component(8, 1)
        span = message.first("QRF")
        numbers = {"from": span.text(4), "to": span.text(5)} if span is not None and span.text(4) else {}
        return HostQuery(
            specimens=(barcode,) if barcode else (),
            everything=not barcode and not numbers,
            query_id=message.control_id or None,
            context={} if barcode else numbers,
            record=definition.index,
        )

    def answer(self, message: Hl7Message, orders: Mapping[str, Sequence[Order]], now: datetime) -> list[bytes]:
        query = self.host_query(message)
        if not isinstance(query, HostQuery):
            head = self.head(message, "QCK^Q02", "OK", now)
            return [build(head, self.reply_charset(message))]
        asked = list(orders) if query.everything else list(query.specimens)
        known = [found for each in asked if (found := merged(orders.get(each, ())))]
        replies = [build(self.head(message, "QCK^Q02", "OK" if known else "NF", now), self.reply_charset(message))]
        echoed = [each.line.split("|") for name in ("QRD", "QRF") if (each := message.first(name)) is not None]
        for number, order in enumerate(known, start=1):
            head = self.head(message, "DSR^Q03", "OK", now)
            more = "" if number == len(known) else str(number)
            replies.append(self.display([*head, *echoed], order, more, self.reply_charset(message)))
        return replies

    def head(self, message: Hl7Message, kind: str, status: str, now: datetime) -> list[list[str]]:
        return [self.reply_header(message, kind, now), *_answered(message.header.raw(10), status)]

    def display(self, head: list[list[str]], order: Order, more: str, charset: str) -> bytes:
        lines = self.lines(order)
        said = [*order.codes, *filter(None, lines.values())]
        if charset == "ascii" and not all(each.isascii() for each in said):
            charset = "utf-8"
        display = [["DSP", str(n), "", escape(lines.get(n) or ""), "", "", ""] for n in range(1, self.first_test_line)]
        for number, code in enumerate(order.codes, start=self.first_test_line):
            test = self.test_line(code, number - self.first_test_line + 1)
            display.append(["DSP", str(number), "", test, "", "", ""])
        return build([*head, *display, ["DSC", more, ""]], charset)

    def lines(self, order: Order) -> Mapping[int, str | None]:
        """Positional lines before the tests."""
        return {
            1: order.patient_id,
            3: order.patient_name,
            4: digits(order.birth_date),
            5: order.sex,
            21: order.specimen,
            23: digits(order.collected_at),
            24: "Y" if order.priority == "S" else "N",
            26: self.specimen_types.get(order.specimen_type or ""),
        }

    def test_line(self, code: str, number: int) -> str:
        return f"{escape(code)}^^^"

    def reply_header(self, message: Hl7Message, kind: str, now: datetime) -> list[str]:
        """MSH-16 says again what kind of result is acknowledged."""
        fields = reply_header(message.header, kind, now, result_type=message.header.raw(16))
        return fields + [""] * (_HEADER_FIELDS - len(fields))

    def download(self, orders: Sequence[Order], now: datetime) -> Sequence[bytes]:
        """DSR^Q03 with MSH-15 P for each specimen. An order cannot be taken back this way."""
        if not self.takes_orders:
            return ()
        of_specimen: dict[str, list[Order]] = {}
        for order in orders:
            of_specimen.setdefault(order.specimen, []).append(order)
        known = [found for each in of_specimen.values() if (found := merged(each))]
        return [self._unasked(order, now) for order in known]

    def _unasked(self, order: Order, now: datetime) -> bytes:
        time = now.strftime("%Y%m%d%H%M%S")
        control_id = new_control_id(f"{order.specimen} {order.codes}", now)
        rest = [time, "", "DSR^Q03", control_id, "P", "2.3.1", "", "", "P", "", "", "ASCII", "", "", ""]
        head = [
            ["MSH", "^~\\&", "", "", *self.application, *rest],
            *_answered(control_id, "OK"),
            ["QRD", time, "R", "D", "1", "", "", "RD", "", "OTH", "", "", "T", ""],
            ["QRF", "", "", "", "", "", "RCT", "COR", "ALL", "", ""],
        ]
        return self.display(head, order, "", "ascii")


def merged(orders: Sequence[Order]) -> Order | None:
    """One DSR names all tests of a specimen; None where nothing is to be measured."""
    known = [each for each in orders if not each.cancelled and each.codes]
    if not known:
        return None
    first = known[0]
    return Order(
        specimen=first.specimen,
        codes=tuple(dict.fromkeys(code for each in known for code in each.codes)),
        priority="S" if any(each.priority == "S" for each in known) else first.priority,
        specimen_type=first.specimen_type,
        collected_at=first.collected_at,
        patient_id=first.patient_id,
        patient_name=first.patient_name,
        sex=first.sex,
        birth_date=first.birth_date,
    )


def _answered(control_id: str, status: str) -> list[list[str]]:
    return [
        ["MSA", "AA", control_id, "Message accepted", "", "", "0", ""],
        ["ERR", "0", ""],
        ["QAK", "SR", status, ""],
    ]
