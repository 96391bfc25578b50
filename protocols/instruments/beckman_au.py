"""Beckman Coulter (Olympus) AU chemistry analyzers on their own "Online" protocol: fixed columns, STX, ETX, BCC.

Source: Olympus AU2700/5400 Online Specification (2000), p. 4 to 8, for the text codes, the blocks and the check; open
drivers that serve an AU480 (SpeciGo, Vietbait LabLink), an AU600 (xhn-tianjian) and an AU5800 (DeviceLinkDemo) for the
columns. Not proved on an instrument.

The analyzer's online menu sets how wide each field is, whether a unit number, sex and age are sent, and whether texts
have a check character: a link's options name a model's usual columns and change what differs. Texts: ``R`` asks for the
tests of a sample, ``S`` is our answer, ``D`` a result (``d`` first results of an emergency, H behind it a rerun), DQ a
control, DR a reagent blank, DA a calibration, B and E begin and end a run. A result may come in blocks numbered 0, 1
and so on to E. The codes of tests (two or three digits) are those of the analyzer's own online table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import ClassVar

from protocols.driver import Driver, Match, Status
from protocols.errors import DriverOptionError
from protocols.links.contract import Link
from protocols.links.text import TextLink, TextOptions
from protocols.links.text_framing import ACK, ETB, NAK, STX_ETX, STX_ETX_BCC
from protocols.links.text_parts import Part
from protocols.messages.fixed_width import Column, Group, in_a_row
from protocols.model import Decoded, HostQuery, InstrumentEvent, Item, Observation, Order, QcMark, Undecoded
from protocols.text_driver import SHOWN, TextDriver, printable

_RESULTS = {"D ": (), "d ": ("first result of an emergency sample",), "DH": ("rerun",), "dH": ("rerun",), "DQ": ()}
_EVENTS = {
    "DB": "results begin", "DE": "results end", "RB": "inquiries begin", "RE": "inquiries end",
    "DR": "reagent blank", "DA": "calibration",
}  # fmt: skip
_LAST_BLOCK = "E"


@dataclass(frozen=True, slots=True)
class AuProfile:
    """How wide the fields are, in characters; 0: the field is not sent."""

    unit: int = 0
    """Number of the analyzer."""
    rack: int = 4
    cup: int = 2
    sample_type: int = 1
    sample_no: int = 4
    sample_id: int = 13
    dummy: int = 4
    """Blanks; of a control text the last three are the number of the control."""
    patient: int = 0
    """Sex, years and months, which are not read."""
    lead: int = 0
    """Before each result."""
    test: int = 3
    result: int = 6
    flags: int = 1
    """How many flags of two characters follow a result."""
    bcc: bool = True
    acknowledges: bool = True
    """Class B: the analyzer wants ACK or NAK for each text."""

    def columns(self, unit: int) -> tuple[Column, ...]:
        """Rack, cup, sample type, sample number, sample id, dummy and block number; `unit`: width before them."""
        return in_a_row(
            self.rack, self.cup, self.sample_type, self.sample_no, self.sample_id, self.dummy, 1, start=2 + unit
        )


PROFILES: Mapping[str, AuProfile] = {
    "au480": AuProfile(),
    "au600": AuProfile(unit=2, sample_id=0, test=2),
    "au5800": AuProfile(unit=2, sample_id=10, lead=1, result=9, flags=4),
}


class BeckmanAu(TextDriver):
    id: ClassVar[str] = "beckman_au"
    vendor: ClassVar[str] = "Beckman Coulter"
    models: ClassVar[tuple[str, ...]] = ("AU400", "AU480", "AU600", "AU640", "AU680", "AU2700", "AU5400", "AU5800")
    source: ClassVar[str] = "AU2700/5400 Online Specification (2000); open drivers of AU480, AU600 and AU5800"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "H": "high", "L": "low", "N": "normal", "ph": "panic high", "F": "above the measuring range",
    }  # fmt: skip
    profile: AuProfile = PROFILES["au480"]
    without_order: str = "SE"
    """What says that there is no order: "SE" (two of the open drivers) or an answer without tests (one)."""

    def configured(self, options: Mapping[str, object]) -> Driver:
        """`model` names the columns to begin with; `no_order` is "SE" or "empty"; any width, `bcc`, `acknowledges`."""
        driver = copy(self)
        model = options.get("model", "au480")
        if model not in tuple(PROFILES):
            raise DriverOptionError("model", f"unknown: {model!r}", f"take one of {', '.join(PROFILES)}")
        changes: dict[str, int | bool] = {}
        for key, value in options.items():
            if key == "no_order" and value in ("SE", "empty"):
                driver.without_order = "" if value == "empty" else "SE"
            elif key != "model":
                changes[key] = _width(key, value)
        driver.profile = replace(PROFILES[str(model)], **changes)  # type: ignore[arg-type]
        return driver

    def new_link(self) -> Link:
        profile = self.profile
        framing = replace(STX_ETX_BCC if profile.bcc else STX_ETX, goes_on=ETB)
        accept, refuse = (ACK, NAK) if profile.acknowledges else (b"", b"")
        return TextLink(
            TextOptions(
                framing,
                accept,
                refuse,
                continues=self._block_goes_on,
                part=self._part,
                repeats=lambda body: body[:1] in b"Dd",
            )
        )

    def _block_goes_on(self, body: bytes) -> bool:
        text = body.decode("latin-1")
        if text[:2] not in _RESULTS:
            return False
        return self.profile.columns(self.profile.unit)[-1].of(text).isdecimal()

    def _part(self, body: bytes) -> Part | None:
        """Text code, place and sample of a result, and the number of its block."""
        text = body.decode("latin-1")
        block = self.profile.columns(self.profile.unit)[-1]
        number = block.of(text)
        if not (number.isdecimal() or number == _LAST_BLOCK):
            return None  # not asked for the text code: it may be what was damaged
        return Part(body[: block.start], None if number == _LAST_BLOCK else int(number))

    def fingerprint(self, payload: bytes) -> Match:
        text = payload.decode("latin-1").partition("\n")[0]
        if text in _EVENTS:
            return Match(0.6, "a text code of AU analyzers alone")
        if text[:2] in ("R ", "RH", "Rh", *_RESULTS, "DR", "DA") and any(
            _fits(text, profile) for profile in (self.profile, *PROFILES.values())
        ):
            return Match(0.6, "text code, rack and cup in the columns of an AU analyzer")
        return Match(0.0, "no text of an AU analyzer")

    # ------------------------------------------------------------------ decoding

    def decode(self, payload: bytes) -> Decoded:
        text = payload.decode("latin-1")  # columns are counted in bytes
        blocks = text.split("\n")
        code = blocks[0][:2]
        if code in ("R ", "RH", "Rh"):
            return Decoded((self._query(blocks[0]),), charset="latin-1")
        if code in _RESULTS:
            found = [item for number, block in enumerate(blocks) for item in self._results(block, number)]
            return Decoded(tuple(found) or (InstrumentEvent("no results", detail=text[:SHOWN], record=0),))
        if code in _EVENTS:
            return Decoded((InstrumentEvent(_EVENTS[code], detail=text[2:SHOWN].strip() or None, record=0),))
        return Decoded((Undecoded("unknown text code", text[:SHOWN], 0),))

    def _query(self, text: str) -> Item:
        rack, cup, _, sample_no, sample_id, *_ = self.profile.columns(self.profile.unit)
        if len(text) < sample_no.end:
            return Undecoded("an inquiry that is too short", text[:SHOWN], 0)
        specimen = sample_id.of(text) or sample_no.of(text)
        return HostQuery(
            specimens=(specimen,) if specimen else (),
            rack=rack.of(text) or None,
            position=cup.of(text) or None,
            context={"place": text[rack.start : sample_id.end].ljust(sample_id.end - rack.start)},
            record=0,
        )

    def _results(self, text: str, number: int) -> Iterator[Item]:
        profile = self.profile
        rack, cup, _, sample_no, sample_id, dummy, block = profile.columns(profile.unit)
        if text[:2] not in _RESULTS or len(text) < block.end:
            yield Undecoded("a block without the columns of a result", text[:SHOWN], number)
            return
        is_control = text[:2] == "DQ"
        specimen = sample_id.of(text) or sample_no.of(text) or None
        qc = QcMark(material=specimen, level=dummy.raw(text)[1:].strip() or None) if is_control else None
        for part in self._parts(text, block.end):
            _, test, result, *flags = part
            if not test:
                yield Undecoded("a result that is cut off or has no test", result, number)
                continue
            yield Observation(
                specimen=specimen,
                code=test,
                value=result if any(each.isalnum() for each in result) else None,
                flags=tuple(flag for flag in flags if flag),
                rack=rack.of(text) or None,
                position=cup.of(text) or None,
                comments=_RESULTS[text[:2]],
                qc=qc,
                record=number,
            )

    def _parts(self, text: str, header_end: int) -> Iterator[tuple[str, ...]]:
        """(lead, test, result, flags ...) of each result; without a test where the part is cut off."""
        profile = self.profile
        patient = 0 if text[:2] == "DQ" else profile.patient
        columns = in_a_row(profile.lead, profile.test, profile.result, *[2] * profile.flags)
        shortest = columns[2].end
        for part in Group(header_end + patient, columns[-1].end).of(text):
            if len(part) < shortest and part[columns[1].end :].strip() == "":
                yield "", "", part.strip()
            else:
                yield tuple(column.of(part) for column in columns)

    # ------------------------------------------------------------------ host query

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        return [self._answer(item, orders) for item in decoded.items if isinstance(item, HostQuery)]

    def _answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]]) -> bytes:
        known = [order for each in query.specimens for order in orders.get(each, ()) if not order.cancelled]
        codes = tuple(dict.fromkeys(code for order in known for code in order.codes))
        usable = [code.zfill(self.profile.test) for code in codes if len(code) <= self.profile.test and code.isascii()]
        if not usable and self.without_order:
            return self.without_order.encode()
        tests = "".join(f"{code}0" for code in usable)  # 0: neither diluted nor concentrated
        place = printable(query.context.get("place", ""))
        return f"S {place}{' ' * self.profile.dummy}{_LAST_BLOCK}{tests}".encode("latin-1")


def _fits(text: str, profile: AuProfile) -> bool:
    rack, cup, *_, block = profile.columns(profile.unit)
    numbered = rack.of(text).isdecimal() and cup.of(text).isdecimal()
    return numbered and (text[0] == "R" or block.of(text).isdecimal() or block.of(text) == _LAST_BLOCK)


def _width(key: str, value: object) -> int | bool:
    known = {each.name: each.type for each in fields(AuProfile)}
    if key not in known:
        raise DriverOptionError(key, "is no option of this driver", f"known: model, no_order, {', '.join(known)}")
    if known[key] == "bool":
        if not isinstance(value, bool):
            raise DriverOptionError(key, f"not taken: {value!r}", "write true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 40:
        raise DriverOptionError(key, f"not taken: {value!r}", "write a width from 0 to 40")
    return value
