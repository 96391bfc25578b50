"""URIT urine analyzers on a serial line (URIT-30, URIT-50): the printout between STX and ETX, nothing is answered.

Source: two open programs that read a URIT-50 (a clinic's urine service in Python, a laboratory's collector): ``NO.``
with the running number, date and time, then a line for each pad with its grade, value and unit, a star before an
abnormal one. The number is the analyzer's own unless a barcode was read (``ID:``). URIT's HL7 analyzers have another
driver. Not proved on an instrument.
"""

from __future__ import annotations

import re
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.links.text import TextOptions
from protocols.links.text_framing import STX_ETX
from protocols.strip_driver import StripDriver
from protocols.text_driver import Printed

_NUMBER = re.compile(r"(?m)^\s*NO\.\s*(\d+)")
_ID = re.compile(r"\s*ID\s*:\s*(\S*)")

_PADS = "LEU NIT UBG URO PRO PH BLD SG KET BIL GLU VC CRE CA MALB ALB"


class UritUrine(StripDriver):
    id: ClassVar[str] = "urit_urine"
    vendor: ClassVar[str] = "URIT"
    models: ClassVar[tuple[str, ...]] = ("URIT-30", "URIT-50")
    source: ClassVar[str] = "open programs that read a URIT-50 on its serial line"
    status: ClassVar[Status] = Status.MANUAL
    link_options: ClassVar[TextOptions] = TextOptions(STX_ETX, accept=b"", refuse=b"")
    pads: ClassVar[frozenset[str]] = frozenset(_PADS.split())
    specimen_line: ClassVar[re.Pattern[str]] = _NUMBER

    def fingerprint(self, payload: bytes) -> Match:
        text = payload.decode("latin-1")
        if _NUMBER.search(text) and self.pads_in(text) >= 3:
            return Match(0.6, "a number line (NO.) above the pads of a urine strip")
        return Match(0.0, "no printout of a URIT urine analyzer")

    def head(self, line: str, printed: Printed) -> bool:
        """A barcode that was read is better than the running number, in whichever order they are printed."""
        barcode = _ID.match(line)
        if barcode is not None:
            printed.specimen = barcode[1] or printed.specimen
            return True
        known, is_head = printed.specimen, super().head(line, printed)
        printed.specimen = known or printed.specimen
        return is_head
