"""IHE Laboratory Analytical Workflow (LAW): what every analyzer that speaks it shares.

LAB-27  QBP^Q11^QBP_Q11 asks (WOS one specimen, WOS_ALL, WOS_BY_RACK, WOS_BY_TRAY, WOS_BY_ISOLATE); RSP^K11^RSP_K11
        says only that the question was understood.
LAB-28  OML^O33^OML_O33 brings the work of one specimen, one ORC/OBR for each analytical work order step (AWOS), or
        takes it back (ORC-1 CA); with no work ORC-1 is DC and only MSH, SPM, SAC and ORC are sent. The analyzer answers
        ORL^O34^ORL_O42: OK or UA for each AWOS, CR or UC for a cancellation.
LAB-29  OUL^R22^OUL_R22 brings results and changes of status; we answer ACK^R22^ACK.

HL7 2.5.1, UTF-8, our requests in enhanced mode with an application acknowledgement only (MSH-15 NE, MSH-16 AL).

Source: the assertions LAB27-001..008, LAB28-001..007 and LAB29-001..003 that IHE's validation tool lists for LAW (PaLM
TF-2b 3.27-3.29); field positions as the Roche x800 Data Manager host manual's and an Alinity driver's messages show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.driver import Match
from protocols.hl7_driver import Hl7Driver
from protocols.law_orders import LawOrderWriter, is_open, new_control_id, not_null
from protocols.law_results import read_results
from protocols.links.answered import AnsweredLink, AnswerOptions
from protocols.links.contract import Link
from protocols.links.mllp import MllpLink
from protocols.messages.hl7 import Hl7Message, Segment, build, read_messages
from protocols.messages.times import iso_time
from protocols.model import Attachment, HostQuery, InstrumentEvent, Item, Observation, Order, QcMark, Undecoded

_QUERY_EVERYTHING = "WOS_ALL"
_ORDER_ANSWERS: Mapping[str, str] = {
    "OK": "order accepted",
    "UA": "order refused",
    "CR": "order cancelled",
    "UC": "cancellation refused",
}
"""ORC-1 of an ORL^O34 (HL7 table 0119)."""
_CODED = ("CE", "CWE", "CNE")


class LawDriver(LawOrderWriter, Hl7Driver):
    notices: ClassVar[Mapping[str, str]] = {}
    """MSH-9 of messages that are no results (equipment status, connection test) and what they tell."""
    query_all: ClassVar[frozenset[str]] = frozenset({_QUERY_EVERYTHING})
    """QPD-1.1 of a query for all pending work."""
    supplements_are_comments: ClassVar[bool] = False
    """Supplemental observations (OBX-3.4 S_..., OBX-29 not RSLT) go into the comments of the result before them."""
    answer_options: ClassVar[AnswerOptions] = AnswerOptions(awaited=frozenset({"OML"}))

    def new_link(self) -> Link:
        return AnsweredLink(MllpLink(self.link_options), self.answer_options)

    # ------------------------------------------------------------------ decoding

    def items(self, message: Hl7Message) -> list[Item]:
        kind = message.kind.split("^", 1)[0]
        if kind == "ORL":
            return self.order_answers(message)
        notice = self.notices.get(message.kind)
        if notice is not None:
            said = " ".join(each.line for each in message.segments[1:])[:2000] or None
            return [InstrumentEvent(name=notice, detail=said, occurred_at=iso_time(message.header.raw(7)), record=0)]
        return super().items(message)

    def results(self, message: Hl7Message) -> list[Item]:
        """OUL^R22 by specimen and container; an ORU is no message of LAW and is read as any HL7 analyzer's."""
        return read_results(self, message) if message.kind.startswith("OUL") else super().results(message)

    def order_answers(self, message: Hl7Message) -> list[Item]:
        """ORL^O34: what the analyzer did with each AWOS. Without any ORC only MSA speaks."""
        found: list[Item] = []
        specimen: str | None = None
        for segment in message.segments:
            if segment.name in ("SPM", "SAC"):
                specimen = self.container(segment) or specimen
            elif segment.name == "ORC":
                code = segment.component(1, 1)
                detail = " ".join(filter(None, (segment.component(2, 1), segment.component(5, 1)))) or None
                name = _ORDER_ANSWERS.get(code, f"order answered {code}".strip())
                found.append(InstrumentEvent(name=name, specimen=specimen, detail=detail, record=segment.index))
        return found or [self.acknowledged(message)]

    def container(self, segment: Segment) -> str | None:
        """SPM-2 or SAC-3: the number on the tube; a second component names who gave it (BARCODE, ROCHE)."""
        raw = segment.raw(2 if segment.name == "SPM" else 3)
        first = raw.split(segment.delimiters.component, 1)[0].split(segment.delimiters.sub, 1)[0]
        return not_null(segment.plain(first).strip())

    # ------------------------------------------------------------------ what vendors may read otherwise

    def flags(self, segment: Segment) -> tuple[str, ...]:
        """OBX-8 is CWE: the letter is its first component, two quotation marks are no flag."""
        each = (segment.plain(part.split(segment.delimiters.component, 1)[0]).strip() for part in segment.repeats(8))
        return tuple(flag for flag in each if not_null(flag))

    def value(self, segment: Segment, code: str) -> tuple[str | None, tuple[Attachment, ...]]:
        """A coded value (CE, CWE) is its code, or its text where it has none; never its coding system."""
        if segment.raw(2) in _CODED:
            return next(filter(not_null, segment.components(5)[:2]), None), ()
        return super().value(segment, code)

    def unit(self, segment: Segment) -> str | None:
        """OBX-6.1, or OBX-6.2 where only the unit's name is sent."""
        return next(filter(not_null, segment.components(6)[:2]), None)

    def note(self, segment: Segment, result: Observation) -> Observation | None:
        """What an NTE says of the result above it; None: it is an ordinary comment."""
        return None

    def control(self, mark: QcMark, inventory: Segment) -> QcMark:
        """INV behind SAC (type CO): INV-1 the material, INV-16 its lot."""
        names = [each for each in (inventory.component(1, 2), inventory.component(1, 1)) if not_null(each)]
        return QcMark(material=names[0] if names else mark.material, level=mark.level, lot=inventory.text(16) or None)

    # ------------------------------------------------------------------ host query

    def host_query(self, message: Hl7Message) -> Item:
        """QPD-3 the tube; QPD-4/5 rack and position; QPD-6/7 tray and position; WOS_ALL names none."""
        definition = message.first("QPD")
        if definition is None:
            return Undecoded(reason="a query without QPD", text=message.header.line[:2000], record=0)
        everything = definition.component(1, 1) in self.query_all
        tube = definition.raw(3).split(definition.delimiters.component, 1)[0]
        specimen = not_null(definition.plain(tube.split(definition.delimiters.sub, 1)[0]).strip())
        return HostQuery(
            specimens=(specimen,) if specimen and not everything else (),
            everything=everything,
            rack=not_null(definition.component(4, 1)) or not_null(definition.component(6, 1)),
            position=not_null(definition.component(5, 1)) or not_null(definition.component(7, 1)),
            query_id=definition.text(2) or message.control_id or None,
            record=definition.index,
        )

    def reply(self, message: Hl7Message, orders: Mapping[str, Sequence[Order]], now: datetime) -> list[bytes]:
        """An ORL answers us: it is not answered."""
        if message.kind.startswith("ORL"):
            return []
        return super().reply(message, orders, now)

    def answer(self, message: Hl7Message, orders: Mapping[str, Sequence[Order]], now: datetime) -> list[bytes]:
        query = self.host_query(message)
        if not isinstance(query, HostQuery):
            return super().answer(message, orders, now)
        asked = list(orders) if query.everything else list(query.specimens)
        work = {each: known for each in asked if (known := [one for one in orders.get(each, ()) if is_open(one)])}
        replies = [self.query_response(message, "NF" if query.everything and not work else "OK", now)]
        for number, (specimen, known) in enumerate(work.items(), start=1):
            header = self.order_header(message, number, now)
            replies.append(self.work(header, specimen, known, query, now))
        if not query.everything and not work:
            replies.append(self.no_work(self.order_header(message, 1, now), query, now))
        return replies

    def query_response(self, message: Hl7Message, status: str, now: datetime) -> bytes:
        """RSP^K11 says that the query was understood. Whether there is work the LAB-28 behind it says (LAB27-002..004);
        only a query for everything draws none when there is nothing, so that NF stands here."""
        definition = message.first("QPD")
        echoed = definition.line.split(definition.delimiters.field) if definition is not None else ["QPD"]
        header = self.reply_header(message, "RSP^K11^RSP_K11", now)
        header[9] = new_control_id(f"RSP {message.control_id}", now)
        segments = [
            header,
            ["MSA", "AA", message.header.raw(10)],
            ["QAK", definition.raw(2) if definition else "", status, definition.raw(1) if definition else ""],
            echoed,
        ]
        return build(segments, "utf-8")

    def reply_header(self, message: Hl7Message, kind: str, now: datetime) -> list[str]:
        """UTF-8 said so, and the profile of the request in MSH-21, as LAW wants."""
        fields = super().reply_header(message, kind, now)
        fields += [""] * (21 - len(fields))
        fields[17] = "UNICODE UTF-8"
        fields[20] = message.header.repeats(21)[0] if message.header.repeats(21) else ""
        while not fields[-1]:
            fields.pop()
        return fields

    def reply_charset(self, message: Hl7Message) -> str:
        return "utf-8"


def law_profile(payload: bytes) -> str | None:
    """MSH-21.1 where it names a LAW transaction (LAB-27, LAB-28, LAB-29), else None."""
    messages = read_messages(payload[:4096])
    if not messages:
        return None
    name = messages[0].header.component(21, 1).upper()
    return name if name[:6] in ("LAB-27", "LAB-28", "LAB-29") else None


def is_named(payload: bytes, names: Sequence[str], coding: str) -> Match:
    """By MSH-3 or MSH-4 beginning with one of `names`, else by the vendor's coding system anywhere in the message."""
    messages = read_messages(payload[:16384])
    if not messages:
        return Match(0.0, "no MSH segment")
    header = messages[0].header
    for sender in (header.text(3), header.text(4)):
        if any(sender.lower().startswith(name) for name in names):
            return Match(1.0, f"MSH names {sender[:40]}")
    if coding and any(coding in segment.line for segment in messages[0].segments):
        return Match(0.9, f"codes of {coding}")
    return Match(0.0, f"neither MSH nor a code names {names[0]}")
