"""Dirui H series urine analyzers (H-100, H-500, H-800) on a serial line: the printout between STX and ETX.

Source: open programs that read an H-100 (vactorwu/xhn-tianjian-pacs, which waits for a form feed), an H-500 and an
H-800 (Vietbait LabLink) and a clinic's urine service: a date, the analyzer's number and the sample (``ID``), then a
line for each pad with its grade, value and unit, a star before an abnormal one. Day comes before month there. Not
proved on an instrument.
"""

from __future__ import annotations

import re
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.links.text import TextOptions
from protocols.links.text_framing import FF, STX_ETX, Framing
from protocols.messages.printed_times import DateOrder
from protocols.strip_driver import StripDriver

_DATE_FIRST = re.compile(r"\s*(?:Date\s*[:：]?\s*)?\d{2,4}[-./]\d{1,2}[-./]\d{2,4}", re.IGNORECASE)
_PADS = "UBG BIL KET CRE BLD PRO ALB NIT LEU GLU SG PH VC CA AC"


class DiruiH(StripDriver):
    id: ClassVar[str] = "dirui_h"
    vendor: ClassVar[str] = "Dirui"
    models: ClassVar[tuple[str, ...]] = ("H-50", "H-100", "H-300", "H-500", "H-800")
    source: ClassVar[str] = "open programs that read an H-100, H-500 and H-800 on their serial lines"
    status: ClassVar[Status] = Status.MANUAL
    link_options: ClassVar[TextOptions] = TextOptions(
        Framing("STX, ETX or form feed", ends=(STX_ETX.ends[0], FF)), accept=b"", refuse=b"", idle_end_s=3.0
    )
    pads: ClassVar[frozenset[str]] = frozenset(_PADS.split())
    specimen_line: ClassVar[re.Pattern[str]] = re.compile(r"\s*ID\s*(?:No\.?)?\s*[:：]\s*(\S*)", re.IGNORECASE)
    headings: ClassVar[re.Pattern[str] | None] = re.compile(r"\s*(?:No\.?\s*[:：]|[-=_*]{3,}\s*$)", re.IGNORECASE)
    date_order: ClassVar[DateOrder | None] = DateOrder.DMY

    def fingerprint(self, payload: bytes) -> Match:
        text = payload.decode("latin-1").strip("\x02 \r\n\x00")
        has_sample = any(self.specimen_line.match(line) for line in text.splitlines())
        if _DATE_FIRST.match(text) and has_sample and "UBG" in text and self.pads_in(text) >= 3:
            return Match(0.6, "date and ID above the pads of a Dirui strip (UBG)")
        return Match(0.0, "no printout of a Dirui urine analyzer")
