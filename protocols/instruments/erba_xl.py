"""Erba XL-200, XL-640 and XL-1000 chemistry analyzers, ASTM with a backtick between repeats.

Source: captures of an XL-640 (results); nishishailesh's public XL-640 programs for the order it accepted (O.12 A adds
tests to a sample that is there); a public message of an XL-1000, which asks for several specimens at once. Its header
cannot be told from an EM-200's: O.3 is plain here.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.dialects.erba import ErbaAstm
from protocols.driver import Status


class ErbaXl(ErbaAstm):
    id: ClassVar[str] = "erba_xl"
    vendor: ClassVar[str] = "Erba"
    models: ClassVar[tuple[str, ...]] = ("XL-200", "XL-640", "XL-1000")
    source: ClassVar[str] = "captures of an XL-640; public XL-640 programs (orders)"
    status: ClassVar[Status] = Status.CAPTURED
    parted_specimen: ClassVar[bool] = False
    action: ClassVar[str] = "A"
    default_type: ClassVar[str] = "Serum"
