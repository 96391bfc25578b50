"""Siemens (DPC) IMMULITE 1000, 2000, 2500 immunoassay systems, ASTM E1394.

Source: the IMMULITE LIS specification (600129-H) as levinalex/lis quotes it, with example records of H, P, O, R and
the order it sends; that project ran against an IMMULITE 2500. Not captured by us.

What it adds to the standard: H.4 is a password, H.5 a name that the laboratory sets (DPC CIRRUS as delivered), H.9
the line's parameters (N81). R.6 holds the normal and the analytical limits of both ends, ``low\\analytical
low^high\\analytical high``, and stays as sent. R.12 and R.13 are start and end, R.14 is the instrument. An order is
one O for each test.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver
from protocols.driver import Match, Status
from protocols.messages.astm import build_message, escape, read_message
from protocols.model import Decoded, HostQuery, Order
from protocols.worklist import echoed, joined

_LINE = re.compile(r"[NEO][78][12]|[78][NEO][12]")
"""H.9: parity, data bits, stop bits."""


class SiemensImmulite(AstmDriver):
    id: ClassVar[str] = "siemens_immulite"
    vendor: ClassVar[str] = "Siemens"
    models: ClassVar[tuple[str, ...]] = ("IMMULITE 1000", "IMMULITE 2000", "IMMULITE 2000 XPi", "IMMULITE 2500")
    source: ClassVar[str] = "IMMULITE LIS specification 600129-H as levinalex/lis quotes it"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {"N": "normal"}

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        name = header.text(5)
        if name.upper().startswith(("DPC", "IMMULITE")):
            return Match(1.0, f"H.5 names {name}")
        if header.text(4) and _LINE.fullmatch(header.text(9)):
            return Match(0.5, "H.4 holds a password and H.9 the line's parameters, as an IMMULITE's header does")
        return Match(0.0, "H.5 is no IMMULITE and H.9 no line parameters")

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        header = self.read(payload).header
        asker = echoed(header.raw(5)) if header is not None else ""
        return [self._reply(query, orders, asker, now) for query in decoded.items if isinstance(query, HostQuery)]

    def _reply(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], asker: str, now: datetime) -> bytes:
        sent_at = now.strftime("%Y%m%d%H%M%S")
        records: list[Sequence[str]] = [("H", "\\^&", "", "", "LIS", "", "", "", "8N1", asker, "", "P", "1", sent_at)]
        specimens = orders if query.everything else query.specimens
        known = joined(order for specimen in specimens for order in orders.get(specimen, ()))
        for number, order in enumerate(known, start=1):
            records.append(self.patient_record(number, order))
            records += [
                ("O", str(n), escape(order.specimen), "", f"^^^{escape(code)}", order.priority, sent_at)
                for n, code in enumerate(order.codes, start=1)
            ]
        return build_message([*records, ("L", "1", "N" if known else "I")])

    def patient_record(self, number: int, order: Order) -> Sequence[str]:
        """P.3 patient, P.6 name, P.8 birth date, P.9 sex: each only if the order has it."""
        birth = (order.birth_date or "").replace("-", "")
        known = (escape(order.patient_id or ""), "", "", escape(order.patient_name or ""), "", birth, order.sex or "")
        return ("P", str(number), *known) if any(known) else ("P", str(number))
