"""What drivers of proprietary texts share: the link by options, the characters of a payload, its lines, captured files.

`PrintoutDriver` is the walk over text made for a printer: each line is a field about the specimen, a result, a heading,
or a line nobody understands, which is carried as it is. `Observation.record` counts the payload's lines from 0.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from protocols.driver import Driver
from protocols.links.contract import FrameReceived, Link, LinkEvent, MessageReceived
from protocols.links.text import TextLink, TextOptions
from protocols.links.text_framing import ENQ
from protocols.messages.charset import decode_text
from protocols.model import Decoded, InstrumentEvent, Item, Observation, Order, QcMark, Undecoded, changed

SHOWN = 2000
_LINE = re.compile(r"[^\r\n]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f]")
_LONGEST_WAIT_S = 600.0


class TextDriver(Driver):
    """One instrument whose texts are neither ASTM nor HL7."""

    protocol: ClassVar[str] = "text"
    link_options: ClassVar[TextOptions]
    charset: ClassVar[str | None] = None
    """Where the instrument's character set is known; else it is found by a test of validity."""

    def new_link(self) -> Link:
        return TextLink(self.link_options)

    def characters(self, payload: bytes) -> tuple[str, str]:
        return decode_text(payload, self.charset)

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        """The link says what is owed for a text; only an instrument that asks gets more."""
        return ()

    def split(self, data: bytes) -> Sequence[bytes] | None:
        """The texts in a captured line; a file that lost its framing is one text, if it is this instrument's at all."""
        framed = heard(self.new_link(), data)
        if framed and self._knows(framed):
            return framed
        bare = _CONTROL.sub(b"", data).strip()
        return [bare] if bare and self._knows([bare]) else None

    def _knows(self, payloads: Sequence[bytes]) -> bool:
        return max(self.fingerprint(each).score for each in payloads) > 0.0


def printable(text: str) -> str:
    """What an instrument sent, fit to be sent back: no code that begins or ends a text."""
    return "".join(each if each.isprintable() else " " for each in text)


def heard(link: Link, data: bytes) -> list[bytes]:
    """The payloads that `link` makes of a captured line, which ends with a long silence."""
    payloads: list[bytes] = []
    now = 0.0
    waiting: list[LinkEvent] = [*link.receive(ENQ, now), *link.receive(data, now)]
    while waiting or now < _LONGEST_WAIT_S:
        if not waiting:
            now += _LONGEST_WAIT_S
            waiting += [*link.wake(now), *link.disconnected(now)]
            continue
        event = waiting.pop(0)
        if isinstance(event, FrameReceived):
            waiting += link.acknowledge(event.frame_id, now)
        elif isinstance(event, MessageReceived):
            payloads.append(event.payload)
        link.bytes_to_send()
    return payloads


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Each line that is not empty with its number, counted as `Observation.record` counts."""
    return enumerate(match[0] for match in _LINE.finditer(text))


@dataclass(slots=True)
class Printed:
    """What the lines so far said about the results that follow."""

    specimen: str | None = None
    date: str | None = None
    time: str | None = None
    sender: str | None = None
    qc: QcMark | None = None
    items: list[Item] = field(default_factory=list)

    @property
    def observed_at(self) -> str | None:
        return "T".join(each for each in (self.date, self.time) if each) or None


class PrintoutDriver(TextDriver):
    """An instrument that sends what it prints."""

    personal: ClassVar[re.Pattern[str] | None] = None
    """Lines with a patient's name, sex or age, which are not read."""
    headings: ClassVar[re.Pattern[str] | None] = None
    """Lines that say nothing: titles, rules."""

    def decode(self, payload: bytes) -> Decoded:
        text, charset = self.characters(payload)
        printed = Printed()
        for number, line in lines_of(text):
            self._take(line.rstrip(), number, printed)
        if not printed.items:
            printed.items.append(Undecoded("a text without a line that is understood", text[:SHOWN], 0))
        items = tuple(self._dated(each, printed) for each in printed.items)
        return Decoded(items, sender=printed.sender, charset=charset)

    def _take(self, line: str, number: int, printed: Printed) -> None:
        if not line.strip() or self._means_nothing(line) or self.head(line, printed):
            return
        found = self.result(line, printed)
        if found is None:
            printed.items.append(InstrumentEvent("line", printed.specimen, line.strip()[:SHOWN], record=number))
        else:
            printed.items.append(changed(found, record=number))

    def _means_nothing(self, line: str) -> bool:
        return any(known is not None and known.match(line) for known in (self.personal, self.headings))

    def _dated(self, item: Item, printed: Printed) -> Item:
        """A date that is printed below the results is theirs too, and so is the specimen."""
        if not isinstance(item, Observation):
            return item
        return changed(
            item,
            specimen=item.specimen or printed.specimen,
            observed_at=item.observed_at or printed.observed_at,
            qc=item.qc or printed.qc,
        )

    @abstractmethod
    def head(self, line: str, printed: Printed) -> bool:
        """Was this line about the specimen, the time or the instrument? Then it is noted in `printed`."""

    @abstractmethod
    def result(self, line: str, printed: Printed) -> Observation | None:
        """The result that this line is; `record` is filled in by the walk."""
