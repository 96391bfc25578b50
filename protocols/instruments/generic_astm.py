"""Any analyzer that keeps to CLSI LIS02-A2 and has no driver of its own: its channels are mapped to tests in data.

Source: the fields of LIS02-A2 as captures of cobas, Erba, GeneXpert and Yumizen show them. It claims every ASTM message
with a low score, so that no result is lost while a proper driver is missing; codes stay as the instrument writes them.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.astm_driver import AstmDriver
from protocols.driver import Match, Status


class GenericAstm(AstmDriver):
    id: ClassVar[str] = "generic_astm"
    vendor: ClassVar[str] = "any"
    models: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = "CLSI LIS02-A2 / ASTM E1394-97"
    status: ClassVar[Status] = Status.CAPTURED
    answers_host_queries: ClassVar[bool] = True

    def fingerprint(self, payload: bytes) -> Match:
        head = payload.lstrip()[:2]
        if head[:1] in (b"H", b"h") and head[1:] and not head[1:].isalnum():
            return Match(0.1, "an ASTM header record that no driver claims")
        return Match(0.0, "no ASTM header record")
