"""Hitachi 7000 series chemistry analyzers (747, 7060, 7170, 7180) on their own host protocol.

Source: Hitachi 902 service manual, p. 16-1 to 16-12 and 16-39 (framing, endings, SUS); open drivers for the 747 and
7170 (vactorwu/xhn-tianjian-pacs) and for the 7060 and 7180 (a Korean interface in Visual Basic) for the columns, which
differ from model to model: `model` in the link's options names them. Not proved on an instrument.

Texts begin with a frame character (`links.text_polling`), then two function characters and the sample. Results are
groups of channel, value and alarm character. A request for tests (``;``) is answered by the same sample information
and one digit for each channel, 1 where it is ordered; without an order all are 0 (7180 alone: the sources of the others
have no answer, they hear "go on"). What alarm characters mean is not in
these sources: they stay as sent. Function letters that a source sets aside as controls never count as a patient's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from protocols.driver import Driver, Match, Status
from protocols.errors import DriverOptionError
from protocols.links.contract import Link
from protocols.links.text import TextOptions
from protocols.links.text_framing import HITACHI_ENDINGS
from protocols.links.text_parts import Part
from protocols.links.text_polling import DATA, END, INQUIRY, PollingLink, is_result
from protocols.messages.fixed_width import Column, Group
from protocols.messages.times import iso_time
from protocols.model import Decoded, HostQuery, InstrumentEvent, Item, Observation, Order, QcMark, Undecoded
from protocols.text_driver import SHOWN, TextDriver, printable


@dataclass(frozen=True, slots=True)
class Selection:
    """How tests are ordered: the sample information as it came, then how many channels, then a digit for each."""

    echoed: int
    count: str
    channels: int
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the fields stand; column 0 is the frame character."""

    sample_no: Column
    rack: Column
    position: Column
    sample_id: Column
    items: Group
    channel: int
    control: tuple[int, str]
    """The column of a function letter and the letters that mark a control or a calibration."""
    time: Column | None = None
    """``MMDDYYhhmm``"""
    count: Column | None = None
    selection: Selection | None = None


_NONE = Column(0, 0)
MODELS: Mapping[str, Columns] = {
    "7180": Columns(
        sample_no=Column(3, 5), rack=Column(8, 1), position=Column(9, 3), sample_id=Column(13, 13),
        items=Group(50, 10), channel=3, control=(1, "FGH"), selection=Selection(41, " 88", 88, "100000" + " " * 30),
    ),
    "7170": Columns(
        sample_no=Column(3, 5), rack=_NONE, position=_NONE, sample_id=Column(13, 13),
        items=Group(43, 10), channel=3, control=(2, "GH"), time=Column(30, 10), count=Column(40, 3),
    ),
    "7060": Columns(
        sample_no=Column(3, 3), rack=Column(6, 1), position=Column(7, 2), sample_id=Column(9, 13),
        items=Group(39, 9), channel=2, control=(1, "FGH"), time=Column(27, 10), count=Column(37, 2),
    ),
    "747": Columns(
        sample_no=Column(7, 5), rack=_NONE, position=_NONE, sample_id=Column(13, 13),
        items=Group(28, 9), channel=2, control=(1, "I"),
    ),
}  # fmt: skip
_VALUE = 6


