"""Diagnostica Stago STA Compact, STA Satellite, STA-R and their Max generation, ASTM E1394-97.

Source: messages of an STA Compact Max line and the orders sent to STA Compact, STA Satellite and STA Compact Max in
open integrations (two connection checkers of a distributor, MedLink LIS, a Korean and a Bangladeshi laboratory
interface). Of Stago's RS-232 user interface manuals (ANCG218, ANCG221) only the contents and record list were at
hand. Not captured by us.

What they show: H.5 is ``99^2.00`` (access code and version) with H.13 ``1.00``, or ``name^99^3.00`` with H.13
``LIS2-A2``; both sides write the same. R.3 numbers each unit of a test apart (PT in %, INR, ratio and s are four
numbers), so every number is a code of its own. Behind each result stands an M record whose letters the sources do not
explain: it is carried as it came. The instrument asks with Q or is sent its worklist: H, P ``|||^^^``, O with tests
and priority, L.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver
from protocols.driver import Match, Status
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import Decoded, HostQuery, Order
from protocols.worklist import echoed, joined

_NAME, _VERSION = "99^2.00", "1.00"


class StagoSta(AstmDriver):
    id: ClassVar[str] = "stago_sta"
    vendor: ClassVar[str] = "Diagnostica Stago"
    models: ClassVar[tuple[str, ...]] = (
        "STA Compact", "STA Compact Max", "STA Satellite", "STA Satellite Max", "STA-R", "STA-R Max",
    )  # fmt: skip
    source: ClassVar[str] = "STA Compact Max messages and STA orders in open integrations; contents of Stago's ANCG221"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        parts = header.components(5)
        if parts == ["99", "2.00"]:
            return Match(0.95, "H.5 is 99^2.00, the access code and version of a Stago STA")
        if len(parts) == 3 and parts[1:] == ["99", "3.00"]:
            return Match(0.95, f"H.5 is {parts[0]}^99^3.00, the access code and version of a Stago STA Max")
        return Match(0.0, "H.5 is not that of a Stago STA")

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        header = self.read(payload).header
        queries = [item for item in decoded.items if isinstance(item, HostQuery)]
        return [self._reply(query, orders, header, now) for query in queries]

    def _reply(
        self, query: HostQuery, orders: Mapping[str, Sequence[Order]], asker: Record | None, now: datetime
    ) -> bytes:
        specimens = orders if query.everything else query.specimens
        known = joined(order for specimen in specimens for order in orders.get(specimen, ()))
        if asker is None:
            return self._message(known, _NAME, _VERSION, now)
        return self._message(known, echoed(asker.raw(5)), echoed(asker.raw(13)) or _VERSION, now)

    def download(self, orders: Sequence[Order], now: datetime) -> Sequence[bytes]:
        """In the words of an STA Compact; a Max takes them, too."""
        return [self._message([order], _NAME, _VERSION, now) for order in joined(orders)]

    def _message(self, orders: Sequence[Order], name: str, version: str, now: datetime) -> bytes:
        header = ("H", "\\^&", "", "", name, *[""] * 6, "P", version, now.strftime("%Y%m%d%H%M%S"))
        records: list[Sequence[str]] = [header]
        for number, order in enumerate(orders, start=1):
            records += [self.patient_record(number, order), self.order_record(order)]
        return build_message([*records, ("L", "1", "N" if orders else "I")])

    def patient_record(self, number: int, order: Order) -> Sequence[str]:
        """P.5 is the patient with three empty components."""
        return ("P", str(number), "", "", f"{escape(order.patient_id or '')}^^^")

    def order_record(self, order: Order) -> Sequence[str]:
        tests = "\\".join(f"^^^{escape(code)}" for code in order.codes)
        return ("O", "1", escape(order.specimen), "", tests, order.priority)
