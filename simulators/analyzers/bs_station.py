"""A Mindray BS at its host line: QRY/QCK/DSR/ACK for each tube, an ORU for each test, an ACK awaited for each ORU."""

from __future__ import annotations

import time

from simulators.analyzers.blood import Tube
from simulators.analyzers.mindray_bs import Measured, MindrayBS
from simulators.analyzers.station import Settings, Station, Unanswered
from simulators.ledger import Ledger
from simulators.mllp import Mllp, field, segment
from simulators.wire import Connect, Line


class BsStation(Station):
    """`reply_s`: how long the host has to acknowledge a message."""

    def __init__(
        self,
        connect: Connect,
        ledger: Ledger,
        settings: Settings,
        *,
        analyzer: MindrayBS | None = None,
        reply_s: float = 10.0,
    ) -> None:
        super().__init__(connect, ledger, settings)
        self.analyzer = analyzer or MindrayBS()
        self.reply_s = reply_s
        self._mllp: Mllp | None = None

    def line_opened(self, line: Line) -> None:
        self._mllp = Mllp(line, "utf-8")

    def _open(self, line: Line) -> Mllp:
        assert self._mllp is not None
        return self._mllp

    def ask(self, line: Line, tube: Tube) -> tuple[str, ...]:
        mllp = self._open(line)
        number = self.analyzer.next_number()
        self.ledger.write("query", specimen=tube.barcode)
        mllp.send(self.analyzer.query(tube.barcode, number, self.now()))
        found = self._await(mllp, "QCK^Q02", number, self.settings.answer_s)
        if field(segment(found, "QAK"), 2) != "OK":
            self.ledger.write("answered", specimen=tube.barcode, codes=[], report_type="NF")
            return ()
        order = self._await(mllp, "DSR^Q03", None, self.settings.answer_s)
        barcode, codes = self.analyzer.read_order(order)
        mllp.send(self.analyzer.accept_order(order, self.now()))
        if barcode != tube.barcode:
            raise Unanswered(f"the answer is for {barcode!r}, asked was {tube.barcode!r}")
        self.ledger.write("answered", specimen=tube.barcode, codes=list(codes), report_type="OK")
        return codes

    def _await(self, mllp: Mllp, kind: str, number: str | None, timeout_s: float) -> list[str]:
        """The next message of `kind` that answers `number`; what belongs to an earlier exchange is passed over."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            found = mllp.receive(left)
            if found is None:
                break
            if field(segment(found, "MSH"), 9) == kind and number in (None, field(segment(found, "MSA"), 2)):
                return found
        raise Unanswered(f"no {kind} in time")

    def tell(self, tube: Tube, codes: tuple[str, ...]) -> None:
        measured = self.analyzer.measure(tube, codes, seed=self.settings.seed)
        size = self.analyzer.results_per_message or len(measured)
        for at in range(0, len(measured), size):
            if self.stopping.is_set():
                return
            self._tell_one(tube, measured[at : at + size])

    def _tell_one(self, tube: Tube, measured: list[Measured]) -> None:
        number = self.analyzer.next_number()
        segments = self.analyzer.results(tube, measured, number, self.now(), self.loaded)
        values = [
            {"specimen": tube.barcode, "code": each.code, "value": each.value, "unit": each.unit, "flag": each.flag}
            for each in measured
        ]
        self.deliver(values, lambda line: self._send(line, segments, number), specimen=tube.barcode, kind="patient")

    def run_control(self, run: int) -> None:
        for code in ("1", "11", "12", "16", "57", "58"):
            for level in "LH":
                number = self.analyzer.next_number()
                segments, found = self.analyzer.control(
                    code, level, "2611", number, seed=self.settings.seed + run, at=self.now()
                )
                values = [{"code": found.code, "value": found.value, "unit": found.unit}]
                self.deliver(
                    values,
                    lambda line, segments=segments, number=number: self._send(line, segments, number),  # type: ignore[misc]
                    kind="control",
                    level=level,
                )

    def _send(self, line: Line, segments: list[str], number: str) -> None:
        mllp = self._open(line)
        mllp.send(segments)
        answer = self._await(mllp, "ACK^R01", number, self.reply_s)
        code = field(segment(answer, "MSA"), 1)
        if code != "AA":
            raise Unanswered(f"the host answered {code}")
