"""What every HL7 v2 analyzer shares: the walk over OBR, SPM, OBX and NTE, and the acknowledgements we owe.

A result we understood badly is still answered AA once it is stored: an AE makes many analyzers send it again for ever.
Patient segments are not read: sex and age never come from an instrument.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from protocols.driver import Driver
from protocols.links.contract import Link
from protocols.links.mllp import MllpLink, MllpOptions
from protocols.messages.hl7 import (
    Hl7Message,
    Segment,
    acknowledgement_type,
    build,
    escape,
    read_messages,
    reply_header,
    wants,
)
from protocols.messages.hl7_groups import specimens_behind
from protocols.messages.hl7_pictures import encapsulated, reference
from protocols.messages.hl7_spans import header_alone
from protocols.messages.times import iso_time
from protocols.model import (
    Attachment,
    Decoded,
    HostQuery,
    InstrumentEvent,
    Item,
    Observation,
    Order,
    QcMark,
    Undecoded,
    changed,
)

_SHOWN = 2000
_FIRST_FIELDS, _ALL_FIELDS = 9, 20
_BLANK = tuple([""] * missing for missing in range(_ALL_FIELDS + 1))
_STARTS = (b"MSH", b"FHS", b"BHS")
_RESULTS = ("ORU", "OUL")
_QUERIES = ("QRY", "QBP")
_CODECS = {"utf-8", "gb18030", "latin-1", "ascii"}

Details = tuple[str, str, str, str, str, str, str | None, tuple[str, ...]]
"""Unit, reference range, status, time as sent, operator, module, "" where there is none; the reagent's lot; what stands
beside the value, in words."""


@dataclass(slots=True)
class Context:
    """What the segments above an OBX say about it."""

    header: Segment
    request: Segment | None = None
    specimen: str | None = None
    qc: QcMark | None = None
    specimen_qc: QcMark | None = None
    """What SPM said of the specimen; an OBR of another specimen does not inherit more than that."""
    observed_at: str | None = None
    items: list[Item] = field(default_factory=list)
    last_was_result: bool = False

    def forget_specimen(self) -> None:
        self.specimen = self.qc = self.specimen_qc = self.observed_at = None


class Hl7Driver(Driver):
    protocol: ClassVar[str] = "hl7"
    link_options: ClassVar[MllpOptions] = MllpOptions()
    charset: ClassVar[str | None] = None

    def new_link(self) -> Link:
        return MllpLink(self.link_options)

    def read(self, payload: bytes) -> list[Hl7Message]:
        return read_messages(payload, self.charset)

    # ------------------------------------------------------------------ decoding

    def decode(self, payload: bytes) -> Decoded:
        messages = self.read(payload)
        if not messages:
            shown = payload[:_SHOWN].decode("latin-1")
            return Decoded(items=(Undecoded("the message has no MSH segment", shown, 0),))
        items: list[Item] = [item for message in messages for item in self.items(message)]
        if not payload.startswith(_STARTS):
            items = [*_before_the_message(payload), *items]
        first = messages[0]
        return Decoded(
            items=tuple(items),
            sender=self.sender(first.header) or None,
            message_id=first.control_id or None,
            charset=first.charset,
        )

    def sender(self, header: Segment) -> str:
        return header.component(3, 1)

    def items(self, message: Hl7Message) -> list[Item]:
        """Everything one message holds, by its type."""
        kind = message.kind.split("^", 1)[0]
        if kind in _RESULTS:
            return self.results(message)
        if kind in _QUERIES:
            return [self.host_query(message)]
        if kind == "ACK":
            return [self.acknowledged(message)]
        reason = f"message type {message.kind} is not read" if message.kind else "the message names no type (MSH-9)"
        return [Undecoded(reason, message.header.line[:_SHOWN], 0)]

    def results(self, message: Hl7Message) -> list[Item]:
        context = Context(header=message.header)
        specimens = [segment for segment in message.segments if segment.name == "SPM"]
        behind = specimens_behind(message.segments) if specimens else None
        if behind is not None:
            return self._results_before_specimens(message, behind, context)
        if len(specimens) == 1:
            self.begin_specimen(specimens[0], context)
        for segment in message.segments[1:]:
            if segment.name == "SPM" and len(specimens) > 1:  # without a number it is nobody's, not the one before
                context.forget_specimen()
            self._take(segment, context)
        return context.items

    def _results_before_specimens(
        self, message: Hl7Message, behind: Mapping[int, Segment | None], context: Context
    ) -> list[Item]:
        """ORU_R01 and ORU_R30 of HL7 2.5: SPM stands behind the results it belongs to."""
        begun: Segment | None = None
        for segment in message.segments[1:]:
            if segment.name == "OBR":
                own = behind[segment.index]
                if own is None or own is not begun:
                    context.forget_specimen()
                    if own is not None:
                        self.begin_specimen(own, context)
                begun = own
            if segment.name != "SPM":
                self._take(segment, context)
        return context.items

    def _take(self, segment: Segment, context: Context) -> None:
        name = segment.name
        if name == "OBX":
            context.items.append(self.observation(segment, context))
        elif name == "OBR":
            self.begin_request(segment, context)
        elif name == "NTE":
            self._comment(segment, context)
            return
        elif name == "SPM":
            self.begin_specimen(segment, context)
        elif name == "PID" and context.request is not None:  # the next patient
            context.request = context.specimen = context.qc = context.specimen_qc = context.observed_at = None
        elif name == "TQ1":
            context.observed_at = iso_time(segment.raw(8)) or iso_time(segment.raw(7)) or context.observed_at
        elif name == "SAC":
            self.begin_container(segment, context)
        elif not name:
            context.items.append(Undecoded("a line that begins no segment", segment.line[:_SHOWN], segment.index))
        context.last_was_result = name == "OBX"

    def begin_request(self, segment: Segment, context: Context) -> None:
        context.request = segment
        found = self.specimen(segment)
        if found and found != context.specimen:
            context.specimen, context.observed_at, context.qc = found, None, context.specimen_qc
        time = iso_time(segment.component(7, 1)) or iso_time(segment.component(22, 1))
        context.observed_at = time or context.observed_at  # a second OBR of the specimen may leave it out
        context.qc = self.qc_mark(segment, context)

    def begin_specimen(self, segment: Segment, context: Context) -> None:
        """SPM-2: placer^filler, each with sub-components; the first that is filled."""
        parts = [part for each in segment.components(2) for part in each.split(segment.delimiters.sub)]
        context.specimen = next(filter(None, parts), None) or context.specimen
        if segment.component(11, 1) == "Q":
            context.qc = context.specimen_qc = QcMark(material=context.specimen)

    def begin_container(self, segment: Segment, context: Context) -> None:
        """SAC (container detail): nothing, unless a driver reads where tubes stand."""

    def specimen(self, request: Segment) -> str | None:
        """OBR-3 (filler) or OBR-2 (placer), whichever the instrument fills."""
        return request.component(3, 1) or request.component(2, 1) or None

    def qc_mark(self, request: Segment, context: Context) -> QcMark | None:
        """Control material: MSH-11 Q, or role Q in OBR-15.7 (HL7 table 0369)."""
        if context.header.component(11, 1) == "Q" or request.component(15, 7) == "Q":
            return QcMark(material=request.component(4, 1) or context.specimen)
        return context.qc

    def code(self, segment: Segment) -> tuple[str, str | None]:
        """OBX-3.1, with a sub-identifier that is no number where OBX-3 does not name the analyte itself."""
        parts = segment.components(3)
        name = parts[1] if len(parts) > 1 else ""
        if not name and (sub := segment.text(4)) and not sub.isdigit():
            return f"{parts[0]}/{sub}", None
        return parts[0], name or None

    def observation(self, segment: Segment, context: Context) -> Observation | Undecoded:
        code, name = self.code(segment)
        if not code:
            return Undecoded("result without a test code", segment.line[:_SHOWN], segment.index)
        value, attachments = self.value(segment, code)
        unit, reference, status, time, operator, module, lot, comments = self.details(segment)
        return Observation(  # by position: with keywords it would cost six times as much, for each result
            context.specimen,
            code,
            value,
            unit or None,
            self.flags(segment),
            (iso_time(time) if time else None) or context.observed_at,
            reference or None,
            status or None,
            name,
            None,  # run
            None,  # dilution
            operator or None,
            module or None,
            lot,
            None,  # calibrator_lot
            None,  # rack
            None,  # position
            comments,
            attachments,
            context.qc,
            segment.index,
        )

    def details(self, segment: Segment) -> Details:
        """OBX-6.1 unit, 7 reference range, 11 status, 14 time or 19 that of the analysis, 16 operator, 18.1 module."""
        fields = segment.fields
        component, as_sent = segment.delimiters.component, segment.as_sent
        if len(fields) <= _FIRST_FIELDS and as_sent:
            unit = fields[6] if len(fields) > 6 else ""
            if component in unit:
                unit = segment.component(6, 1)
            return unit, fields[7] if len(fields) > 7 else "", "", "", "", "", None, ()
        if len(fields) < _ALL_FIELDS:
            fields = fields + _BLANK[_ALL_FIELDS - len(fields)]
        unit, operator, module = fields[6], fields[16], fields[18]
        if not as_sent or component in unit:
            unit = segment.component(6, 1)
        if operator and (not as_sent or component in operator):
            operator = "^".join(filter(None, segment.components(16)))
        if module and (not as_sent or component in module):
            module = segment.component(18, 1)
        time = fields[14] if not fields[14].isspace() else ""
        if as_sent:
            return unit, fields[7], fields[11], time or fields[19], operator, module, None, ()
        return unit, segment.text(7), segment.text(11), time or fields[19], operator, module, None, ()

    def flags(self, segment: Segment) -> tuple[str, ...]:
        raw = segment.raw(8)
        if not raw:
            return ()
        if segment.as_sent:
            return (raw,)
        return tuple(flag for each in segment.repeats(8) if (flag := segment.plain(each).strip()))

    def value(self, segment: Segment, code: str) -> tuple[str | None, tuple[Attachment, ...]]:
        """OBX-5 by the type in OBX-2: pictures (ED, RP) apart, a structured number (SN) put together, else the text."""
        fields, delimiters = segment.fields, segment.delimiters
        if len(fields) < 6:
            return None, ()
        kind, raw = fields[2], fields[5]
        if kind in ("ED", "RP"):
            return self._pictures(segment, code)
        if delimiters.component not in raw and delimiters.repeat not in raw:
            return (raw if segment.as_sent else segment.text(5)) or None, ()
        joint = "" if kind == "SN" else "^"
        joined = [joint.join(filter(None, segment.parts(repeat))) for repeat in segment.repeats(5)]
        return "~".join(filter(None, joined)) or None, ()

    def _pictures(self, segment: Segment, code: str) -> tuple[str | None, tuple[Attachment, ...]]:
        """Every repeat of OBX-5; what does not decode stays in the value, as text."""
        read = encapsulated if segment.raw(2) == "ED" else reference
        found: list[Attachment] = []
        kept: list[str] = []
        for repeat in segment.repeats(5):
            attachment = read(segment, code, repeat)
            if attachment is not None:
                found.append(attachment)
            else:
                kept.append(segment.plain(repeat).strip())
        return "~".join(filter(None, kept)) or None, tuple(found)

    def _comment(self, segment: Segment, context: Context) -> None:
        text = "^".join(filter(None, segment.components(3)))
        if not text:
            return
        last = context.items[-1] if context.items else None
        if context.last_was_result and isinstance(last, Observation):
            context.items[-1] = changed(last, comments=(*last.comments, text))
        else:
            context.items.append(InstrumentEvent("comment", context.specimen, text, record=segment.index))

    def acknowledged(self, message: Hl7Message) -> Item:
        """The instrument's answer to what we sent."""
        msa = message.first("MSA")
        detail = " ".join(filter(None, (msa.text(1), msa.text(2), msa.text(3)))) if msa else None
        return InstrumentEvent("acknowledgement", None, detail, iso_time(message.header.raw(7)), 0)

    # ------------------------------------------------------------------ answers

    def host_query(self, message: Hl7Message) -> Item:
        """QRD-8 (original query) or QPD-3 (query by parameter) names the specimen."""
        definition = message.first("QRD")
        number = 8
        if definition is None:
            definition, number = message.first("QPD"), 3
        if definition is None:
            return Undecoded("a query without QRD or QPD", message.header.line[:_SHOWN], 0)
        specimen = definition.component(number, 1)
        return HostQuery((specimen,) if specimen else (), query_id=message.control_id or None, record=definition.index)

    def must_read(self, payload: bytes) -> bool:
        """Results are acknowledged by their header; what they hold is read later."""
        if type(self).respond is not Hl7Driver.respond:
            return True
        messages = self._heads(payload)
        return not messages or any(message.kind.split("^", 1)[0] not in _RESULTS for message in messages)

    def _heads(self, payload: bytes) -> list[Hl7Message]:
        """The messages; of one alone only its MSH, which is all that an acknowledgement takes from a result."""
        header = header_alone(payload)
        return self.read(payload if header is None else header)

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        """`decoded` is not looked at: the replies are those of the messages in the payload."""
        messages = self._heads(payload)
        if any(message.kind.split("^", 1)[0] not in _RESULTS for message in messages):
            messages = self.read(payload)
        return [reply for message in messages for reply in self.reply(message, orders, now)]

    def reply(self, message: Hl7Message, orders: Mapping[str, Sequence[Order]], now: datetime) -> list[bytes]:
        """What we owe for one message; of a result only the header may be there. An acknowledgement is never

        acknowledged.
        """
        kind = message.kind.split("^", 1)[0]
        if kind == "ACK":
            return []
        if kind in _QUERIES:
            return self.answer(message, orders, now)
        return self.acknowledge(message, "A", "Message accepted", "0", now)

    def answer(self, message: Hl7Message, orders: Mapping[str, Sequence[Order]], now: datetime) -> list[bytes]:
        """A driver that knows its instrument's query answers it; else the instrument is told that we do not."""
        return self.acknowledge(message, "R", "Unsupported message type", "200", now)

    def acknowledge(self, message: Hl7Message, verdict: str, text: str, condition: str, now: datetime) -> list[bytes]:
        """MSA in the mode that MSH-15 and MSH-16 ask for; `verdict` is A, E or R. MSA-2 is MSH-10, unchanged."""
        replies = []
        for mode in wants(message.header):
            code = ("C" if mode == "commit" else "A") + verdict
            header = self.reply_header(message, acknowledgement_type(message.header), now)
            msa = ["MSA", code, message.header.raw(10), escape(text), "", "", condition]
            replies.append(build([header, msa], self.reply_charset(message)))
        return replies

    def reply_header(self, message: Hl7Message, kind: str, now: datetime) -> list[str]:
        return reply_header(message.header, kind, now)

    def reply_charset(self, message: Hl7Message) -> str:
        return message.charset if message.charset in _CODECS else "utf-8"

    def refuse(self, payload: bytes, reason: str, now: datetime) -> Sequence[bytes]:
        """AE (CE in enhanced mode): the instrument keeps the message and sends it again."""
        replies: list[bytes] = []
        for message in self.read(payload):
            if not message.kind.startswith("ACK"):
                replies += self.acknowledge(message, "E", reason, "207", now)
        return replies


def _before_the_message(payload: bytes) -> list[Undecoded]:
    """What stands before the first segment of header or batch, blanks and block characters aside."""
    text = payload[: payload.find(b"MSH")].decode("latin-1")
    lines = [line for line in re.split(r"[\r\n\v\x1c]+", text.removeprefix("\xef\xbb\xbf")) if line.strip("\x00 ")]
    kept = "\r".join(line for line in lines if line[:3] not in ("FHS", "BHS"))
    return [Undecoded("text before the MSH segment", kept[:_SHOWN])] if kept else []
