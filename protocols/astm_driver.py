"""What every ASTM analyzer shares: the walk over the records by the fields of CLSI LIS02-A2, and its answers.

A driver overrides only what its instrument does otherwise. Values are kept as they came; a record that is not
understood becomes `Undecoded`, so nothing is dropped. Patient fields (P) are not read: sex and age never come from an
instrument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_context import Context, Details, Test, Value
from protocols.driver import Driver
from protocols.links.astm import AstmLink
from protocols.links.astm_frames import AstmOptions
from protocols.links.contract import Link
from protocols.messages.astm import STANDARD, AstmMessage, Delimiters, Record, build_message, escape, read_message
from protocols.messages.embedded import SMALLEST, picture_in
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

__all__ = ["AstmDriver", "Context", "Details", "Test", "Value"]

_SHOWN = 2000
_LONGEST_TEST = 64
"""Characters of R.3 that are worth to be kept in memory once they were read."""
_MOST_TESTS = 4096
_MOST_DIALECTS = 16
_FIRST_FIELDS, _ALL_FIELDS = 7, 15
"""A result is filled up to these fields with blank ones, so that nobody has to ask whether a field is there."""
_BLANK = tuple([""] * missing for missing in range(_ALL_FIELDS + 1))
_ONE_FLAG = {flag: (flag,) for flag in ("N", "H", "L", "HH", "LL", "A", "<", ">")}
"""The usual flags of R.7 (E1394 10.1.7)."""
_USUAL_ENDS = ("", "N", "F")


class AstmDriver(Driver):
    protocol: ClassVar[str] = "astm"
    link_options: ClassVar[AstmOptions] = AstmOptions()
    charset: ClassVar[str | None] = None
    """Where the instrument's character set is known; else it is found by a test of validity."""

    def __init__(self) -> None:
        super().__init__()
        self._tests_read: dict[Delimiters, dict[str, Test]] = {}

    def new_link(self) -> Link:
        return AstmLink(self.link_options)

    def read(self, payload: bytes) -> AstmMessage:
        return read_message(payload, self.charset)

    # ------------------------------------------------------------------ decoding

    def decode(self, payload: bytes) -> Decoded:
        message = self.read(payload)
        header = message.header
        unheaded = message.records[0].whole()[:_SHOWN] if message.records and header is None else ""
        context = Context(self._known_tests(STANDARD))
        items, take, observation = context.items, self._take, self.observation
        for record in message.records:
            if record.kind == "R":
                items.append(observation(record, context))
                context.last_was_result = True
            else:
                take(record, context)
        items = self.finish(items, message)
        if header is None:
            items.insert(0, Undecoded("the message has no header record", unheaded, 0))
        return Decoded(
            items=tuple(items),
            sender=(self.sender(header) or None) if header else None,
            message_id=(header.text(3) or None) if header else None,
            charset=message.charset,
        )

    def finish(self, items: list[Item], message: AstmMessage) -> list[Item]:
        """The items of the whole message, for what can only be said at its end."""
        return items

    def _take(self, record: Record, context: Context) -> None:
        """Any record but a result."""
        kind = record.kind
        if kind == "O":
            self.begin_order(record, context)
        elif kind == "C":
            self._comment(record, context)
            return
        elif kind == "H":
            context.header, context.order = record, None
            context.tests = self._known_tests(record.delimiters)
            context.specimen = context.rack = context.position = context.qc = context.observed_at = None
        elif kind == "P":
            context.order = context.specimen = context.qc = context.observed_at = None
        elif kind == "Q":
            context.items += self.asked(record, context)
        elif kind == "M":
            self.manufacturer(record, context)
        elif kind == "L":
            if record.raw(3) not in _USUAL_ENDS:
                self.terminator(record, context)
        else:
            context.items.append(Undecoded("unknown record type", record.whole()[:_SHOWN], record.index))
        context.last_was_result = False

    def sender(self, header: Record) -> str:
        """H.5 as the instrument names itself: its first component."""
        return header.component(5, 1) or header.text(5)

    def begin_order(self, record: Record, context: Context) -> None:
        context.order = record
        context.observed_at = None
        context.specimen, context.rack, context.position = self.specimen(record)
        context.qc = self.qc_mark(record, context)

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        """Specimen, rack and position of an order. O.3 is the specimen, O.4 the instrument's own."""
        for number in (3, 4):
            for part in order.components(number):
                if part:
                    return part, None, None
        return None, None, None

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q ("treat as QC") or H.12 Q mark control material (LIS02-A2 8.4.12, 6.12)."""
        header_says = context.header is not None and context.header.text(12) == "Q"
        if order.text(12) != "Q" and not header_says:
            return None
        described = [part for part in order.components(16) if part]
        return QcMark(material=context.specimen, level=described[-1] if described else None)

    def test(self, parts: Sequence[str]) -> Test:
        """What the components of R.3 say. Component 4 is the local code.

        Nothing but `parts` may be looked at: an instrument names the same few hundred tests over and over, and what
        each says is read once.
        """
        if len(parts) >= 4 and parts[3] and not (parts[0] or parts[1] or parts[2]):
            return parts[3], "^".join(filter(None, parts[4:])) or None, None
        filled = [part for part in parts if part]
        if len(filled) == 2 and filled[1].isdigit():  # Sysmex XP: parameter and dilution
            return filled[0], None, filled[1]
        return "^".join(filled), None, None

    def _known_tests(self, delimiters: Delimiters) -> dict[str, Test]:
        known = self._tests_read.get(delimiters)
        if known is None:
            if len(self._tests_read) >= _MOST_DIALECTS:
                self._tests_read.clear()
            known = self._tests_read[delimiters] = {}
        return known

    def _read_test(self, record: Record, context: Context) -> Test:
        raw = record.raw(3)
        delimiters = record.delimiters
        test = self.test(record.components(3))
        if len(raw) <= _LONGEST_TEST and delimiters.escape not in raw and delimiters.repeat not in raw:
            if len(context.tests) >= _MOST_TESTS:
                context.tests.clear()
            context.tests[raw] = test
        return test

    def value(self, result: Record) -> Value:
        """R.4 where it is more than plain text, and what stands beside it, in words. One of several components is

        enough where the others are blank, else they stay together.
        """
        text = result.text(4)
        if result.delimiters.component not in text:
            return text, ()
        return "^".join(part for part in result.components(4) if part), ()

    shortest_attachment: ClassVar[int] = SMALLEST
    """Characters of a value from which on it may be a picture, or the name of one."""

    def attachments(self, code: str, value: str) -> tuple[Attachment, ...]:
        """Pictures that stand in a value: here those in base64. A value that is a picture's bytes is no value."""
        found = picture_in(value)
        return (Attachment(code, *found),) if found is not None else ()

    def flags(self, result: Record) -> tuple[str, ...]:
        """Every letter of R.7, which is not blank, as sent; ``A,A`` is no standard but Erba's way."""
        raw = result.fields[6]
        if len(raw) == 1:
            return (raw,) if raw != " " else ()
        return tuple(part for repeat in result.repeats(7) for part in repeat if part)

    def details(self, record: Record) -> Details:
        """R.5 unit, R.6 reference range, R.9 status, R.11 operator, R.12 and R.13 times, R.14 module.

        Not asked of a record in which nothing but a unit stands behind its value.
        """
        fields = record.fields
        if record.as_sent:
            unit, reference, status, operator = fields[4], fields[5], fields[8], fields[10]
            time, module = fields[12] or fields[11], fields[13]
        elif not record.escaped:
            unit, reference, status = fields[4].strip(), fields[5].strip(), fields[8].strip()
            operator, module = fields[10].strip(), fields[13].strip()
            time = fields[12].strip() or fields[11].strip()
        else:
            unit, reference, status, operator, started, time, module = record.texts((5, 6, 9, 11, 12, 13, 14))
            time = time or started
        if reference:
            reference = reference.strip("^")
        return unit, reference, status, operator and operator.strip("^"), time, module, None, ()

    def observation(self, record: Record, context: Context) -> Observation | Undecoded:
        fields = record.fields
        test = context.tests.get(fields[2]) if len(fields) > 2 else None
        code, name, dilution = test if test is not None else self._read_test(record, context)
        if not code:
            return Undecoded("result without a test code", record.whole()[:_SHOWN], record.index)
        filled = len(fields)
        if filled < _FIRST_FIELDS:
            fields += _BLANK[_FIRST_FIELDS - filled]
        value, flag = fields[3], fields[6]
        beside: tuple[str, ...] = ()
        if record.escaped or record.delimiters.component in value:
            value, beside = self.value(record)
        elif not record.as_sent:
            value = value.strip()
        attachments: tuple[Attachment, ...] = ()
        if len(value) >= self.shortest_attachment:
            attachments = self.attachments(code, value)
            if attachments and any(each.data for each in attachments):
                value = ""
        if filled <= _FIRST_FIELDS and record.as_sent and not fields[5]:
            unit, reference, status, operator, time, module, lot, comments = fields[4], "", "", "", "", "", None, beside
        else:
            if filled < _ALL_FIELDS:
                fields += _BLANK[_ALL_FIELDS - len(fields)]
            unit, reference, status, operator, time, module, lot, comments = self.details(record)
            if beside:
                comments = beside + comments
        if time:
            if time != context.sent_time:
                context.sent_time, context.time = time, iso_time(time)
            if context.time:
                context.observed_at = context.time
        return Observation(  # by position: with keywords it would cost six times as much, for each result
            context.specimen,
            code,
            value or None,
            unit or None,
            (_ONE_FLAG.get(flag) or self.flags(record)) if flag else (),
            context.observed_at or self.order_time(context),
            reference or None,
            status or None,
            name,
            None,  # run
            dilution,
            operator or None,
            module or None,
            lot,
            None,  # calibrator_lot
            context.rack,
            context.position,
            comments,
            attachments,
            context.qc,
            record.index,
        )

    def order_time(self, context: Context) -> str | None:
        """O.23, when the results were reported: for instruments that write no time on a result."""
        order = context.order
        return iso_time(order.fields[22]) if order is not None and len(order.fields) > 22 else None

    def _comment(self, record: Record, context: Context) -> None:
        """A comment belongs to the record before it: to a result, else it stands by itself."""
        parts = record.components(4)
        text = parts[0] if len(parts) == 1 else "^".join(filter(None, parts))
        if not text:
            return
        last = context.items[-1] if context.items else None
        if context.last_was_result and isinstance(last, Observation):
            remark = self.remark(text)
            if remark:
                context.items[-1] = changed(last, comments=(*last.comments, remark))
        else:
            context.items.append(self.lone_comment(text, record, context))

    def lone_comment(self, text: str, record: Record, context: Context) -> InstrumentEvent:
        """A comment that belongs to no result."""
        return InstrumentEvent("comment", context.specimen, text, record=record.index)

    def remark(self, text: str) -> str:
        """The comment of a result in words; "" where it says that there is none."""
        return text

    def manufacturer(self, record: Record, context: Context) -> None:
        """M records are the vendor's own: carried whole."""
        context.items.append(
            InstrumentEvent("manufacturer record", context.specimen, record.whole(), record=record.index)
        )

    def terminator(self, record: Record, context: Context) -> None:
        """L.3 says something else than that the message ended normally."""
        code = record.text(3)
        if code not in _USUAL_ENDS:
            context.items.append(InstrumentEvent("termination", None, code, record=record.index))

    # ------------------------------------------------------------------ host query

    def asked(self, record: Record, context: Context) -> Sequence[Item]:
        """What a Q record says."""
        return (self.host_query(record),)

    def host_query(self, record: Record) -> HostQuery:
        """Q.3 is patient^specimen in the standard, several by repeat; ``ALL`` asks for everything."""
        repeats = record.repeats(3)
        if any(part.upper() == "ALL" for repeat in repeats for part in repeat):
            return HostQuery((), everything=True, record=record.index)
        specimens = tuple(found for repeat in repeats if (found := self.queried_specimen(repeat)))
        return HostQuery(specimens, query_id=record.text(2) or None, record=record.index)

    def queried_specimen(self, parts: Sequence[str]) -> str | None:
        if len(parts) >= 2 and parts[1]:
            return parts[1]
        return next((part for part in parts if part), None)

    def must_answer(self, payload: bytes) -> bool:
        """Only a query is answered in records; results have their acknowledgement on the link."""
        if type(self).respond is not AstmDriver.respond:
            return True
        records = payload.replace(b"\n", b"\r")
        return records[:1] in (b"Q", b"q") or b"\rQ" in records or b"\rq" in records

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        queries = [item for item in decoded.items if isinstance(item, HostQuery) and self.stands(item)]
        return [self.answer(query, orders, now) for query in queries] if self.answers_host_queries else []

    def stands(self, query: HostQuery) -> bool:
        """False of a query that the instrument has taken back: nobody waits for its answer."""
        return True

    def answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], now: datetime) -> bytes:
        """One message with all that is ordered. None: L.3 "I", no information for the last query (LIS02-A2 13.3)."""
        specimens = orders if query.everything else query.specimens
        known = [order for specimen in specimens for order in orders.get(specimen, ()) if not order.cancelled]
        return build_message([self.reply_header(now), *self._order_records(known), ("L", "1", "N" if known else "I")])

    def reply_header(self, now: datetime) -> tuple[str, ...]:
        return ("H", "\\^&", "", "", "", "", "", "", "", "", "", "P", "1", now.strftime("%Y%m%d%H%M%S"))

    def _order_records(self, orders: Sequence[Order]) -> Iterator[Sequence[str]]:
        for number, order in enumerate(orders, start=1):
            yield self.patient_record(number, order)
            yield self.order_record(order)

    def patient_record(self, number: int, order: Order) -> Sequence[str]:
        """Only what the order carries: by default no name leaves the cloud."""
        name = escape(order.patient_name or "")
        known = ("", escape(order.patient_id or ""), "", name, "", escape(order.birth_date or ""), order.sex or "")
        return ("P", str(number), *known) if any(known) else ("P", str(number))

    def order_record(self, order: Order) -> Sequence[str]:
        tests = "\\".join(f"^^^{escape(code)}" for code in order.codes)
        collected = escape(order.collected_at or "")
        head = ("O", "1", escape(order.specimen), "", tests, order.priority, "", collected, "", "", "", "N")
        return (*head, "", "", "", escape(order.specimen_type or ""), *[""] * 9, "Q")
