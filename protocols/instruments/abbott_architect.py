"""Abbott ARCHITECT i and c systems, Abbott Standard Interface (ASI), ASTM E1394-91.

Source: the Abbott Standard Interface RS-232 manual for ARCHITECT as public projects quote it: senaite.astm
(abbott_architect.py: the fields of H, P, O, R and C with their meanings), go-astm (messages of an i system in its
tests), and open integrations of the ASI (the answer to a query and the negative answer ``Q ... X``). Not captured by
us.

What the ASI adds to the standard: O.4 is ``specimen^carrier^position``. R.3 is ``^^^number^name^dilution protocol^
assay status^reagent lot^reagent serial^control lot^result type``; the serial number of the reagent kit is not carried
on. One test comes as up to three results, told apart by the result type: F the concentration, I its interpretation, P
the instrument's response (RLU, Abs, mV). F keeps the bare number as its code; the others are ``number^I`` and
``number^P``; an assay installed as correlation version (status C) has ``number^C`` before that. Several flags stand
as components of R.7. O.26 X says that a test could not be performed; the comment behind it is the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Test
from protocols.driver import Match, Status
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import HostQuery, InstrumentEvent, Observation, Order, QcMark, Undecoded, changed
from protocols.worklist import digits_of_time, joined

_REAGENT_LOT, _CONTROL_LOT, _RESULT_TYPE = 8, 10, 11
"""Components of R.3."""
_HEADER = ("H", "\\^&", *[""] * 9, "P", "1")
_WESTGARD = (
    "1-2s", "1-3s", "2-2s1R1M", "2-2s1RxM", "2-2sxR1M", "R-4s", "4-1s1M", "4-1sxM", "10-x1M", "10-xxM",
)  # fmt: skip


class AbbottArchitect(AstmDriver):
    id: ClassVar[str] = "abbott_architect"
    vendor: ClassVar[str] = "Abbott"
    models: ClassVar[tuple[str, ...]] = (
        "ARCHITECT i1000SR", "ARCHITECT i2000", "ARCHITECT i2000SR", "ARCHITECT c4000", "ARCHITECT c8000",
        "ARCHITECT c16000", "ARCHITECT ci4100", "ARCHITECT ci8200", "ARCHITECT ci16200",
    )  # fmt: skip
    source: ClassVar[str] = (
        "Abbott Standard Interface manual for ARCHITECT as senaite.astm quotes it; go-astm and open ASI integrations"
    )
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "<": "below the dynamic range",
        ">": "above the dynamic range",
        **{rule: f"Westgard rule {rule} of a control" for rule in _WESTGARD},
    }

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        if header.component(5, 1).upper() == "ARCHITECT":
            return Match(1.0, f"H.5 names an ARCHITECT, software {header.component(5, 2) or 'not told'}")
        return Match(0.0, "H.5 is not an ARCHITECT")

    # ------------------------------------------------------------------ results

    def begin_order(self, record: Record, context: Context) -> None:
        super().begin_order(record, context)
        if record.text(26) == "X":
            test = "^".join(filter(None, record.components(5)))
            context.items.append(
                InstrumentEvent("test could not be performed", context.specimen, test or None, record=record.index)
            )

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        specimen = order.component(3, 1) or order.component(4, 1)
        return specimen or None, order.component(4, 2) or None, order.component(4, 3) or None

    def test(self, parts: Sequence[str]) -> Test:
        if len(parts) < 5 or not parts[3]:
            return super().test(parts)
        number, name, dilution, assay_status = [*parts[3:], "", "", ""][:4]
        aspects = ["C"] if assay_status == "C" else []
        result_type = parts[_RESULT_TYPE - 1] if len(parts) >= _RESULT_TYPE else ""
        if result_type not in ("", "F"):
            aspects.append(result_type)
        return "^".join([number, *aspects]), name or None, dilution or None

    def observation(self, record: Record, context: Context) -> Observation | Undecoded:
        found = super().observation(record, context)
        if isinstance(found, Undecoded):
            return found
        qc = found.qc
        control_lot = record.component(3, _CONTROL_LOT)
        if control_lot and qc is not None:
            qc = QcMark(material=qc.material, level=qc.level, lot=control_lot)
        return changed(found, qc=qc, reagent_lot=record.component(3, _REAGENT_LOT) or None)

    # ------------------------------------------------------------------ orders

    def answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], now: datetime) -> bytes:
        """No order: the question comes back with X in Q.13, once for each specimen that was asked for."""
        specimens = orders if query.everything else query.specimens
        known = joined(order for specimen in specimens for order in orders.get(specimen, ()))
        if known:
            return self._message(known, "Q")
        asked = [f"^{escape(specimen)}" for specimen in query.specimens] or ["ALL"]
        refused = [("Q", str(n), each, "", "^^^ALL", *[""] * 7, "X") for n, each in enumerate(asked, start=1)]
        return build_message([_HEADER, *refused, ("L", "1")])

    def download(self, orders: Sequence[Order], now: datetime) -> Sequence[bytes]:
        """Orders that the host originates: the same records with report type O."""
        return [self._message([order], "O") for order in joined(orders)]

    def _message(self, orders: Sequence[Order], report_type: str) -> bytes:
        records: list[Sequence[str]] = [_HEADER]
        for number, order in enumerate(orders, start=1):
            tests = "\\".join(f"^^^{escape(code)}" for code in order.codes)
            head = ("O", "1", escape(order.specimen), "", tests, order.priority, "", digits_of_time(order.collected_at))
            tail = ("", "", "", "A", "", "", "", escape(order.specimen_type or ""), *[""] * 9, report_type)
            records += [self.patient_record(number, order), (*head, *tail)]
        return build_message([*records, ("L", "1")])
