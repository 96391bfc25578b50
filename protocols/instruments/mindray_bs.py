"""Mindray BS series chemistry analyzers (BS-120 to BS-2000M), HL7 2.3.1 over MLLP.

Source: Mindray's host interface manuals as public projects quote them (BS series, P/N BA20-20-75337, in a public LIS
specification; CL series, 2013-08, as extracted text). No capture of a BS was at hand: not proved on an instrument.

Results come as ORU^R01, often one test a message; MSH-16 says what it is: 0 patient, 1 calibration, 2 control. A
control result stands in the OBR itself. QRY^Q02 is answered by QCK^Q02 and, where an order is known, DSR^Q03 with
positional DSP lines: 21 barcode, 23 time, 24 STAT, 26 specimen type, from 29 on one test each (``number^^^``). Tests
are the channel numbers set on the analyzer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from protocols.dialects.mindray_chemistry import MindrayChemistry
from protocols.driver import Status


class MindrayBs(MindrayChemistry):
    id: ClassVar[str] = "mindray_bs"
    vendor: ClassVar[str] = "Mindray"
    models: ClassVar[tuple[str, ...]] = ("BS-120", "BS-200", "BS-350", "BS-480", "BS-800", "BS-2000M")
    source: ClassVar[str] = (
        "Mindray host interface manuals (BS BA20-20-75337; CL 2013-08) as public projects quote them"
    )
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    series: ClassVar[str] = "BS"
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "within the analyzer's reference range",
        "H": "above the analyzer's reference range",
        "L": "below the analyzer's reference range",
    }
