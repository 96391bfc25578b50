"""Roche cobas e 411 immunoassay analyzer, host interface in its "cobas type" and its older "Elecsys type".

Source: captures of an e 411 (results, an inquiry); Roche "cobas e 411 analyzer Host Interface Manual" 2.3 (record
tables p. 28-45, traces p. 50-52) in public manual archives.

A qualitative test sends ``call^index`` (-1 negative, 0 borderline, 1 positive): the index is the value, the call a
comment. ``<`` and ``>`` stand before a value out of the measuring range. The host has 15 s to answer an inquiry, then
the analyzer takes it back (Q.13 A) and skips the sample; on contention the analyzer goes first and the host waits. A
tube whose barcode was not read is called ``@sequence``; a rack that is not known ``@number``. Controls are sent as
results and never asked for; calibrations are not sent. Only digits may stand as an order's test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import Context
from protocols.dialects.cobas import CobasHost
from protocols.driver import Match, Status
from protocols.messages.astm import Record, build_message
from protocols.model import HostQuery, Order

_ELECSYS_MARKS = (b"^SAMPLE^NORMAL", b"^SAMPLE^REDUCED", b"^CONTROL^NORMAL", b"^CONTROL^REDUCED")
_ELECSYS_TYPES = ("SAMPLE", "CONTROL")


class RocheE411(CobasHost):
    id: ClassVar[str] = "roche_e411"
    vendor: ClassVar[str] = "Roche"
    models: ClassVar[tuple[str, ...]] = ("cobas e 411", "Elecsys 2010")
    source: ClassVar[str] = "captures of an e 411; cobas e 411 Host Interface Manual 2.3"
    status: ClassVar[Status] = Status.CAPTURED
    names: ClassVar[tuple[str, ...]] = ("cobase411",)
    answers_host_queries: ClassVar[bool] = True
    batch_receiver: ClassVar[str] = "cobas-e411"

    def can_dilute(self, factor: str) -> bool:
        """The automatic dilutions of the cobas type (manual p. 41-42)."""
        return factor in ("2", "5", "10", "20", "50", "100")

    def fingerprint(self, payload: bytes) -> Match:
        match = super().fingerprint(payload)
        if match.score or not payload.startswith(b"H|\\^&||||||||||P|"):
            return match
        if any(mark in payload[:2048] for mark in _ELECSYS_MARKS):
            return Match(0.8, "a nameless header and the sample types of the Elecsys protocol")
        return match

    def terminator(self, record: Record, context: Context) -> None:
        """The Elecsys type ends its inquiries with L.3 I, which says nothing more than that."""
        if not any(isinstance(item, HostQuery) and item.context.get("elecsys") for item in context.items):
            super().terminator(record, context)

    def host_query(self, record: Record) -> HostQuery:
        """Elecsys type: ``^sample^sequence^carrier^position^^SAMPLE^container``, one component less in front."""
        raw = record.raw(3).split(record.delimiters.component)
        if len(raw) != 8 or raw[6] not in _ELECSYS_TYPES:
            return super().host_query(record)
        sample = raw[1].strip()
        return HostQuery(
            specimens=(sample,) if sample else (),
            rack=raw[3].strip() or None,
            position=raw[4].strip() or None,
            context={"asked": raw[1], "place": "^".join(raw[2:]), "status": record.text(13), "elecsys": "1"},
            record=record.index,
        )

    def answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], now: datetime) -> bytes:
        """Elecsys type: O.12 N, O.26 Q, or Z where nothing is ordered (manual p. 40, 50)."""
        if not query.context.get("elecsys"):
            return super().answer(query, orders, now)
        known = [each for specimen in query.specimens for each in orders.get(specimen, ()) if not each.cancelled]
        fields = list(self.test_order(query.context["asked"], query.context["place"], known))
        order = (*fields[:11], "N", *[""] * 13, "Q" if known else "Z")
        header = ("H", "\\^&", *[""] * 9, "P", "", "")
        return build_message([header, ("P", "1"), order, ("L", "1", "")])
