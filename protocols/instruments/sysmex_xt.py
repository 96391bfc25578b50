"""Sysmex XT, XE and XS haematology analyzers (XT-1800i, XT-2000i, XE-2100, XE-5000, XS-500i, XS-800i, XS-1000i).

Source: public LIS integrations of the XE-2100 (its inquiry), XS-500i (results) and of XN, XS and XT together (orders);
Sysmex' "XT-2000i/XT-1800i ASTM Host Interface Format" (rev. 2.1) and "XS Series ASTM Communication Specifications"
(rev. 2.5) are the vendor's documents, of which only the contents were at hand. No capture: not proved on an instrument.

The messages are those of the dialect; R.9 and R.11 stay blank. The meanings of the flags are in the vendor's document
alone, so they are handed on as sent.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.dialects.sysmex import SysmexAstm
from protocols.driver import Status


class SysmexXt(SysmexAstm):
    id: ClassVar[str] = "sysmex_xt"
    vendor: ClassVar[str] = "Sysmex"
    models: ClassVar[tuple[str, ...]] = (
        "XT-1800i", "XT-2000i", "XT-4000i", "XE-2100", "XE-5000", "XS-500i", "XS-800i", "XS-1000i",
    )  # fmt: skip
    source: ClassVar[str] = "public LIS integrations of XE-2100, XS-500i and XT (inquiry, results, orders)"
    status: ClassVar[Status] = Status.MANUAL
    names: ClassVar[tuple[str, ...]] = ("XT-", "XE-", "XS-", "XS")
    answers_host_queries: ClassVar[bool] = True
