"""Cepheid GeneXpert Dx and Infinity by the HL7 2.5 interface over MLLP.

Source: a capture of a GeneXpert Dx (ORU^R32); Cepheid's LIS Interface Protocol Specification 301-2002 rev. E as a
public integration specification of a laboratory system quotes it.

OBX-3.1 is panel & test & assay name & version as sub-components, OBX-4 analyte & complementary result (Ct, EndPt);
OBX-5 is qualitative ^ quantitative: where both are filled the number is the value and the words a comment. OBX-18
repeats: expiry, reagent lot, cartridge, module, instrument, computer. SPM stands behind the results; SPM-11 Q is a
control. NTE-3 is Notes or Error with code and words. The analyzer asks with QBP^Z01 (everything) or QBP^Z03 (QPD-4 the
tube) and gets RSP^Z02, empty where there is no order; it cancels with QCN^J01, tells its own numbers with SSU^U03 and
refuses an order with ORC-1 OC. Orders without a query are refused: nothing is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.hl7_driver import Details, Hl7Driver
from protocols.law_orders import new_control_id
from protocols.messages.hl7 import Hl7Message, Segment, build, escape, read_messages
from protocols.messages.times import iso_time
from protocols.model import Attachment, HostQuery, InstrumentEvent, Item, Order, Undecoded

_UTF16 = re.compile(r"\\Z([0-9A-Fa-f]{4})\\")
_EVERYTHING, _ONE = "Z01", "Z03"
_LONGEST_CODE = 128
"""Characters of OBX-3 and OBX-4 that are worth to be kept in memory once they were read."""
_OPERATOR = 16


class CepheidGenexpertHl7(Hl7Driver):
    id: ClassVar[str] = "cepheid_genexpert_hl7"
    vendor: ClassVar[str] = "Cepheid"
    models: ClassVar[tuple[str, ...]] = ("GeneXpert Dx", "GeneXpert Infinity")
    source: ClassVar[str] = (
        "A capture of a GeneXpert Dx; LIS Interface Protocol Specification 301-2002 rev. E as a public specification "
        "quotes it"
    )
    status: ClassVar[Status] = Status.CAPTURED
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "normal",
        "L": "below low normal",
        "H": "above high normal",
        "LL": "below panic low",
        "HH": "above panic high",
        "<": "below absolute low, off the scale",
        ">": "above absolute high, off the scale",
        "A": "abnormal",
        "U": "significant change up",
        "D": "significant change down",
        "B": "better",
        "W": "worse",
    }

    def fingerprint(self, payload: bytes) -> Match:
        messages = read_messages(payload[:4096])
        if messages and "genexpert" in messages[0].header.component(3, 2).lower():
            return Match(1.0, "MSH-3.2 names a GeneXpert")
        return Match(0.0, "MSH-3.2 does not name a GeneXpert")

    # ------------------------------------------------------------------ decoding

    def items(self, message: Hl7Message) -> list[Item]:
        if message.kind == "QCN^J01":
            definition = message.first("QID")
            asked = definition.text(1) if definition is not None else None
            return [InstrumentEvent(name="query cancelled", detail=asked or None, record=0)]
        if message.kind == "SSU^U03":
            return [self._own_number(segment) for segment in message.segments if segment.name == "SPM"]
        if message.kind == "ORF^R04":
            return self.results(message)
        return super().items(message)

    def _own_number(self, segment: Segment) -> Item:
        specimen, own = segment.component(2, 1), segment.component(2, 2)
        return InstrumentEvent(
            name="instrument specimen id", specimen=specimen or None, detail=own or None, record=segment.index
        )

    def results(self, message: Hl7Message) -> list[Item]:
        """One order after the other: each OBR to the SPM behind it."""
        found: list[Item] = []
        patient: list[Segment] = []
        group: list[Segment] = []
        for segment in message.segments[1:]:
            if segment.name in ("PID", "ORC") and any(each.name == "OBR" for each in group):
                found += self._group(message, [*patient, *group])
                group = []
            if segment.name == "PID":
                patient = [segment]
            else:
                group.append(segment)
        return found + self._group(message, [*patient, *group])

    def _group(self, message: Hl7Message, group: list[Segment]) -> list[Item]:
        items = super().results(Hl7Message((message.header, *group), message.charset))
        order = next((each for each in group if each.name == "ORC"), None)
        if order is None or order.text(1) != "OC":
            return items
        specimen = next((each.component(2, 1) for each in group if each.name == "SPM"), "") or None
        return [
            InstrumentEvent(name="order refused", specimen=specimen, detail=item.detail, record=item.record)
            if isinstance(item, InstrumentEvent) and item.name == "comment"
            else item
            for item in items
        ]

    def specimen(self, request: Segment) -> str | None:
        """Only SPM names the tube."""
        return None

    def code(self, segment: Segment) -> tuple[str, str | None]:
        """Panel and test, then analyte and complementary result, as many as are filled; OBX-3.1.3 names the assay."""
        fields, sub = segment.fields, segment.delimiters.sub
        if segment.as_sent and len(fields) > 4 and len(fields[3]) + len(fields[4]) <= _LONGEST_CODE:
            return _known_code(fields[3], fields[4], sub)
        return _code(_subcomponents(segment, 3), _subcomponents(segment, 4))

    def value(self, segment: Segment, code: str) -> tuple[str | None, tuple[Attachment, ...]]:
        """The number where there is one, else the words."""
        if segment.raw(2) in ("ED", "RP"):
            return super().value(segment, code)
        words, number = _words_and_number(segment)
        return number or words or None, ()

    def details(self, segment: Segment) -> Details:
        """OBX-18 is the chain from the reagent to the computer; OBX-16.2 who performed it."""
        unit, reference, status, time, _, _, _, _ = super().details(segment)
        words, number = _words_and_number(segment)
        beside = (words,) if words and number else ()
        if len(segment.fields) <= _OPERATOR:
            return unit, reference, status, time, "", "", None, beside
        chain = [segment.plain(each).strip() for each in segment.repeats(18)]
        expiry, lot, cartridge, module, instrument = [*chain, "", "", "", "", ""][:5]
        said = ((f"cartridge {cartridge}",) if cartridge else ()) + ((f"expires {expiry}",) if expiry else ())
        operator = segment.component(16, 2)
        return unit, reference, status, time, operator, module or instrument, lot or None, said + beside

    # ------------------------------------------------------------------ host query

    def host_query(self, message: Hl7Message) -> Item:
        definition = message.first("QPD")
        if definition is None:
            return Undecoded(reason="a query without QPD", text=message.header.line[:2000], record=0)
        everything = definition.component(1, 1) == _EVERYTHING
        specimen = definition.component(4, 1)
        return HostQuery(
            specimens=(specimen,) if specimen and not everything else (),
            everything=everything,
            query_id=definition.text(2) or None,
            record=definition.index,
        )

    def answer(self, message: Hl7Message, orders: Mapping[str, Sequence[Order]], now: datetime) -> list[bytes]:
        """RSP^Z02 with the orders found; without any, only the head: the analyzer takes that for none."""
        query, definition = self.host_query(message), message.first("QPD")
        if not isinstance(query, HostQuery) or definition is None:
            return super().answer(message, orders, now)
        asked = list(orders) if query.everything else list(query.specimens)
        segments = [
            self.reply_header(message, "RSP^Z02", now),
            ["MSA", "AA", message.header.raw(10)],
            ["QAK", definition.raw(2), "OK", definition.raw(1)],
            definition.line.split(definition.delimiters.field),
        ]
        number = 0
        for specimen in asked:
            known = [each for each in orders.get(specimen, ()) if each.codes and not each.cancelled]
            if known and known[0].patient_id:
                segments.append(["PID", "1", "", escape(known[0].patient_id)])
            for order in known:
                for code in order.codes:
                    number += 1
                    segments += _order(number, order, code, now)
        return [build(segments, "latin-1")]

    def reply_header(self, message: Hl7Message, kind: str, now: datetime) -> list[str]:
        """An acknowledgement's type is ACK alone; nothing of ours wants an acknowledgement (MSH-15 and MSH-16 NE)."""
        name = "ACK" if kind.startswith("ACK") else kind
        fields = super().reply_header(message, name, now)
        fields[9] = new_control_id(f"{name} {message.control_id}", now)
        return [*fields[:14], *[""] * (14 - len(fields)), "NE", "NE"]


