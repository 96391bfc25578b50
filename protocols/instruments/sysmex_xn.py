"""Sysmex XN series (XN-1000 to XN-9000, XN-L: XN-330/350/450/550) haematology analyzers, ASTM E1394-97.

Source: a capture of an XN-550 (results, flags, suspect messages, scattergram and histogram files), the flags of Sysmex'
"XN-L series ASTM Host Interface Specifications" (rev. 6, 2017) as senaite.astm quotes them and, for the host query and
its answers, public LIS integrations (OpenELIS Global plug-ins for XN-L and XP, LabBook connect). The vendor's own
manual was not at hand: host query and QC are not proved on an instrument.

Beyond the dialect: a file name with escaped backslashes stands where a picture belongs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from protocols.astm_driver import Context
from protocols.dialects.sysmex import SysmexAstm
from protocols.driver import Status
from protocols.messages.astm import Record
from protocols.model import Attachment, QcMark

_PICTURES = {"PNG": "image/png", "BMP": "image/bmp", "JPG": "image/jpeg"}
_BACKGROUND = "BACKGROUNDCHECK"


class SysmexXn(SysmexAstm):
    id: ClassVar[str] = "sysmex_xn"
    vendor: ClassVar[str] = "Sysmex"
    models: ClassVar[tuple[str, ...]] = (
        "XN-330", "XN-350", "XN-450", "XN-550", "XN-1000", "XN-2000", "XN-3000", "XN-9000",
    )  # fmt: skip
    source: ClassVar[str] = "capture of an XN-550; Sysmex ASTM dialect as public LIS integrations quote it"
    status: ClassVar[Status] = Status.CAPTURED
    names: ClassVar[tuple[str, ...]] = ("XN-", "XN")
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "within the patient limits",
        "H": "above the patient limit",
        "L": "below the patient limit",
        "HH": "above the panic value",
        "LL": "below the panic value",
        "A": "analysis or hardware error; behind a suspect or abnormal message: it stands",
        ">": "outside the assured linear range",
        "W": "low reliability",
    }

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q, and the background check that the instrument runs by itself at start."""
        if context.specimen == _BACKGROUND:
            return QcMark(material=context.specimen)
        return super().qc_mark(order, context)

    shortest_attachment: ClassVar[int] = 1

    def attachments(self, code: str, value: str) -> tuple[Attachment, ...]:
        """``PNG\\folder\\file``: the instrument keeps the picture and names it (SCAT_, DIST_)."""
        if "\\" not in value:
            return ()
        kind, _, path = value.partition("\\")
        media_type = _PICTURES.get(kind.upper())
        return (Attachment(name=code, media_type=media_type, reference=path),) if media_type else ()
