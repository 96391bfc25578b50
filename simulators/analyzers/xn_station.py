"""A Sysmex XN at its host line: a query session for each tube, a result session for each analysis."""

from __future__ import annotations

from simulators.analyzers.astm_session import (
    AstmSession,
    NotDelivered,
    Timing,
    frames_by_message,
    frames_by_record,
)
from simulators.analyzers.blood import Tube
from simulators.analyzers.station import Settings, Station, Unanswered
from simulators.analyzers.sysmex_xn import SysmexXN
from simulators.ledger import Ledger
from simulators.wire import Connect, Line


class XnStation(Station):
    """`framing`: "record" sends a frame for each record (240 characters, ETB beyond), "message" one frame for all."""

    def __init__(
        self,
        connect: Connect,
        ledger: Ledger,
        settings: Settings,
        *,
        analyzer: SysmexXN | None = None,
        timing: Timing | None = None,
        framing: str = "record",
    ) -> None:
        super().__init__(connect, ledger, settings)
        self.analyzer = analyzer or SysmexXN()
        self.timing = timing or Timing()
        self._frames = frames_by_record if framing == "record" else frames_by_message
        self._session: AstmSession | None = None

    def line_opened(self, line: Line) -> None:
        self._session = AstmSession(line, self.timing)

    def _talk(self, line: Line, records: list[str]) -> AstmSession:
        session = self._session
        assert session is not None
        try:
            session.send(self._frames(records))
        except NotDelivered as error:
            raise Unanswered(str(error)) from error
        return session

    def _place(self) -> tuple[int, int]:
        """Rack and position of the tube that is being read: ten to a rack."""
        return (self.loaded - 1) // 10 % 99 + 1, (self.loaded - 1) % 10 + 1

    def ask(self, line: Line, tube: Tube) -> tuple[str, ...]:
        rack, position = self._place()
        self.ledger.write("query", specimen=tube.barcode)
        session = self._talk(line, self.analyzer.query(tube.barcode, rack, position, self.now()))
        text = session.receive(self.settings.answer_s)
        answer = self.analyzer.read_answer(text) if text is not None else None
        if answer is None:
            raise Unanswered("no answer to the query")
        if answer.barcode != tube.barcode:
            raise Unanswered(f"the answer is for {answer.barcode!r}, asked was {tube.barcode!r}")
        self.ledger.write("answered", specimen=tube.barcode, codes=list(answer.codes), report_type=answer.report_type)
        return answer.codes

    def tell(self, tube: Tube, codes: tuple[str, ...]) -> None:
        rack, position = self._place()
        at = self.now()
        records, measured = self.analyzer.results(
            tube, codes, seed=self.settings.seed, rack=rack, position=position, at=at
        )
        values = [
            {"specimen": tube.barcode, "code": each.code, "value": each.value, "unit": each.unit, "flag": each.flag}
            for each in measured
        ]
        self.deliver(values, lambda line: self._send(line, records), specimen=tube.barcode, kind="patient")

    def run_control(self, run: int) -> None:
        for level in (1, 2, 3):
            records, measured = self.analyzer.control(level, "6330", seed=self.settings.seed + run, at=self.now())
            values = [{"code": each.code, "value": each.value, "unit": each.unit} for each in measured]
            self.deliver(values, lambda line, records=records: self._send(line, records), kind="control", level=level)  # type: ignore[misc]

    def _send(self, line: Line, records: list[str]) -> None:
        self._talk(line, records)
