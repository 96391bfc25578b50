"""A morning that plays by itself for a visitor: orders arrive, a robot draws and receives tubes, analyzers run.

Review and release are left to the visitor, unless a robot is asked for. Nobody is counted here.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable

from simulators.demo.bench import Bench
from simulators.demo.hospital import ANALYZERS, Hospital
from simulators.demo.programs import DidNotStart
from simulators.demo.staff import Reviewer, Technician

FIRST_VISITS = 6
"""Already on the bench when the visitor opens the page."""


class Morning:
    def __init__(self, hospital: Hospital, visits_per_minute: float, *, release: bool) -> None:
        self.hospital = hospital
        self.pause_s = 60 / max(visits_per_minute, 0.1)
        self.release = release
        self.bench = Bench(hospital.folder / "ledgers", ANALYZERS)

    def open(self) -> None:
        """Start the HIS and the robots; they work until the demo ends."""
        his = self.hospital.start_his("--on-request", takes_input=True)
        for each in ANALYZERS:
            self.hospital.troupe.programs[each].say("qc")
        self._robot("visits", lambda: self._next_visit(his.say))
        self._robot("technician", Technician(self.hospital, self.bench).work)
        self._robot("ledgers", self.bench.follow)
        if self.release:
            self._robot("reviewer", Reviewer(self.hospital, self.bench).work)

    def _next_visit(self, say: Callable[[str], None]) -> bool:
        if len(self.bench.visits) >= FIRST_VISITS:
            time.sleep(self.pause_s)
        say("order")
        return False

    def _robot(self, name: str, work: Callable[[], bool]) -> None:
        def loop() -> None:
            while True:
                try:
                    if not work():
                        time.sleep(0.3)
                except Exception:
                    print(f"{name}: {traceback.format_exc(limit=3)}", file=sys.stderr)
                    time.sleep(5)

        threading.Thread(target=loop, name=name, daemon=True).start()

    @staticmethod
    def watch(hospital: Hospital) -> None:
        """Until Ctrl-C, or until a part ends by itself."""
        while True:
            fallen = hospital.troupe.fallen()
            if fallen:
                raise DidNotStart(f"{fallen[0].name} ended by itself:\n{fallen[0].last_words()}")
            time.sleep(0.5)
