"""Erba EM-200 and EM-360 chemistry analyzers, ASTM with a backtick between repeats.

Source: captures of an EM-200 (results, a host query); Ruby-ASTM, a public integration, for the order it accepted.

Behind the specimen O.3 has the kind of tube (a sibling's document: 1 of 10 ml, 3 of 5 to 7 ml) and more that no source
tells: they are not read. A query is ``^specimen``.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.dialects.erba import ErbaAstm
from protocols.driver import Status


class ErbaEm(ErbaAstm):
    id: ClassVar[str] = "erba_em"
    vendor: ClassVar[str] = "Erba"
    models: ClassVar[tuple[str, ...]] = ("EM-200", "EM-360")
    source: ClassVar[str] = "captures of an EM-200; Ruby-ASTM (orders)"
    status: ClassVar[Status] = Status.CAPTURED
    parted_specimen: ClassVar[bool] = True
    action: ClassVar[str] = "N"
    default_type: ClassVar[str] = "SERUM"
