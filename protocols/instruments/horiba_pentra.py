"""Horiba ABX Pentra haematology analyzers (Pentra 60, 60 C+, ES 60, 80, XL 80, XLR), ASTM E1394-97.

Source: senaite.astm's description of the Pentra XLR, which quotes Horiba "Output Formats" RAA040 (field tables, units,
statuses); public LIS integrations of the Pentra 60 and XLR (results) and of the Pentra (orders). RAA040's own contents
list says that every model takes orders and that the 80 and XL 80 ask for them. No capture: not proved on an instrument.

One record a frame. O.3 is ``sample^rack^position`` (XL 80, XLR), R.3 ``^^^parameter^LOINC^dilution``. R.5 may be the
number of a unit system (1 to 4) instead of a unit: it is handed on as sent, a channel is set up for it. R.9 says how
far a value may be trusted: W suspicion, N rejected, F final, X over capacity, M typed in, D by dilution. A comment
behind a result lists alarms and suspected pathologies. H.12 Q is quality control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Test
from protocols.driver import Match, Status
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import HostQuery, Order, QcMark


class HoribaPentra(AstmDriver):
    id: ClassVar[str] = "horiba_pentra"
    vendor: ClassVar[str] = "Horiba"
    models: ClassVar[tuple[str, ...]] = (
        "ABX Pentra 60", "ABX Pentra 60 C+", "ABX Pentra ES 60", "ABX Pentra 80", "ABX Pentra XL 80", "Pentra XLR",
    )  # fmt: skip
    source: ClassVar[str] = "senaite.astm (quotes Horiba RAA040); public LIS integrations of Pentra 60, XLR (orders)"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "L": "low",
        "H": "high",
        "LL": "very low (panic)",
        "HH": "very high (panic)",
        ">": "over the range",
    }

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is not None and header.component(5, 1) == "ABX":
            return Match(1.0, "H.5 is ABX, the name of a Pentra")
        return Match(0.0, "H.5 is not ABX")

    # ------------------------------------------------------------------ results

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        parts = [*order.components(3), "", ""]
        sample = parts[0] or order.component(4, 1)
        return sample or None, parts[1] or None, parts[2] or None

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """H.12 Q, or O.12 as in the standard; no source says where the level stands."""
        return QcMark(material=context.specimen) if super().qc_mark(order, context) is not None else None

    def test(self, parts: Sequence[str]) -> Test:
        parts = [*parts, "", "", "", "", "", ""]
        if not parts[3]:
            return "^".join(filter(None, parts)), None, None
        return parts[3], parts[4] or None, parts[5] or None

    # ------------------------------------------------------------------ orders

    def reply_header(self, now: datetime) -> tuple[str, ...]:
        stamp = now.strftime("%Y%m%d%H%M%S")
        return ("H", "\\^&", "", "", "ABX", "", "", "", "", "", "", "P", "E1394-97", stamp)

    def answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], now: datetime) -> bytes:
        """Panels (CBC, DIF, RET ...) as tests. None: L.3 "I" (LIS02-A2 13.3; no source shows Horiba's own)."""
        asked = list(orders) if query.everything else list(query.specimens)
        known = [each for specimen in asked for each in orders.get(specimen, ()) if not each.cancelled]
        return self._worklist(known, now)

    def download(self, orders: Sequence[Order], now: datetime) -> Sequence[bytes]:
        known = [order for order in orders if not order.cancelled and order.codes]
        return [self._worklist(known, now)] if known else ()

    def _worklist(self, orders: Sequence[Order], now: datetime) -> bytes:
        records: list[Sequence[str]] = [self.reply_header(now)]
        for number, order in enumerate(orders, start=1):
            tests = "\\".join(f"^^^{escape(code)}" for code in order.codes)
            head = ("O", "1", escape(order.specimen), "", tests, order.priority, now.strftime("%Y%m%d%H%M%S"))
            records += [self.patient_record(number, order), (*head, *[""] * 4, "N", *[""] * 3, "1")]
        return build_message([*records, ("L", "1", "N" if orders else "I")])
