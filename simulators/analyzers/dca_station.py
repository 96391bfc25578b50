"""A DCA Vantage at its host line: it names itself on every new line, sends what it has stored when it is asked, then
each new result at once; a result that was not acknowledged is kept and sent again as such."""

from __future__ import annotations

import time

from simulators.analyzers.blood import Tube
from simulators.analyzers.siemens_dca import Heard, Reading, SiemensDca, take_document
from simulators.analyzers.station import Settings, Station, Unanswered
from simulators.ledger import Ledger
from simulators.wire import Connect, Line, LineBroken


class DcaStation(Station):
    """`reply_s`: the device's application timeout."""

    def __init__(
        self,
        connect: Connect,
        ledger: Ledger,
        settings: Settings,
        *,
        analyzer: SiemensDca | None = None,
        reply_s: float = 10.0,
    ) -> None:
        super().__init__(connect, ledger, settings)
        self.analyzer = analyzer or SiemensDca()
        self.reply_s = reply_s
        self._buffer = bytearray()
        self._stored: str | None = None

    def line_opened(self, line: Line) -> None:
        """HEL, DST, the stored result if the host asks for it, then continuous mode."""
        self._buffer.clear()
        try:
            self._introduce(line)
        except Unanswered as error:
            raise LineBroken(str(error)) from error

    def _introduce(self, line: Line) -> None:
        self._say(line, self.analyzer.hello(self.now()))
        self._say(line, self.analyzer.status(1 if self._stored else 0, self.now()))
        while True:
            asked = self._hear(line)
            if asked.fields.get("REQ.request_cd") == "ROBS":
                self._tell_stored(line)
                line.write(self.analyzer.end_of_topic(asked.control_id, self.now())[0].encode())
            elif asked.kind == "DTV.R01":
                line.write(self.analyzer.accept(asked.control_id, self.now())[0].encode())
                return
            else:
                raise Unanswered(f"{asked.kind} was not expected")

    def ask(self, line: Line, tube: Tube) -> tuple[str, ...]:
        """A device at the point of care asks nobody: it measures what its cartridge measures."""
        return ("HbA1c", "eAG")

    def tell(self, tube: Tube, codes: tuple[str, ...]) -> None:
        readings = self.analyzer.measure(tube, seed=self.settings.seed)
        measured_at = self.now()
        self._stored = self.analyzer.observation(tube.barcode, readings, measured_at)
        values = [_entry(tube.barcode, each) for each in readings]
        self.deliver(values, self._tell_stored, specimen=tube.barcode, kind="patient")

    def run_control(self, run: int) -> None:
        """Controls of this device are run by hand and not simulated."""
        self.ledger.write("no_control", run=run)

    def _tell_stored(self, line: Line) -> None:
        """Send what is stored, unless the conversation that opened the line has delivered it already."""
        service = self._stored
        if service is None:
            return
        self._stored = service.replace('V="NEW"', 'V="RES"')  # until the host has acknowledged it
        self._say(line, self.analyzer.document("OBS.R01", service, self.now()))
        self._stored = None

    def _say(self, line: Line, said: tuple[str, str]) -> None:
        text, control_id = said
        line.write(text.encode())
        answer = self._hear(line)
        if answer.kind != "ACK.R01" or answer.fields.get("ACK.ack_control_id") != control_id:
            raise Unanswered(f"{answer.kind} instead of an ACK of {control_id}")
        if answer.fields.get("ACK.type_cd") != "AA":
            raise Unanswered(f"the host answered {answer.fields.get('ACK.type_cd')}")

    def _hear(self, line: Line) -> Heard:
        deadline = time.monotonic() + self.reply_s
        while (found := take_document(self._buffer)) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unanswered("the host said nothing within the application timeout")
            self._buffer += line.read(left)
        return found


def _entry(barcode: str, reading: Reading) -> dict[str, str]:
    return {
        "specimen": barcode, "code": reading.code, "value": reading.value, "unit": reading.unit, "flag": reading.flag,
    }  # fmt: skip
