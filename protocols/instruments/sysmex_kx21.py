"""Sysmex KX-21 and KX-21N haematology analyzers on their serial line: fixed columns between STX and ETX.

Source: open drivers of a KX-21 (vactorwu/xhn-tianjian-pacs: names, order and decimals of the parameters) and of a
KX-21N (the BLIS interface client), which differ in the width of the sample number: `model` in the link's options. Each
value has four digits, then a digit that is 0 for an undisturbed result; what its other values mean is not in the
sources. The unit is a setting and not sent. Text ``D1U`` is a sample, other ``D`` texts are controls. Nothing is
answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import ClassVar

from protocols.driver import Driver, Match, Status
from protocols.errors import DriverOptionError
from protocols.links.text import TextOptions
from protocols.links.text_framing import STX_ETX
from protocols.messages.fixed_width import Column, Group
from protocols.model import Decoded, Item, Observation, QcMark, Undecoded
from protocols.text_driver import SHOWN, TextDriver

_DIGITS = 4
_SAMPLE = (
    ("WBC", 1), ("RBC", 2), ("HGB", 1), ("HCT", 1), ("MCV", 1), ("MCH", 1), ("MCHC", 1), ("PLT", 0), ("LYM%", 1),
    ("MXD%", 1), ("NEUT%", 1), ("LYM#", 1), ("MXD#", 1), ("NEUT#", 1), ("RDW", 1), ("PDW", 1), ("MPV", 1), ("P-LCR", 1),
)  # fmt: skip
_CONTROL = (
    ("WBC", 1), ("LYM%", 1), ("MXD%", 1), ("NEUT%", 1), ("LYM#", 1), ("MXD#", 1), ("NEUT#", 1), ("RBC", 2), ("HGB", 1),
    ("HCT", 1), ("MCV", 1), ("MCH", 1), ("MCHC", 1), ("RDW", 1), ("PLT", 0), ("PDW", 1), ("MPV", 1), ("P-LCR", 1),
    ("W-SMV", 1), ("W-LMV", 1),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Columns:
    """Column 0 is the D of the text code."""

    sample: Column
    values: Group


MODELS: Mapping[str, Columns] = {
    "KX-21": Columns(Column(10, 12), Group(29, _DIGITS + 1)),
    "KX-21N": Columns(Column(12, 15), Group(34, _DIGITS + 1)),
}
_CONTROL_NUMBER = Column(14, 1)
_CONTROL_VALUES = Group(17, _DIGITS)


class SysmexKx21(TextDriver):
    id: ClassVar[str] = "sysmex_kx21"
    vendor: ClassVar[str] = "Sysmex"
    models: ClassVar[tuple[str, ...]] = tuple(MODELS)
    source: ClassVar[str] = "open drivers of a KX-21 and a KX-21N"
    status: ClassVar[Status] = Status.MANUAL
    link_options: ClassVar[TextOptions] = TextOptions(STX_ETX, accept=b"", refuse=b"")
    columns: Columns = MODELS["KX-21N"]

    def configured(self, options: Mapping[str, object]) -> Driver:
        driver = copy(self)
        for key, value in options.items():
            if key != "model" or value not in tuple(MODELS):
                raise DriverOptionError(key, f"not taken: {value!r}", f"model = one of {', '.join(MODELS)}")
            driver.columns = MODELS[str(value)]
        return driver

    def fingerprint(self, payload: bytes) -> Match:
        text = payload.decode("latin-1")
        if text[:3] == "D1U" and any(_digits(text, each) for each in MODELS.values()):
            return Match(0.6, "text code D1U and groups of digits where a KX-21 has its values")
        if text[:2] == "D1" and len(text) >= 60 and text[_CONTROL_VALUES.start :].replace(" ", "").isdecimal():
            return Match(0.4, "text code D1 and digits where a KX-21 has the values of a control")
        return Match(0.0, "no text of a KX-21")

    def decode(self, payload: bytes) -> Decoded:
        text = payload.decode("latin-1")
        if text[:1] != "D" or len(text) < _CONTROL_VALUES.start:
            return Decoded((Undecoded("unknown text code", text[:SHOWN], 0),))
        items = tuple(self._sample(text) if text[2:3] == "U" else self._control(text))
        return Decoded(items or (Undecoded("a text without values", text[:SHOWN], 0),))

    def _sample(self, text: str) -> Iterator[Item]:
        specimen = self.columns.sample.of(text) or None
        for (name, decimals), part in zip(_SAMPLE, self.columns.values.of(text), strict=False):
            yield _observation(name, decimals, part, specimen, None)
        yield from _more(text, self.columns.values, len(_SAMPLE))

    def _control(self, text: str) -> Iterator[Item]:
        number = _CONTROL_NUMBER.of(text) or None
        for (name, decimals), part in zip(_CONTROL, _CONTROL_VALUES.of(text), strict=False):
            yield _observation(name, decimals, part, None, QcMark(level=number))
        yield from _more(text, _CONTROL_VALUES, len(_CONTROL))


def _observation(name: str, decimals: int, part: str, specimen: str | None, qc: QcMark | None) -> Observation:
    """``0065`` with one decimal is 6.5; what is no number (``----``) is no value."""
    digits, mark = part[:_DIGITS], part[_DIGITS:]
    value = None
    if len(digits) == _DIGITS and digits.strip().isdecimal():
        whole = digits.strip().zfill(decimals + 1)
        value = f"{int(whole[: len(whole) - decimals])}.{whole[-decimals:]}" if decimals else str(int(whole))
    flags = (mark,) if mark.strip() and mark != "0" else ()
    return Observation(specimen=specimen, code=name, value=value, flags=flags, qc=qc, record=0)


def _more(text: str, values: Group, known: int) -> Iterator[Item]:
    rest = text[values.start + known * values.width :].strip()
    if rest:
        yield Undecoded("more values than the sources name", rest[:SHOWN], 0)


def _digits(text: str, columns: Columns) -> bool:
    parts = list(columns.values.of(text))[:8]
    numbered = [part for part in parts if part.isdecimal() and len(part) == columns.values.width]
    return len(parts) == 8 and len(numbered) >= 5 and columns.sample.of(text).replace("-", "").isalnum()
