"""A morning that plays by itself for a visitor: orders arrive, a robot draws and receives tubes, analyzers run.

Review and release are left to the visitor, unless a robot is asked for. Nobody is counted here.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from simulators.demo.bench import Bench
from simulators.demo.bills import Bills
from simulators.demo.hospital import ANALYZERS, Hospital
from simulators.demo.programs import DidNotStart
from simulators.demo.runner import Runner
from simulators.demo.staff import Reviewer, Technician
from simulators.demo.waiting import until

FIRST_VISITS = 6
"""Already on the bench when the visitor opens the page."""


class Morning:
    def __init__(self, hospital: Hospital, visits_per_minute: float, *, release: bool) -> None:
        self.hospital = hospital
        self.pause_s = 60 / max(visits_per_minute, 0.1)
        self.release = release
        self.bench = Bench(hospital.folder / "ledgers", ANALYZERS)
        self.stopping = threading.Event()

    def open(self) -> None:
        """Start the HIS and the robots; they work until the demo ends."""
        his = self.hospital.start_his(
            "--on-request",
            "--owns-sessions",
            "--control",
            f"127.0.0.1:{self.hospital.ports.his_control}",
            takes_input=True,
        )
        for each in ANALYZERS:
            self.hospital.troupe.programs[each].say("qc")
        self._robot("visits", lambda: self._next_visit(his.say))
        self._robot("technician", Technician(self.hospital, self.bench).work)
        self._robot("runner", Runner(self.hospital, self.bench).work, pause_s=3)
        self._robot("ledgers", self.bench.follow)
        self._robot("bills", Bills(self.bench, self.hospital.his_control_url).work, pause_s=2)
        if self.release:
            self._robot("reviewer", Reviewer(self.hospital, self.bench).work)

    def _next_visit(self, say: Callable[[str], None]) -> bool:
        if len(self.bench.visits) < FIRST_VISITS or not self.stopping.wait(self.pause_s):
            say("order")
        return False

    def _robot(self, name: str, work: Callable[[], bool], pause_s: float = 0.3) -> None:
        def loop() -> None:
            while not self.stopping.is_set():
                try:
                    if not work():
                        self.stopping.wait(pause_s)
                except Exception:
                    if not self.stopping.wait(5):
                        print(f"{name}: {traceback.format_exc(limit=3)}", file=sys.stderr)

        threading.Thread(target=loop, name=name, daemon=True).start()

    def first_patients(self, count: int) -> list[dict[str, Any]]:
        """Some whom the HIS has registered: a visitor may take up their phones."""
        until(lambda: len(self.bench.visits) >= count, what="the first patients", within_s=60)
        return [each.person for each in list(self.bench.visits.values())[:count]]

    def watch(self) -> None:
        """Until Ctrl-C, or until a part ends by itself."""
        while True:
            fallen = self.hospital.troupe.fallen()
            if fallen:
                raise DidNotStart(f"{fallen[0].name} ended by itself:\n{fallen[0].last_words()}")
            time.sleep(0.5)