def _unescaped(text: str) -> str:
    """``\\Zhhhh\\``: a letter outside Latin-1 (UTF-16)."""
    return _UTF16.sub(lambda match: chr(int(match[1], 16)), text) if "\\Z" in text else text


def _words_and_number(segment: Segment) -> tuple[str, str]:
    """OBX-5 qualitative ^ quantitative."""
    if segment.as_sent:
        words, _, rest = segment.raw(5).partition(segment.delimiters.component)
        return words, rest.partition(segment.delimiters.component)[0] if rest else ""
    words, number = [_unescaped(each) for each in [*segment.components(5), ""][:2]]
    return words, number


def _code(test: list[str], of: list[str]) -> tuple[str, str | None]:
    code = "&".join(filter(None, test[:2]))
    analyte = "&".join(filter(None, of[:2]))
    return (f"{code}/{analyte}" if analyte else code), (test[2] or None) if len(test) > 2 else None


@lru_cache(maxsize=4096)
def _known_code(test: str, of: str, sub: str) -> tuple[str, str | None]:
    """An instrument names the same few hundred results over and over."""
    return _code(test.split(sub), of.split(sub))


def _subcomponents(segment: Segment, number: int) -> list[str]:
    raw = segment.raw(number)
    parts = raw.split(segment.delimiters.sub)
    if segment.rare or " " in raw or segment.delimiters.escape in raw:
        return [segment.plain(each).strip() for each in parts]
    return parts


def _order(number: int, order: Order, code: str, now: datetime) -> list[list[str]]:
    time = iso_time(order.collected_at or "")
    asked = "".join(each for each in time or "" if each.isdigit())[:14] or now.strftime("%Y%m%d%H%M%S")
    return [
        ["ORC", "NW", str(number), "", "", "", "", "", "", asked],
        ["OBR", str(number), "", "", escape(code), "", "", "", "", "", "", "A"],
        ["TQ1", *[""] * 8, "S" if order.priority == "S" else "R"],
        ["SPM", str(number), f"{escape(order.specimen)}^", "", "ORH", "", "", "", "", "", "", "P"],
    ]
