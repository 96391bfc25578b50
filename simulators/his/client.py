"""Sends to the laboratory until it says AA: an order that nobody took is an order lost."""

from __future__ import annotations

import threading

from simulators.ledger import Ledger
from simulators.mllp import Mllp, field, segment
from simulators.wire import Connect, Line, LineBroken


class HisClient:
    """One line to the laboratory. A message goes out again under the same number until it is accepted."""

    def __init__(self, connect: Connect, ledger: Ledger, *, reply_s: float = 10.0, pause_s: float = 0.5) -> None:
        self.connect = connect
        self.ledger = ledger
        self.reply_s = reply_s
        self.pause_s = pause_s
        self.stopping = threading.Event()
        self._line: Line | None = None
        self._mllp: Mllp | None = None

    def send(self, segments: list[str], *, most: int | None = None, **about: object) -> list[str] | None:
        """The other side's answer with AA; None when we were stopped before it came, or tried `most` times."""
        number = field(segment(segments, "MSH"), 10)
        attempt = 0
        while not self.stopping.is_set() and attempt != most:
            attempt += 1
            try:
                answer = self._exchange(segments, number)
            except LineBroken as error:
                self.hang_up()
                self.ledger.write("not accepted", number=number, attempt=attempt, reason=str(error), **about)
                self.stopping.wait(self.pause_s)
                continue
            code = field(segment(answer, "MSA"), 1)
            if code == "AA":
                self.ledger.write("accepted", number=number, attempt=attempt, **about)
                return answer
            reason = field(segment(answer, "MSA"), 3) or field(segment(answer, "ERR"), 8)
            self.ledger.write("not accepted", number=number, attempt=attempt, reason=f"{code} {reason}", **about)
            self.stopping.wait(self.pause_s)
        return None

    def _exchange(self, segments: list[str], number: str) -> list[str]:
        if self._mllp is None:
            self._line = self.connect()
            self._mllp = Mllp(self._line)
        self._mllp.send(segments)
        while True:
            found = self._mllp.receive(self.reply_s)
            if found is None:
                raise LineBroken("no answer in time")
            if field(segment(found, "MSA"), 2) == number:
                return found

    def hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = self._mllp = None
