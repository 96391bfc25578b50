"""BD EpiCenter and what reports through it (BACTEC FX, BACTEC MGIT 960, Phoenix, ProbeTec), ASTM E1394.

Source: the EpiCenter LIS interface as andes/epicenter quotes it (example records of H, P, O, R, C, the components of
R.3, R.4, R.13 and R.14, the order it sends), and an open BACTEC FX service that quotes the host query. Not captured
by us.

How organism and susceptibility are carried: every component of R.4 is a result of its own. The code is the test type
with what R.3 adds to it (``AST_MIC^P`` is antibiotic P, ``AST_MGIT^P^0.5^ug/ml`` with its concentration) and, but for
the main value, the name of the component: GND* status, ``GND^growth units``; ID organism, ``ID^status``, ``ID^profile
number``, ``ID^resistance marker 1`` to 5; AST_MIC the MIC, AST_DIA the diameter, and for every AST ``^status``,
``^final``, ``^interpreted``, ``^expert`` (S, I, R) and ``^source test``. The name is ``isolate^organism`` of O.3
where the order has them, else the number of the bottle or panel (R.3.5). R.14 is
``instrument^medium^protocol^number^station^QC type^QC kit lot``; a QC type marks quality control. One O orders one
test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Test
from protocols.driver import Match, Status
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.messages.times import iso_time
from protocols.model import HostQuery, Observation, Order, QcMark, Undecoded, changed
from protocols.worklist import digits_of_time, joined

_MAIN = ""
_SUSCEPTIBILITY = ("final", "interpreted", "expert", "source test")
_MARKERS = tuple(f"resistance marker {n}" for n in range(1, 6))
_ASPECTS: Mapping[str, tuple[str, ...]] = {
    "GND": (_MAIN, "growth units"),
    "GND_MGIT": (_MAIN, "growth units"),
    "GND_PROBETEC": (_MAIN, "algorithmic result"),
    "ID": ("status", _MAIN, "profile number", *_MARKERS),
    "AST": ("status", "growth units", *_SUSCEPTIBILITY),
    "AST_MGIT": ("status", "growth units", *_SUSCEPTIBILITY),
    "AST_MIC": ("status", _MAIN, *_SUSCEPTIBILITY),
    "AST_DIA": ("status", _MAIN, *_SUSCEPTIBILITY),
}
"""What the components of R.4 are, for each test type of R.3.4."""


class BdEpicenter(AstmDriver):
    id: ClassVar[str] = "bd_epicenter"
    vendor: ClassVar[str] = "Becton Dickinson"
    models: ClassVar[tuple[str, ...]] = ("EpiCenter", "BACTEC FX", "BACTEC MGIT 960", "Phoenix 100", "ProbeTec ET")
    source: ClassVar[str] = "EpiCenter LIS interface as andes/epicenter and an open BACTEC FX service quote it"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True

    def fingerprint(self, payload: bytes) -> Match:
        message = read_message(payload[:4096])
        if message.header is None:
            return Match(0.0, "no ASTM header record")
        if message.header.text(5).upper() == "BECTON DICKINSON":
            return Match(1.0, "H.5 names Becton Dickinson")
        for record in message.records:
            if record.kind == "R" and record.component(3, 4) in _ASPECTS and record.component(4, 1).startswith("INST_"):
                return Match(0.8, f"R.3 and R.4 are EpiCenter's: {record.component(3, 4)}, {record.component(4, 1)}")
        return Match(0.0, "H.5 is not Becton Dickinson and no result is of its kind")

    # ------------------------------------------------------------------ results

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        return order.component(3, 1) or None, None, None

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q of the standard. O.16 is the specimen type and no level."""
        mark = super().qc_mark(order, context)
        return QcMark(material=mark.material) if mark is not None else None

    def test(self, parts: Sequence[str]) -> Test:
        test_type = parts[3] if len(parts) > 3 else ""
        return ("^".join(filter(None, (test_type, *parts[5:8]))) if test_type else ""), None, None

    def observation(self, record: Record, context: Context) -> Observation | Undecoded:
        """Each aspect of the result is one: the last is handed back, those before it stand before it."""
        found = super().observation(record, context)
        if isinstance(found, Undecoded):
            return found
        isolate = [part for part in context.order.components(3)[1:3] if part] if context.order is not None else []
        instrument = [*record.components(14), *[""] * 7]
        control = instrument[5]
        whole = changed(
            found,
            name="^".join(isolate) or record.component(3, 5) or None,
            observed_at=iso_time((record.components(13) or [""])[0]) or found.observed_at,
            module="^".join(filter(None, (instrument[0], instrument[3]))) or None,
            position=instrument[4] or None,
            qc=QcMark(material=control, lot=instrument[6] or None) if control else found.qc,
        )
        *earlier, last = self._aspects(record, whole)
        context.items += earlier
        return last

    def _aspects(self, record: Record, whole: Observation) -> Iterator[Observation]:
        """Each filled component of R.4; one item with all where the test type is not known."""
        names = _ASPECTS.get(record.component(3, 4))
        values = record.components(4)
        if names is None or len(values) > len(names) or not any(values):
            yield whole
            return
        for name, value in zip(names, values, strict=False):
            if value:
                yield changed(whole, code=f"{whole.code}^{name}" if name else whole.code, value=value)

    # ------------------------------------------------------------------ orders

    def answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], now: datetime) -> bytes:
        header = ("H", "\\^&", *[""] * 11, now.strftime("%Y%m%d%H%M%S"))
        specimens = orders if query.everything else query.specimens
        known = joined(order for specimen in specimens for order in orders.get(specimen, ()))
        return build_message([header, *self._records(known), ("L", "1", "F" if known else "I")])

    def download(self, orders: Sequence[Order], now: datetime) -> Sequence[bytes]:
        sent_at = now.strftime("%Y%m%d%H%M%S")
        header = ("H", "\\^&", "", "", "Becton Dickinson", *[""] * 7, "V1.00", sent_at)
        return [build_message([header, *self._records([order]), ("L", "1", "N")]) for order in joined(orders)]

    def _records(self, orders: Sequence[Order]) -> Iterator[Sequence[str]]:
        for number, order in enumerate(orders, start=1):
            yield self.patient_record(number, order)
            collected = digits_of_time(order.collected_at)
            kind = escape(order.specimen_type or "")
            for n, code in enumerate(order.codes, start=1):
                head = ("O", str(n), escape(order.specimen), "", f"^^^{escape(code)}", order.priority, "", collected)
                yield (*head, "", "", "", "A", "", "", "", kind, *[""] * 9, "O")
