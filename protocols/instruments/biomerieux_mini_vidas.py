"""bioMérieux VIDAS and mini VIDAS immunoassay analyzers: fields of a two-letter name, ``|`` behind each.

Source: a capture of a mini VIDAS (one result); the names of the fields and of the calibration states from chapter 10
(BCI) of the VIDAS PC User's Manual as the OpenELIS project quotes it. That chapter keeps the check to itself: it is the
sum of the bytes from the first RS to GS, modulo 256, which the capture's and a second published text's digits confirm.

A transmission is ENQ, then STX, fields, GS with the check, ETX for each result (ACK answers it), then EOT. ``mt`` says
what a text is: ``rsl`` a result. The order of day and month is a setting of the analyzer (`date_order` in the link's
options); two published captures show month first, the manual day first: without the option a date stays as it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from typing import ClassVar

from protocols.driver import Driver, Match, Status
from protocols.errors import DriverOptionError
from protocols.links.text import TextOptions
from protocols.links.text_framing import GS, STX_GS_CHECKSUM
from protocols.messages.printed_times import DateOrder, iso_clock, iso_date
from protocols.model import Decoded, InstrumentEvent, Item, Observation, Undecoded
from protocols.text_driver import SHOWN, TextDriver

_FIELD = re.compile(r"\x1e?([a-z][a-z0-9])([^|\x1e\x1d]*)(?:\||(?=[\x1e\x1d])|\Z)")
_BARE = re.compile(rb"\x02?(\x1e?mt[a-z]{3}\|[^\x02\x03\x1d]*)\x1d([0-9A-Fa-f]{2})")
_NUMBER = re.compile(r"\s*([<>]?\s*[+-]?\d+(?:[.,]\d+)?)\s*(.*)$")
_KNOWN = {"mt", "pi", "pn", "pb", "ps", "so", "si", "ci", "rt", "rn", "tt", "td", "ql", "qn", "y3", "qd", "nc", "id"}
_KNOWN |= {"sn", "m4"}


class BiomerieuxMiniVidas(TextDriver):
    id: ClassVar[str] = "biomerieux_mini_vidas"
    vendor: ClassVar[str] = "bioMérieux"
    models: ClassVar[tuple[str, ...]] = ("mini VIDAS", "VIDAS", "VIDAS PC")
    source: ClassVar[str] = "capture of a mini VIDAS; VIDAS PC User's Manual, ch. 10 (BCI), as quoted by OpenELIS"
    status: ClassVar[Status] = Status.CAPTURED
    link_options: ClassVar[TextOptions] = TextOptions(STX_GS_CHECKSUM, handshake=True, repeats=lambda _body: True)
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "lotexp": "the reagent lot has expired",
        "calexp": "the calibration has expired",
        "contneff": "a control was not run",
        "calinc": "the calibration is not complete",
        "conthnor": "a control is out of its range",
        "conthwst": "a control breaks a Westgard rule",
    }
    date_order: DateOrder | None = None

    def configured(self, options: Mapping[str, object]) -> Driver:
        """`date_order`: "mdy", "dmy" or "ymd", as it is set on the analyzer."""
        driver = copy(self)
        for key, value in options.items():
            if key != "date_order" or value not in tuple(DateOrder):
                raise DriverOptionError(
                    key, f"not taken: {value!r}", 'the option is date_order = "mdy", "dmy" or "ymd"'
                )
            driver.date_order = DateOrder(str(value))
        return driver

    def fingerprint(self, payload: bytes) -> Match:
        if re.match(rb"\s*\x02?\x1e?mt[a-z]{3}\|", payload):
            fields = _fields(payload.decode("latin-1"))
            if "rt" in fields and "ci" in fields and "ta" not in fields:  # VITEK 2 speaks BCI too: ta, ra, a1
                return Match(0.95, "BCI fields of an immunoassay result (mt, ci, rt)")
            return Match(0.3, "BCI fields of a bioMérieux analyzer")
        return Match(0.0, "no BCI fields")

    def split(self, data: bytes) -> list[bytes] | None:
        """Texts with or without STX and ETX around them; one whose check is wrong keeps it, and `decode` says so."""
        found = []
        for match in _BARE.finditer(data):
            body, sent = match[1], match[2]
            check = STX_GS_CHECKSUM.check
            assert check is not None
            is_right = check.proves(body + GS, sent)
            found.append(body if is_right else body + GS + sent)
        return found or None

    def decode(self, payload: bytes) -> Decoded:
        text, charset = self.characters(payload)
        if "\x1d" in text:
            return Decoded((Undecoded("wrong check character", text[:SHOWN], 0),), charset=charset)
        fields = _fields(text)
        if fields.get("mt") != "rsl":
            item: Item = (
                InstrumentEvent("message", fields.get("ci") or None, text[:SHOWN], record=0)
                if "mt" in fields
                else Undecoded("no BCI fields", text[:SHOWN], 0)
            )
            return Decoded((item,), charset=charset)
        sender = fields.get("m4") or fields.get("id") or None
        return Decoded((self._result(fields, text), *_left(fields)), sender=sender, charset=charset)

    def _result(self, fields: Mapping[str, str], text: str) -> Item:
        """``qn`` is the number with its unit behind it, ``ql`` the call: alone the value, beside a number a flag."""
        code = fields.get("rt") or fields.get("rn")
        if not code:
            return Undecoded("a result without the name of its test", text[:SHOWN], 0)
        number, unit = _quantity(fields.get("qn", ""), fields.get("y3", ""))
        call, state = fields.get("ql", ""), fields.get("nc", "")
        marks = (call if number else "", "" if state == "valid" else state)
        return Observation(
            specimen=fields.get("ci") or None,
            code=code,
            value=number or call or None,
            unit=unit,
            flags=tuple(each for each in marks if each),
            observed_at=self._time(fields),
            name=fields.get("rn") or None,
            dilution=fields.get("qd") or None,
            module=fields.get("sn") or None,
            record=0,
        )

    def _time(self, fields: Mapping[str, str]) -> str | None:
        day, clock = fields.get("td", ""), fields.get("tt", "")
        date, time = iso_date(day, self.date_order), iso_clock(clock)
        if date is None:
            return " ".join(each for each in (day, clock) if each) or None
        return f"{date}T{time}" if time else date


def _fields(text: str) -> dict[str, str]:
    return {name: value.strip() for name, value in _FIELD.findall(text)}


def _quantity(text: str, unit: str) -> tuple[str, str | None]:
    """``28,94mUI/ml`` is a number with a decimal comma and its unit; the unit may come by itself as well."""
    match = _NUMBER.match(text)
    if match is None:
        return text, unit or None
    return match[1].replace(" ", "").replace(",", "."), match[2] or unit or None


def _left(fields: Mapping[str, str]) -> list[Item]:
    """Fields that the document does not name: carried as they came."""
    unknown = [f"{name}{value}" for name, value in fields.items() if name not in _KNOWN and value]
    return [InstrumentEvent("fields", fields.get("ci") or None, "|".join(unknown), record=0)] if unknown else []
