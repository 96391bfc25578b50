"""Mindray BC series haematology analyzers (BC-5000 to BC-6800), HL7 2.3.1 over MLLP.

Source: a BC-5380's capture (results with picture and two OBR), Mindray's "BC-5000 & BC-5150 HL7 Communication Protocol
V2.0" as a public driver quotes it, whose own log of a BC-5150 shows ORM^O01 and its refusal.

OBR-3 is the tube; codes are LOINC or of Mindray's system 99MRC. MSH-11 Q makes the message a control. OBX-8 repeats: H
or L, and N or A. The analyzer asks with ORM^O01 (ORC-1 RF, ORC-3 the tube) and gets ORR^O02: MSA AR where there is no
order, else ORC-1 AF with the tube in ORC-2 and OBR-2, and the test mode in an OBX. The mode (CBC, CBC+DIFF ...) is what
an order's code names: a haematology analyzer is not told single tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.hl7_driver import Context, Hl7Driver
from protocols.messages.hl7 import Hl7Message, Segment, build, escape, read_messages
from protocols.model import HostQuery, Item, Order, QcMark, Undecoded

_MODE = "08003^Test Mode^99MRC"
_OWN_CODES = ("^99MRC",)


class MindrayBc(Hl7Driver):
    id: ClassVar[str] = "mindray_bc"
    vendor: ClassVar[str] = "Mindray"
    models: ClassVar[tuple[str, ...]] = ("BC-5000", "BC-5150", "BC-5380", "BC-5480", "BC-6800")
    source: ClassVar[str] = (
        "A capture of a BC-5380; BC-5000 & BC-5150 HL7 Communication Protocol V2.0 as a public driver quotes it"
    )
    status: ClassVar[Status] = Status.CAPTURED
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "within the reference range, or not suspect",
        "H": "above the reference range",
        "L": "below the reference range",
        "A": "suspect: an alarm touches this result",
    }

    def fingerprint(self, payload: bytes) -> Match:
        messages = read_messages(payload[:4096])
        if not messages:
            return Match(0.0, "no MSH segment")
        message = messages[0]
        model = message.header.component(3, 1)
        if model.upper().startswith("BC-"):
            return Match(1.0, f"MSH-3 names a {model}")
        if any(code in segment.line for segment in message.segments for code in _OWN_CODES):
            return Match(0.8, "codes of 99MRC, which Mindray's haematology analyzers send")
        order = message.first("ORC")
        if message.kind == "ORM^O01" and order is not None and order.text(1) == "RF" and order.text(3):
            return Match(0.4, "ORM^O01 asks for an order (ORC-1 RF), as BC analyzers do")
        return Match(0.0, "neither MSH-3 nor a code names a BC")

    # ------------------------------------------------------------------ results

    def items(self, message: Hl7Message) -> list[Item]:
        if message.kind == "ORM^O01":
            return [self.host_query(message)]
        return super().items(message)

    def qc_mark(self, request: Segment, context: Context) -> QcMark | None:
        """MSH-11 Q: a control, which OBR-3 names."""
        if context.header.component(11, 1) == "Q":
            return QcMark(material=self.specimen(request))
        return context.qc

    # ------------------------------------------------------------------ host query

    def host_query(self, message: Hl7Message) -> Item:
        """ORC-3 the tube; ORC-1 is RF (refill: send me the order)."""
        order = message.first("ORC")
        if order is None:
            return Undecoded(reason="a query without ORC", text=message.header.line[:2000], record=0)
        specimen = order.component(3, 1) or order.component(2, 1)
        return HostQuery(
            specimens=(specimen,) if specimen else (), query_id=message.control_id or None, record=order.index
        )

    def reply(self, message: Hl7Message, orders: Mapping[str, Sequence[Order]], now: datetime) -> list[bytes]:
        if message.kind == "ORM^O01":
            return self.answer(message, orders, now)
        return super().reply(message, orders, now)

    def answer(self, message: Hl7Message, orders: Mapping[str, Sequence[Order]], now: datetime) -> list[bytes]:
        query = self.host_query(message)
        if not isinstance(query, HostQuery):
            return super().answer(message, orders, now)
        known = [each for one in query.specimens for each in orders.get(one, ()) if each.codes and not each.cancelled]
        head = [self.reply_header(message, "ORR^O02", now), ["MSA", "AA" if known else "AR", message.header.raw(10)]]
        if not known:
            return [build(head, self.reply_charset(message))]
        order = known[0]
        specimen = escape(query.specimens[0])
        segments = [*head, *_patient(order)]
        segments.append(["ORC", "AF", specimen, "", ""])
        segments.append(["OBR", "1", specimen, "", "00001^Automated Count^99MRC", *[""] * 19, "HM"])
        for number, mode in enumerate(dict.fromkeys(code for each in known for code in each.codes), start=1):
            segments.append(["OBX", str(number), "IS", _MODE, "", escape(mode), *[""] * 5, "F"])
        return [build(segments, "utf-8" if message.charset == "ascii" else self.reply_charset(message))]


def _patient(order: Order) -> list[list[str]]:
    """Only where the laboratory lets the number or the name leave."""
    if not (order.patient_id or order.patient_name):
        return []
    born = "".join(each for each in order.birth_date or "" if each.isdigit())[:14]
    sex = {"M": "Male", "F": "Female"}.get(order.sex or "", "")
    number = f"{escape(order.patient_id or '')}^^^^MR"
    return [["PID", "1", "", number, "", escape(order.patient_name or ""), "", born and born.ljust(14, "0"), sex]]
