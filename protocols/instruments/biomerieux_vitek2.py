"""bioMérieux VITEK 2 and VITEK 2 Compact (identification and susceptibility), bioMérieux computer interface (BCI).

Source: the BCI texts and their field names of jefrisibarani/tobasa-cpp (parser of a VITEK 2 Compact with two isolates
and the meaning of each field), a second open interface (texts of a VITEK 2 in the older form), and VistA's VITEK
routine for the framing, which is that of the VIDAS (STX, RS, GS and the sum, ETX). Not captured by us. Some systems
put the same text into ASTM frames: set `framing` to "astm" for them.

A text is a row of fields, two characters of name and ``|`` behind each; RS stands at the start of each line of the
text, in the middle of a field, too. How organism and susceptibility are carried: the code begins with the test group
that the instrument names (``it`` or ``t2``: ID, SU). ``ID`` is the organism with ``ID^bionumber`` and
``ID^probability``; ``SU^am`` is the MIC (or Pos, Neg) of antibiotic am with ``SU^am^final`` (S, I, R after the expert
system) and ``SU^am^not expertised``; ``SU^af^FAMILY`` holds the resistance phenotypes of a family of antibiotics.
``^card`` is the kind of card. The name is ``isolate^organism code``, for an antibiotic with the antibiotic's name
behind it. `record` counts the fields from 0. A patient's fields (pi, pn, pb, ps) are not read; fields that the source
does not name are carried as they came. Dates without a year of four digits in front need `date_order`, as it is set
on the system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import ClassVar

from protocols.driver import Driver, Match, Status
from protocols.errors import DriverOptionError
from protocols.links.astm import AstmLink
from protocols.links.contract import Link
from protocols.links.text import TextOptions
from protocols.links.text_framing import STX_GS_CHECKSUM
from protocols.messages.printed_times import DateOrder, iso_clock, iso_date
from protocols.model import Decoded, InstrumentEvent, Item, Observation, Undecoded, changed
from protocols.text_driver import SHOWN, TextDriver

_START = re.compile(rb"\s*\x1e?mt[a-z]{3}\|")
_MICRO = re.compile(rb"\|[\x1e\r\n]*(?:ta|ra|o1|itID|itSU)[^|]*\|")
_LINE_STARTS = re.compile(r"[\x1e\r\n]")
_SPECIMEN_FIELDS = {"si", "s0", "ss", "s5", "s1", "s2", "s3", "s4", "ci", "c0", "ct", "cn", "c3", "c4"}
_READ = {"mt", "ii", "is", "it", "id", "pi", "pn", "pb", "ps", "pl", "p2", "pa", "pd", "p6", "ta", "zz", "ra"}
_READ |= {"rt", "rn", "rr", "r1", "r2", "r3", "r4", "t1", "t2", "t3", "t4", "t5", "o1", "o2", "o3", "o9", "af", "ap"}
_DRUG = {"a1", "a2", "a3", "a4", "an", "ar", "ad", "at"}


@dataclass(slots=True)
class _Group:
    """The fields from one ``ra`` or ``af`` to the next, with the place of the first."""

    record: int
    values: dict[str, str] = field(default_factory=dict)
    phenotypes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Text:
    """One BCI text: its fields before the first antibiotic, its antibiotics, its families."""

    head: dict[str, str] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    drugs: list[_Group] = field(default_factory=list)
    families: list[_Group] = field(default_factory=list)


class BiomerieuxVitek2(TextDriver):
    id: ClassVar[str] = "biomerieux_vitek2"
    vendor: ClassVar[str] = "bioMérieux"
    models: ClassVar[tuple[str, ...]] = ("VITEK 2", "VITEK 2 XL", "VITEK 2 Compact")
    source: ClassVar[str] = (
        "BCI texts and field names of a VITEK 2 Compact in tobasa-cpp; VistA's VITEK routine (framing)"
    )
    status: ClassVar[Status] = Status.MANUAL
    link_options: ClassVar[TextOptions] = TextOptions(STX_GS_CHECKSUM, handshake=True, repeats=lambda _body: True)
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "ar": "antibiotic suppressed",
        "ad": "result deduced from another antibiotic",
        "at": "MIC suppressed",
    }
    date_order: DateOrder | None = None
    framing: str = "bci"

    def configured(self, options: Mapping[str, object]) -> Driver:
        """`date_order`: "mdy", "dmy" or "ymd"; `framing`: "bci" or "astm"."""
        driver = copy(self)
        for key, value in options.items():
            if key == "date_order" and value in tuple(DateOrder):
                driver.date_order = DateOrder(str(value))
            elif key == "framing" and value in ("bci", "astm"):
                driver.framing = str(value)
            else:
                raise DriverOptionError(
                    key, f"not taken: {value!r}", 'date_order = "mdy", "dmy" or "ymd"; framing = "bci" or "astm"'
                )
        return driver

    def new_link(self) -> Link:
        return AstmLink() if self.framing == "astm" else super().new_link()

    def fingerprint(self, payload: bytes) -> Match:
        if not _START.match(payload):
            return Match(0.0, "no BCI fields")
        if _MICRO.search(payload):
            return Match(1.0, "BCI fields of an identification or susceptibility test (ta, o1, ra)")
        return Match(0.2, "BCI fields of a bioMérieux analyzer")

    # ------------------------------------------------------------------ decoding

    def decode(self, payload: bytes) -> Decoded:
        written, charset = self.characters(payload)
        text = _read(_LINE_STARTS.sub("", written).split("|"))
        kind = text.head.get("mt")
        if kind != "rsl":
            item: Item = (
                InstrumentEvent("message", text.head.get("ci") or None, written[:SHOWN], record=0)
                if kind is not None
                else Undecoded("no BCI fields", written[:SHOWN], 0)
            )
            return Decoded((item,), charset=charset)
        sender = "^".join(filter(None, (text.head.get("ii") or text.head.get("id"), text.head.get("is")))) or None
        items = [*self._organism(text, sender), *self._families(text, sender), *self._drugs(text, sender)]
        return Decoded((*items, *_left(text)), sender=sender, charset=charset)

    def _observation(self, text: _Text, sender: str | None, code: str, value: str, record: int) -> Observation:
        head = text.head
        return Observation(
            specimen=head.get("ci") or None,
            code=code,
            value=value or None,
            observed_at=self._time(head),
            status=head.get("t4") or None,
            name="^".join(filter(None, (head.get("t1"), head.get("o1")))) or None,
            module=sender,
            record=record,
        )

    def _time(self, head: Mapping[str, str]) -> str | None:
        """When the isolate was called (r3, r4)."""
        day, clock = head.get("r3", ""), head.get("r4", "")
        date, time = iso_date(day, self.date_order), iso_clock(clock)
        if date is None:
            return " ".join(filter(None, (day, clock))) or None
        return f"{date}T{time}" if time else date

    def _organism(self, text: _Text, sender: str | None) -> Iterator[Observation]:
        head = text.head
        group = head.get("it") or head.get("t2") or ("SU" if text.drugs else "ID")
        if head.get("rt"):
            yield self._observation(text, sender, f"{group}^card", head["rt"], text.places["rt"])
        if group != "ID":
            return
        organism = "o2" if head.get("o2") else "o1"
        for name, code, unit in ((organism, "ID", None), ("o3", "ID^bionumber", None), ("o9", "ID^probability", "%")):
            if head.get(name):
                found = self._observation(text, sender, code, head[name], text.places[name])
                yield found if unit is None else changed(found, unit=unit)

    def _families(self, text: _Text, sender: str | None) -> Iterator[Observation]:
        for family in text.families:
            code = f"SU^af^{family.values.get('af', '')}"
            yield self._observation(text, sender, code, "; ".join(family.phenotypes), family.record)

    def _drugs(self, text: _Text, sender: str | None) -> Iterator[Observation | Undecoded]:
        for drug in text.drugs:
            values = drug.values
            code = values.get("a1") or values.get("a2")
            if not code:
                shown = "|".join(f"{name}{value}" for name, value in values.items())
                yield Undecoded("a susceptibility without its antibiotic", shown[:SHOWN], drug.record)
                continue
            whole = self._observation(text, sender, f"SU^{code}", values.get("a3", ""), drug.record)
            name = "^".join(filter(None, (whole.name, values.get("a2"))))
            marks = tuple(mark for mark in ("ar", "ad") if mark in values)
            whole = changed(whole, name=name or None, flags=marks)
            yield changed(whole, flags=(*marks, "at")) if "at" in values else whole
            for tag, aspect in (("a4", "final"), ("an", "not expertised")):
                if values.get(tag):
                    yield changed(whole, code=f"{whole.code}^{aspect}", value=values[tag])


def _read(fields: Iterable[str]) -> _Text:
    text = _Text()
    for place, each in enumerate(fields):
        name, value = each[:2], each[2:].strip()
        if name == "ra":
            text.drugs.append(_Group(place))
        elif name == "af":
            text.families.append(_Group(place, {"af": value}))
        elif name == "ap" and text.families:
            text.families[-1].phenotypes.append(value)
        elif name in _DRUG and text.drugs:
            text.drugs[-1].values[name] = value
        elif name.strip() and name not in text.head:
            text.head[name] = value
            text.places[name] = place
        elif name.strip():
            text.head[name] = f"{text.head[name]}; {value}"
    return text


def _left(text: _Text) -> list[Item]:
    """Fields that the source does not name: carried as they came."""
    known = _READ | _SPECIMEN_FIELDS
    unknown = [f"{name}{value}" for name, value in text.head.items() if name not in known and value]
    specimen = text.head.get("ci") or None
    return [InstrumentEvent("fields", specimen, "|".join(unknown)[:SHOWN], record=0)] if unknown else []