class Hitachi7xxx(TextDriver):
    id: ClassVar[str] = "hitachi_7xxx"
    vendor: ClassVar[str] = "Hitachi"
    models: ClassVar[tuple[str, ...]] = ("747", "7060", "7170", "7180")
    source: ClassVar[str] = "Hitachi 902 service manual, ch. 16; open drivers of 747, 7060, 7170 and 7180"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    columns: Columns = MODELS["7180"]
    ending: str = "ETX+BCC"

    def configured(self, options: Mapping[str, object]) -> Driver:
        """`model` and `ending`, as they are on the instrument's communication screen."""
        driver = copy(self)
        for key, value in options.items():
            choices: Mapping[str, object] = {"model": MODELS, "ending": HITACHI_ENDINGS}.get(key, {})
            if value not in tuple(choices):
                cure = f"take one of {', '.join(choices)}" if choices else "known: model, ending"
                raise DriverOptionError(key, f"not taken: {value!r}", cure)
        driver.columns = MODELS[str(options.get("model", "7180"))]
        driver.ending = str(options.get("ending", "ETX+BCC"))
        return driver

    def new_link(self) -> Link:
        options = TextOptions(HITACHI_ENDINGS[self.ending], part=self._part)
        return PollingLink(options, answers=self.columns.selection is not None)

    def _part(self, body: bytes) -> Part | None:
        """Function and sample of a result; its frame character counts from 1, the last is ``:``."""
        columns = self.columns
        end = max(columns.sample_no.end, columns.rack.end, columns.position.end, columns.sample_id.end)
        if not is_result(body) or len(body) < end:
            return None
        return Part(body[1:end], None if body[:1] == END else body[0] - DATA[0])

    def fingerprint(self, payload: bytes) -> Match:
        """Frame character, a function letter and a sample number where one stands in every model."""
        text = payload.decode("latin-1")
        known = text[:1] in (";", ":") or text[:1].isdecimal()
        if known and text[1:2].isalpha() and len(text) >= 26 and text[3:8].replace(" ", "").isdecimal():
            return Match(0.5, "frame character, function and sample number of a Hitachi analyzer")
        return Match(0.0, "no text of a Hitachi analyzer")

    # ------------------------------------------------------------------ decoding

    def decode(self, payload: bytes) -> Decoded:
        text = payload.decode("latin-1")  # columns are counted in bytes
        if payload[:1] == INQUIRY:
            return Decoded((self._query(text),), charset="latin-1")
        if not is_result(payload):
            return Decoded((Undecoded("unknown frame character", text[:SHOWN], 0),))
        found: list[Item] = []
        for number, part in enumerate(text.split("\n")):
            found += self._results(part, number)
        return Decoded(tuple(found) or (InstrumentEvent("no results", detail=text[:SHOWN], record=0),))

    def _query(self, text: str) -> Item:
        columns, selection = self.columns, self.columns.selection
        if selection is None:
            return InstrumentEvent("inquiry that this model's sources do not answer", detail=text[:SHOWN], record=0)
        if len(text) < columns.sample_id.end:
            return Undecoded("an inquiry that is too short", text[:SHOWN], 0)
        specimen = columns.sample_id.of(text) or columns.sample_no.of(text)
        return HostQuery(
            specimens=(specimen,) if specimen else (),
            rack=columns.rack.of(text) or None,
            position=columns.position.of(text) or None,
            context={"sample": text[1 : selection.echoed].ljust(selection.echoed - 1)},
            record=0,
        )

    def _results(self, text: str, number: int) -> Iterator[Item]:
        columns = self.columns
        if len(text) < columns.items.start:
            yield Undecoded("a text without the columns of a result", text[:SHOWN], number)
            return
        at, letters = columns.control
        sample_no = columns.sample_no.of(text)
        qc = QcMark(level=sample_no or None) if text[at : at + 1].upper() in letters else None
        for part in columns.items.of(text):
            channel, value, alarm = part[: columns.channel], part[columns.channel :][:_VALUE], part[-1:]
            if len(part) < columns.channel + 1 or not channel.strip():
                yield Undecoded("a result that is cut off or has no channel", part, number)
                continue
            whole = len(part) == columns.items.width
            yield Observation(
                specimen=columns.sample_id.of(text) or sample_no or None,
                code=channel.strip(),
                value=value.strip() or None,
                flags=(alarm,) if whole and alarm.strip() else (),
                observed_at=self._time(text),
                rack=columns.rack.of(text) or None,
                position=columns.position.of(text) or None,
                qc=qc,
                record=number,
            )
        yield from self._missing(text, number)

    def _missing(self, text: str, number: int) -> Iterator[Item]:
        """The text says how many results it holds: fewer mean that it lost some."""
        count = self.columns.count
        said = count.of(text) if count is not None else ""
        held = len(list(self.columns.items.of(text)))
        if said.isdecimal() and text[:1] == END.decode() and int(said) > held and number == 0:
            yield Undecoded(f"{said} results are announced, {held} stand there", text[:SHOWN], number)

    def _time(self, text: str) -> str | None:
        if self.columns.time is None:
            return None
        sent = self.columns.time.raw(text).replace(" ", "0")
        return iso_time(f"20{sent[4:6]}{sent[:4]}{sent[6:]}") if sent.strip("0").isdecimal() else None

    # ------------------------------------------------------------------ host query

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        return [self._answer(item, orders) for item in decoded.items if isinstance(item, HostQuery)]

    def _answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]]) -> bytes:
        selection = self.columns.selection
        assert selection is not None, "who asked has a way to be answered"
        digits = ["0"] * selection.channels
        known = [order for each in query.specimens for order in orders.get(each, ()) if not order.cancelled]
        for code in (code for order in known for code in order.codes):
            if code.isascii() and code.isdecimal() and 1 <= int(code) <= selection.channels:
                digits[int(code) - 1] = "1"
        sample = printable(query.context.get("sample", ""))
        return f";{sample}{selection.count}{''.join(digits)}{selection.tail}".encode("latin-1")
