"""Sysmex XP-100 and XP-300 haematology analyzers (three-part differential), ASTM E1394-97.

Source: a capture of an XP-100 and Sysmex' "XP Series ASTM Communication Specifications" (rev. 1.0, 2012) as
senaite.astm quotes it. One way: the analyzer sends and asks nothing. Its forerunner KX-21N speaks a fixed text format
of its own, not this one.

O.3 is blank, O.4 holds the specimen, padded to 15; the dilution ratio in R.3 is 1 (whole blood) or 26 (diluent mode).
Where a value could not be had, R.4 is dashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from protocols.dialects.sysmex import SysmexAstm
from protocols.driver import Status


class SysmexXp(SysmexAstm):
    id: ClassVar[str] = "sysmex_xp"
    vendor: ClassVar[str] = "Sysmex"
    models: ClassVar[tuple[str, ...]] = ("XP-100", "XP-300")
    source: ClassVar[str] = "capture of an XP-100; XP Series ASTM Communication Specifications 1.0 (2012) as quoted"
    status: ClassVar[Status] = Status.CAPTURED
    names: ClassVar[tuple[str, ...]] = ("XP-",)
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "normal data",
        "L": "flagged -: below the patient limit",
        "H": "flagged +: above the patient limit",
        ">": "flagged !: outside the linear range",
        "W": "flagged *: low reliability",
        "A": "masked data",
    }
