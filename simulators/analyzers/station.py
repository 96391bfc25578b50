"""An analyzer at work: tubes in a rack, a line to the host, and the stubbornness to deliver every result.

`Station` is what all analyzers share; `XnStation` and `BsStation` add how each of them asks and tells. A message that
was not acknowledged is sent again whole, at most six times in a row; then the analyzer shows it as unsent and its
operator presses "send again" after a while, as on a bench.
"""

from __future__ import annotations

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from simulators.analyzers.blood import Tube
from simulators.ledger import Ledger
from simulators.wire import Connect, Line, LineBroken

TRIES = 6
Ask = Callable[[Line], tuple[str, ...]]
Send = Callable[[Line], None]


class Unanswered(Exception):
    """The host did not do its part in time; the line is given up and opened anew."""


class Control:
    """A run of control material, wished for by the operator."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How this analyzer is set up."""

    name: str
    """Name of the analyzer in its ledger."""
    seed: int = 1
    timezone: str = "Asia/Shanghai"
    analysis_s: float = 0.0
    """Time from the answer to the result."""
    answer_s: float = 10.0
    """How long the host has for the answer to a query."""
    ask_again_s: float = 2.0
    """Pause before a tube without an order is put on again."""
    ask_limit: int = 100_000
    """How often a tube without an order is put on before the operator takes it away."""
    held_s: float = 5.0
    """Pause before the operator sends again what was given up after six tries."""


class Station(ABC):
    """The loop of one analyzer. `rack` takes `Tube`s and `Control`; None ends the work when all before it is done."""

    def __init__(self, connect: Connect, ledger: Ledger, settings: Settings) -> None:
        self.connect = connect
        self.ledger = ledger
        self.settings = settings
        self.rack: queue.Queue[Tube | Control | None] = queue.Queue()
        self.stopping = threading.Event()
        self.line: Line | None = None
        self.messages = 0
        self.loaded = 0
        self._zone = ZoneInfo(settings.timezone)
        self._control_runs = 0
        self._ended = False

    def now(self) -> datetime:
        """The analyzer's own wall clock."""
        return datetime.now(self._zone)

    def run(self) -> None:
        """Work until the rack says None or `stopping` is set."""
        again: list[tuple[float, Tube, int]] = []
        while not self.stopping.is_set():
            item = self._take(again)
            if item is None:
                if self._ended and not again:
                    break
                continue
            if isinstance(item, Control):
                self._control_runs += 1
                self.run_control(self._control_runs)
                continue
            tube, asked = item
            if not self._process(tube, asked) and asked + 1 < self.settings.ask_limit:
                again.append((time.monotonic() + self.settings.ask_again_s, tube, asked + 1))
        self.hang_up()
        self.ledger.write("stopped")

    def _take(self, again: list[tuple[float, Tube, int]]) -> Control | tuple[Tube, int] | None:
        if again and again[0][0] <= time.monotonic():
            _, tube, asked = again.pop(0)
            return tube, asked
        try:
            found = self.rack.get(timeout=0.05)
        except queue.Empty:
            return None
        if found is None:
            self._ended = True
            return None
        if isinstance(found, Control):
            return found
        self.loaded += 1
        return found, 0

    def _process(self, tube: Tube, asked: int) -> bool:
        """One tube: ask, measure what was ordered, tell. False: no order yet."""
        codes = self._until_delivered(lambda line: self.ask(line, tube))
        if codes is None:
            return True
        if not codes:
            if asked == 0:
                self.ledger.write("no_order", specimen=tube.barcode)
            return False
        self.stopping.wait(self.settings.analysis_s)
        self.tell(tube, codes)
        return True

    def _until_delivered(self, ask: Ask) -> tuple[str, ...] | None:
        """The host's answer, asked for as often as the line breaks; None when we are being stopped."""
        while not self.stopping.is_set():
            try:
                return ask(self.open_line())
            except (LineBroken, Unanswered) as error:
                self.ledger.write("query_failed", reason=str(error))
                self.hang_up()
                self.stopping.wait(0.3)
        return None

    def deliver(self, observations: Sequence[dict[str, str]], send: Send, **about: object) -> bool:
        """Send one message until it is acknowledged; every try is in the ledger. False when we are being stopped."""
        self.messages += 1
        number = self.messages
        self.ledger.write("message", message=number, observations=list(observations), **about)
        attempt = 0
        while not self.stopping.is_set():
            try:
                line = self.open_line()
            except LineBroken:
                self.hang_up()
                self.stopping.wait(0.2)
                continue
            attempt += 1
            self.ledger.write("sending", message=number, attempt=attempt)
            try:
                send(line)
            except (LineBroken, Unanswered) as error:
                self.ledger.write("not_acknowledged", message=number, attempt=attempt, reason=str(error))
                self.hang_up()
                self.stopping.wait(self.settings.held_s if attempt % TRIES == 0 else 0.3)
            else:
                self.ledger.write("acknowledged", message=number, attempt=attempt)
                return True
        return False

    def open_line(self) -> Line:
        if self.line is None:
            self.line = self.connect()
            self.ledger.write("connected")
            self.line_opened(self.line)
        return self.line

    def hang_up(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None

    @abstractmethod
    def line_opened(self, line: Line) -> None:
        """The line is new: forget what was half said on the old one."""

    @abstractmethod
    def ask(self, line: Line, tube: Tube) -> tuple[str, ...]:
        """Codes the host orders for the tube; () where it has no order. Raises LineBroken or Unanswered."""

    @abstractmethod
    def tell(self, tube: Tube, codes: tuple[str, ...]) -> None:
        """Measure and deliver."""

    @abstractmethod
    def run_control(self, run: int) -> None:
        """Measure control material and deliver it."""
