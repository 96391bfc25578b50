"""Horiba ABX Micros 60 haematology analyzer on its serial line: one character names each line between STX and ETX.

Source: a text of a Micros 60 that an open laboratory program in Delphi keeps for its tests: STX, five digits, a line
RESULT, then lines of an identifier, a value and a letter (``l`` beside low values), curves, the analyzer's name, four
digits. Which parameter an identifier means is not written there: the codes are the identifiers, mapped to tests in
data. ``u`` is read as the sample's identification, ``q`` as date and time in the analyzer's own order. Not proved on an
instrument.
"""

from __future__ import annotations

import re
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.links.text import TextOptions
from protocols.links.text_framing import STX_ETX
from protocols.model import Observation
from protocols.text_driver import Printed, PrintoutDriver

_RESULT = re.compile(r"""([!-&'@A-C2-8]) ( {0,5}[\d.]{1,6}|[-*.]{2,6})(?: ([A-Za-z*!]*))?\s*$""")
_NO_VALUE = "-*. "


class HoribaMicros60(PrintoutDriver):
    id: ClassVar[str] = "horiba_micros60"
    vendor: ClassVar[str] = "Horiba ABX"
    models: ClassVar[tuple[str, ...]] = ("Micros 60",)
    source: ClassVar[str] = "a text of a Micros 60 in an open laboratory program (Delphi)"
    status: ClassVar[Status] = Status.MANUAL
    charset: ClassVar[str | None] = "latin-1"
    link_options: ClassVar[TextOptions] = TextOptions(STX_ETX, accept=b"", refuse=b"")
    headings: ClassVar[re.Pattern[str] | None] = re.compile(r"\d{5}$|.{0,2}RESULT\s*$|v\s*$")
    personal: ClassVar[re.Pattern[str] | None] = re.compile(r"v \S")

    def fingerprint(self, payload: bytes) -> Match:
        if b"MICROS60" in payload and b"RESULT" in payload[:40]:
            return Match(0.95, "the text names a MICROS60")
        if re.match(rb"\d{5}[\r\n]+.{0,2}RESULT\s", payload, re.DOTALL):
            return Match(0.5, "a length and RESULT, as ABX analyzers begin")
        return Match(0.0, "no text of an ABX Micros")

    def head(self, line: str, printed: Printed) -> bool:
        name, value = line[:1], line[2:].strip()
        if name == "u" and line[1:2] == " ":
            printed.specimen = value or None
        elif name == "q" and line[1:2] == " ":
            printed.date = value or None
        elif "MICROS60" in line:
            printed.sender = line.lstrip("\xff\xfe\xfd\xfc\x80?").strip()
        else:
            return False
        return True

    def result(self, line: str, printed: Printed) -> Observation | None:
        match = _RESULT.match(line)
        if match is None:
            return None
        value = match[2].strip()
        return Observation(
            specimen=printed.specimen,
            code=match[1],
            value=value if value.strip(_NO_VALUE) else None,
            flags=(match[3],) if match[3] else (),
        )
