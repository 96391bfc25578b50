"""Roche cobas c 111 chemistry analyzer, ASTM E1394-91.

Source: Roche "cobas c 111 Host Interface Manual" 2.1 (header p. 41, order p. 44, result p. 49-50) in public manual
archives; senaite.astm's description of its results; two public LIS integrations for orders. No capture: not proved on
an instrument.

H.5 is ``name^Roche^c111^software^protocol^serial``. O.3 is blank in results, O.4 is ``sample^^position``. Records come
in frames of their own that end with ETB, the last with ETX. A result blocked by the analyzer has status X and no value;
status I is a control that does not count. Comments behind a result are ``flag number^text``, M records raw absorbances
and calibrations. The analyzer tries a frame three times and never sends a lost result again by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import Context, Test, Value
from protocols.dialects.cobas import CobasHost
from protocols.driver import Match, Status
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import HostQuery, InstrumentEvent, Order, QcMark

_MANUFACTURER = {"RR": "photometric raw data", "CR": "photometric calibration"}


class RocheC111(CobasHost):
    id: ClassVar[str] = "roche_c111"
    vendor: ClassVar[str] = "Roche"
    models: ClassVar[tuple[str, ...]] = ("cobas c 111",)
    source: ClassVar[str] = "cobas c 111 Host Interface Manual 2.1; senaite.astm; public LIS integrations (orders)"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "normal",
        "L": "less than the reference range (a control: than its range)",
        "H": "higher than the reference range (a control: than its range)",
        "<": "below the absolute low scale of the assay (test range)",
        ">": "above the absolute high scale of the assay (test range)",
        "A": "abnormal: technical problem",
    }

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is not None and header.component(5, 3).lower() == "c111":
            return Match(1.0, f"H.5 names a Roche c111, software {header.component(5, 4)}")
        return Match(0.0, "H.5 names no c111")

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        """O.4 is what the analyzer knows the tube by; O.3 serves where it is blank."""
        sample = order.component(4, 1) or order.component(3, 1)
        return sample or None, None, order.component(4, 3) or None

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q; the sample is then 1000 + the control's code."""
        return QcMark(material=context.specimen) if order.text(12) == "Q" else None

    def test(self, parts: Sequence[str]) -> Test:
        """``^^^test^treatment``: the treatment (A automatic, D100 diluted hundredfold) is the dilution."""
        if len(parts) < 4:
            return "^".join(filter(None, parts)), None, None
        return parts[3], None, "^".join(filter(None, parts[4:])) or None

    def value(self, result: Record) -> Value:
        return result.text(4), ()

    def manufacturer(self, record: Record, context: Context) -> None:
        name = _MANUFACTURER.get(record.component(3, 1), "manufacturer record")
        context.items.append(InstrumentEvent(name, context.specimen, record.whole(), record=record.index))

    # ------------------------------------------------------------------ host query

    def host_query(self, record: Record) -> HostQuery:
        """The first component of Q.3 that is not blank is the sample (no source shows an inquiry)."""
        sample = next((part for part in record.components(3) if part), "")
        context = {"asked": escape(sample), "status": record.text(13)}
        return HostQuery(specimens=(sample,) if sample else (), context=context, record=record.index)

    def answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], now: datetime) -> bytes:
        """As integrations send it; without an order an O with no test. L.3 may only be N or E here."""
        known = [each for specimen in query.specimens for each in orders.get(specimen, ()) if not each.cancelled]
        header = self.order_header(self.receiver(query.context.get("sender", "")), "TSDWN^REPLY", now)
        order = self.test_order(query.context.get("asked", ""), "", known)
        return build_message([header, ("P", "1"), order, ("L", "1", "N")])

    def download(self, orders: Sequence[Order], now: datetime) -> Sequence[bytes]:
        """No source shows orders that were not asked for."""
        return ()

    def order_header(self, receiver: str, purpose: str, now: datetime) -> tuple[str, ...]:
        return (*super().order_header(receiver, purpose, now), now.strftime("%Y%m%d%H%M%S"))

    def test_order(self, sample: str, place: str, orders: Sequence[Order]) -> tuple[str, ...]:
        codes = dict.fromkeys(code for order in orders for code in order.codes)
        tests = "\\".join(f"^^^{escape(code)}" for code in codes)
        priority = "S" if any(order.priority == "S" for order in orders) else "R"
        return ("O", "1", sample, "", tests, priority, *[""] * 5, "A", *[""] * 13, "O\\Q")
