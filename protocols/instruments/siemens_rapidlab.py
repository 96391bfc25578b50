"""Siemens (Bayer) RAPIDLab blood gas analyzers (348, 800, 1200 series): named fields between FS, RS and GS.

Source: open interfaces for RAPIDLab 348, 840, 850 and 1200 and RapidLink in Visual Basic; the RAPIDLab 348EX Interface
Specifications Manual (2012) was at hand by its contents only. Not proved on an instrument.

A message is STX, its name, fields, ETX, two digits (sum from STX to ETX), EOT; a message of ACK acknowledges it. A
field is ``name GS value GS .. GS .. GS``. SMP_NEW_DATA and SMP_EDIT_DATA are results: ``m`` before a name is measured,
``c`` calculated; the letter stays, since a name may stand in both. What the other parts of a field hold is not in the
source: they are comments as they came. ID_REQ asks who we are; SMP_NEW_AV announces a sample, which we ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.links.text import TextOptions
from protocols.links.text_framing import ACK, EOT, Check, Framing, Method
from protocols.messages.printed_times import iso_clock, iso_date
from protocols.model import Decoded, InstrumentEvent, Item, Observation, Order, Undecoded
from protocols.text_driver import SHOWN, TextDriver, printable

_FRAMING = Framing("RAPIDLab", check=Check(Method.SUM, hex_digits=True, counts_start=True), trailer=EOT)
_MESSAGE = re.compile(r"\s*([A-Z][A-Z_]{3,})\x1c")
_FIELD = re.compile(r"(?:\A|[\x1c\x1e])([a-z][^\x1c-\x1e]*)\x1d([^\x1c\x1e]*)")
_RESULTS = ("SMP_NEW_DATA", "SMP_EDIT_DATA")
_EMPTY = "\x1d\x1d\x1d"


class SiemensRapidlab(TextDriver):
    id: ClassVar[str] = "siemens_rapidlab"
    vendor: ClassVar[str] = "Siemens"
    models: ClassVar[tuple[str, ...]] = ("RAPIDLab 348", "RAPIDLab 840", "RAPIDLab 850", "RAPIDLab 1200")
    source: ClassVar[str] = "open interfaces for RAPIDLab 348, 800 and 1200 (Visual Basic)"
    status: ClassVar[Status] = Status.MANUAL
    link_options: ClassVar[TextOptions] = TextOptions(_FRAMING, accept=_FRAMING.wrap(ACK), refuse=b"")

    def fingerprint(self, payload: bytes) -> Match:
        text = payload.decode("latin-1")
        if _MESSAGE.match(text) and "aMOD\x1d" in text:
            return Match(0.95, "a message with the field aMOD of a RAPIDLab")
        if _MESSAGE.match(text) and text.count("\x1d") >= 3:
            return Match(0.5, "a message of FS and GS fields, as RAPIDLab sends them")
        return Match(0.0, "no message of a RAPIDLab")

    def decode(self, payload: bytes) -> Decoded:
        text, charset = self.characters(payload)
        name = _MESSAGE.match(text)
        if name is None:
            return Decoded((Undecoded("no message name", text[:SHOWN], 0),), charset=charset)
        fields = {key: tuple(rest.split("\x1d")) for key, rest in _FIELD.findall(text[name.end() - 1 :])}
        sender = _first(fields, "aMOD")
        if name[1] not in _RESULTS:
            event = InstrumentEvent(name[1], _specimen(fields), printable(text)[:SHOWN], record=0)
            return Decoded((event,), sender=sender, charset=charset)
        items = tuple(_results(fields)) or (Undecoded("a sample without results", printable(text)[:SHOWN], 0),)
        return Decoded(items, sender=sender, charset=charset)

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        text = payload.decode("latin-1")
        name = _MESSAGE.match(text)
        if name is None:
            return ()
        if name[1] == "ID_REQ":
            return (f"ID_DATA\x1c\x1eaMOD\x1dLIS{_EMPTY}\x1ciIID\x1d333{_EMPTY}\x1c\x1e".encode(),)
        if name[1] == "SMP_NEW_AV":
            fields = {key: tuple(rest.split("\x1d")) for key, rest in _FIELD.findall(text[name.end() - 1 :])}
            echoed = "\x1c".join(
                f"{key}\x1d{printable(_first(fields, key) or '')}{_EMPTY}" for key in ("aMOD", "iIID", "rSEQ")
            )
            return (f"SMP_REQ\x1c\x1e{echoed}\x1c\x1e".encode("latin-1", "replace"),)
        return ()


_Fields = Mapping[str, tuple[str, ...]]


def _first(fields: _Fields, name: str) -> str | None:
    found = fields.get(name)
    return found[0].strip() or None if found else None


def _specimen(fields: _Fields) -> str | None:
    """The patient id is where these analyzers carry the barcode; without one their own sequence number."""
    return _first(fields, "iPID") or _first(fields, "rSEQ")


def _results(fields: _Fields) -> Iterator[Item]:
    for name, (value, *others) in fields.items():
        if name[0] not in "mc" or len(name) < 2:
            continue
        yield Observation(
            specimen=_specimen(fields),
            code=name,
            value=value.strip() or None,
            observed_at=_time(fields),
            module=_first(fields, "iIID"),
            comments=tuple(other.strip() for other in others if other.strip()),
            record=0,
        )


def _time(fields: _Fields) -> str | None:
    day, clock = _first(fields, "rDATE"), _first(fields, "rTIME")
    date, time = iso_date(day or "", None), iso_clock(clock or "")
    if date is None:
        return " ".join(each for each in (day, clock) if each) or None
    return f"{date}T{time}" if time else date
