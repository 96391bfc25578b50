"""What every HL7 v2 analyzer shares: the walk over OBR, SPM, OBX and NTE, and the acknowledgements we owe.

A result we understood badly is still answered AA once it is stored: an AE makes many analyzers send it again for ever.
Patient segments are not read: sex and age never come from an instrument.
"""

from __future__ import annotations

import base64
import binascii
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
_RESULTS = ("ORU", "OUL")
_QUERIES = ("QRY", "QBP")
_CODECS = {"utf-8", "gb18030", "latin-1", "ascii"}


@dataclass(slots=True)
class Context:
    """What the segments above an OBX say about it."""

    header: Segment
    request: Segment | None = None
    specimen: str | None = None
    qc: QcMark | None = None
    observed_at: str | None = None
    items: list[Item] = field(default_factory=list)
    last_was_result: bool = False


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
        items = [item for message in messages for item in self.items(message)]
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
        if len(specimens) == 1:  # ORU^R30/R32 send it behind the results it belongs to
            self.begin_specimen(specimens[0], context)
        for segment in message.segments[1:]:
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
        elif name == "TQ1":
            context.observed_at = iso_time(segment.raw(8)) or iso_time(segment.raw(7)) or context.observed_at
        context.last_was_result = name == "OBX"

    def begin_request(self, segment: Segment, context: Context) -> None:
        context.request = segment
        found = self.specimen(segment)
        if found and found != context.specimen:
            context.specimen, context.observed_at = found, None
        time = iso_time(segment.component(7, 1)) or iso_time(segment.component(22, 1))
        context.observed_at = time or context.observed_at  # a second OBR of the specimen may leave it out
        context.qc = self.qc_mark(segment, context)

    def begin_specimen(self, segment: Segment, context: Context) -> None:
        """SPM-2: placer^filler, each with sub-components; the first that is filled."""
        parts = [part for each in segment.components(2) for part in each.split(segment.delimiters.sub)]
        context.specimen = next(filter(None, parts), None) or context.specimen
        if segment.component(11, 1) == "Q":
            context.qc = QcMark(material=context.specimen)

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
        sub = segment.text(4)
        if sub and not name and not sub.isdigit():
            return f"{parts[0]}/{sub}", None
        return parts[0], name or None

    def observation(self, segment: Segment, context: Context) -> Observation | Undecoded:
        code, name = self.code(segment)
        if not code:
            return Undecoded("result without a test code", segment.line[:_SHOWN], segment.index)
        value, attachments = self.value(segment, code)
        return Observation(
            specimen=context.specimen,
            code=code,
            value=value,
            unit=segment.component(6, 1) or None,
            flags=self.flags(segment),
            observed_at=iso_time(segment.raw(14)) or iso_time(segment.raw(19)) or context.observed_at,
            reference_range=segment.text(7) or None,
            status=segment.text(11) or None,
            name=name,
            operator="^".join(filter(None, segment.components(16))) or None,
            module=segment.component(18, 1) or None,
            attachments=attachments,
            qc=context.qc,
            record=segment.index,
        )

    def flags(self, segment: Segment) -> tuple[str, ...]:
        if not segment.raw(8):
            return ()
        return tuple(flag for each in segment.repeats(8) if (flag := segment.plain(each).strip()))

    def value(self, segment: Segment, code: str) -> tuple[str | None, tuple[Attachment, ...]]:
        """OBX-5 by the type in OBX-2: pictures (ED) apart, a structured number (SN) put together, else the text."""
        kind = segment.raw(2)
        if kind == "ED":
            return self._encapsulated(segment, code)
        parts = [segment.components(5)] if segment.delimiters.repeat not in segment.raw(5) else self._all_parts(segment)
        joined = [("" if kind == "SN" else "^").join(filter(None, each)) for each in parts]
        return "~".join(filter(None, joined)) or None, ()

    def _all_parts(self, segment: Segment) -> list[list[str]]:
        return [
            [segment.plain(part).strip() for part in repeat.split(segment.delimiters.component)]
            for repeat in segment.repeats(5)
        ]

    def _encapsulated(self, segment: Segment, code: str) -> tuple[str | None, tuple[Attachment, ...]]:
        """ED: source ^ type ^ subtype ^ encoding ^ data. Data that do not decode stay in the value, as text."""
        pieces = segment.raw(5).split(segment.delimiters.component, 4)
        if len(pieces) < 5:
            return segment.text(5) or None, ()
        try:
            data = base64.b64decode("".join(pieces[4].split()), validate=True)
        except (binascii.Error, ValueError):
            return segment.text(5), ()
        media_type = "/".join(part.lower() for part in pieces[1:3] if part) or "application/octet-stream"
        return None, (Attachment(code, media_type, data),)

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

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        replies: list[bytes] = []
        for message in self.read(payload):
            replies += self.reply(message, orders, now)
        return replies

    def reply(self, message: Hl7Message, orders: Mapping[str, Sequence[Order]], now: datetime) -> list[bytes]:
        """What we owe for one message. An acknowledgement is never acknowledged."""
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
