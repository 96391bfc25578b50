"""Snibe MAGLUMI chemiluminescence analyzers (600 to 4000, X3 to X8), ASTM E1394-97 over TCP or a serial line.

Source: chapter 16 "Host result management" of Snibe's operating instructions (Maglumi 800, 1000) as public projects
quote its records and its link (harshilzala/lab-connector with three logs, a Maglumi 800 bridge, an OpenELIS bench
report of a Maglumi X3, MedLink LIS). Not captured by us.

What it adds to the standard: H.4 is ``PSWD``, H.5 and H.10 are free names of both sides (``Maglumi X3``, ``Lis``) and
stand so in both directions, H.14 is a date alone. Q.3 is ``^specimen``. The answer is one O for each test and ends
with its priority; the instrument stops reading a longer one. R.6 is free text, R.13 the end of the test by the
analyzer's own clock. The link is the simplified envelope, in which every control byte draws an ACK and nothing is
checked; with "Enable Checksum" set on the instrument it speaks ordinary ASTM frames: option `framing` "astm". How
controls are marked, and what a host says when nothing is ordered, the sources do not show: O.12 Q and ``L|1|I`` of
the standard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver
from protocols.driver import Driver, Match, Status
from protocols.errors import DriverOptionError
from protocols.links.astm_envelope import AstmEnvelopeLink
from protocols.links.contract import Link
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import Decoded, HostQuery, Order
from protocols.worklist import echoed, joined


class SnibeMaglumi(AstmDriver):
    id: ClassVar[str] = "snibe_maglumi"
    vendor: ClassVar[str] = "Snibe"
    models: ClassVar[tuple[str, ...]] = (
        "MAGLUMI 600", "MAGLUMI 800", "MAGLUMI 1000", "MAGLUMI 2000", "MAGLUMI 4000", "MAGLUMI X3", "MAGLUMI X6",
        "MAGLUMI X8",
    )  # fmt: skip
    source: ClassVar[str] = (
        "Snibe operating instructions ch. 16 as lab-connector, a Maglumi 800 bridge and OpenELIS quote it"
    )
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "within the reference range",
        "L": "below the reference range",
        "H": "above the reference range",
    }
    framing: str = "envelope"

    def configured(self, options: Mapping[str, object]) -> Driver:
        """`framing`: "envelope" (no checksum on the instrument) or "astm" (its "Enable Checksum" is set)."""
        driver = copy(self)
        for key, value in options.items():
            if key != "framing" or value not in ("envelope", "astm"):
                raise DriverOptionError(key, f"not taken: {value!r}", 'the option is framing = "envelope" or "astm"')
            driver.framing = str(value)
        return driver

    def new_link(self) -> Link:
        return AstmEnvelopeLink() if self.framing == "envelope" else super().new_link()

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        name = header.text(5)
        if "MAGLUMI" in name.upper():
            return Match(1.0, f"H.5 names a {name}")
        if header.text(4) == "PSWD" and header.text(13) == "E1394-97":
            return Match(0.7, "H.4 is PSWD and H.13 E1394-97, as Snibe writes them; H.5 is a name of the laboratory")
        return Match(0.0, "neither H.4 nor H.5 is a MAGLUMI's")

    # ------------------------------------------------------------------ orders

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        header = self.read(payload).header
        queries = [item for item in decoded.items if isinstance(item, HostQuery)]
        return [self._reply(query, orders, header, now) for query in queries]

    def _reply(
        self, query: HostQuery, orders: Mapping[str, Sequence[Order]], asker: Record | None, now: datetime
    ) -> bytes:
        """The header comes back as it was sent, with today's date."""
        password, them, us = (echoed(asker.raw(n)) if asker is not None else "" for n in (4, 5, 10))
        header = ("H", "\\^&", "", password, them, "", "", "", "", us, "", "P", "E1394-97", now.strftime("%Y%m%d"))
        records: list[Sequence[str]] = [header]
        specimens = orders if query.everything else query.specimens
        known = joined(order for specimen in specimens for order in orders.get(specimen, ()))
        for number, order in enumerate(known, start=1):
            records.append(self.patient_record(number, order))
            records += [
                ("O", str(n), escape(order.specimen), "", f"^^^{escape(code)}", order.priority)
                for n, code in enumerate(order.codes, start=1)
            ]
        return build_message([*records, ("L", "1", "N" if known else "I")])
