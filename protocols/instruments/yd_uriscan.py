"""YD Diagnostics URiSCAN urine analyzers (URiSCAN Pro II): a printout between STX and ETX, nothing is answered.

Source: the maker's sheet "URiSCAN PRO II Serial Format" (STX, lines as they are printed, ETX; no handshake, no
checksum). ``ID_NO`` holds a running number, a dash and the sample, if one was read. Not proved on an instrument.
"""

from __future__ import annotations

import re
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.links.text import TextOptions
from protocols.links.text_framing import STX_ETX
from protocols.strip_driver import StripDriver
from protocols.text_driver import Printed

_ID = re.compile(r"\s*ID_NO\s*:\s*(\w*)\s*-?\s*(.*)$")

_PADS = "BLD BIL URO KET PRO NIT GLU PH SG LEU ASC ALB CRE"


class YdUriscan(StripDriver):
    id: ClassVar[str] = "yd_uriscan"
    vendor: ClassVar[str] = "YD Diagnostics"
    models: ClassVar[tuple[str, ...]] = ("URiSCAN Pro II",)
    source: ClassVar[str] = "URiSCAN PRO II Serial Format (the maker's sheet)"
    status: ClassVar[Status] = Status.MANUAL
    link_options: ClassVar[TextOptions] = TextOptions(STX_ETX, accept=b"", refuse=b"")
    pads: ClassVar[frozenset[str]] = frozenset(_PADS.split())
    specimen_line: ClassVar[re.Pattern[str]] = re.compile(r"\s*ID_NO\s*:\s*\w*\s*-?\s*(.*)$")
    personal: ClassVar[re.Pattern[str] | None] = re.compile(r"\s*(?:NAME|Ward)\s*:")

    def fingerprint(self, payload: bytes) -> Match:
        text = payload.decode("latin-1")
        if "ID_NO:" in text and text.lstrip("\x02 \r\n").startswith("Date :") and self.pads_in(text):
            return Match(0.9, "Date and ID_NO lines of a URiSCAN above its pads")
        return Match(0.0, "no printout of a URiSCAN")

    def head(self, line: str, printed: Printed) -> bool:
        match = _ID.match(line)
        if match is not None:
            printed.specimen = match[2].strip() or match[1] or None
            return True
        return super().head(line, printed)
