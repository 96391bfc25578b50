"""A bounded morning that is counted: N tubes from the doctor's order to the patient's phone, and back to what was
sent.

Robots work as people do, over HTTP alone: a technician collects and receives, a reviewer reviews and releases,
patients sign in through WeChat, bind themselves with the SMS code, open the pushed link and its PDF. At the end every
observation in the analyzers' own ledgers is looked for, by value, on the page and on the paper.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from simulators.demo.bench import Bench, Visit
from simulators.demo.hospital import ANALYZERS, Hospital
from simulators.demo.killing import Killer
from simulators.demo.phone import Phone, Tamper
from simulators.demo.programs import DidNotStart
from simulators.demo.push import Pushes
from simulators.demo.reading import Readings
from simulators.demo.saboteur import doubled
from simulators.demo.staff import Reviewer, Technician
from simulators.demo.tally import tally

STALLED_AFTER_S = {None: 90, "double": 90, "drop": 15}
"""By sabotage. No step forward for so long: what is missing stays missing. (An analyzer on a serial line alone may wait
15 s for an answer of a dead box before it tries again.)"""
PHONES = 4
"""Phones that act at the same time."""


class Smoke:
    """One counted morning on a hospital that is up."""

    def __init__(self, hospital: Hospital, tubes: int, *, kill: str | None = None, sabotage: str | None = None) -> None:
        self.hospital = hospital
        self.wanted = tubes
        self.sabotage = sabotage
        self.bench = Bench(hospital.folder / "ledgers", ANALYZERS)
        self.readings = Readings(hospital.folder / "readings")
        self.reviewer = Reviewer(hospital, self.bench)
        self._to_spoil: list[Tamper] = [doubled] if sabotage == "double" else []
        self.killer = Killer(hospital, self.bench, kill, tubes) if kill else None
        self.stopping = threading.Event()
        self.failures: list[str] = []
        self._phones: dict[str, Phone] = {}
        self._steps = 0
        self._threads: list[threading.Thread] = []

    # -- the robots --------------------------------------------------------------------------------------------------

    def _robot(self, name: str, work: Callable[[], bool]) -> None:
        """A thread that does what there is to do and rests a moment when there is nothing."""

        def loop() -> None:
            while not self.stopping.is_set():
                try:
                    if work():
                        self._steps += 1
                    else:
                        self.stopping.wait(0.05)
                except Exception:
                    self.failures.append(f"{name}: {traceback.format_exc()[-1500:]}")
                    self.stopping.wait(1)

        thread = threading.Thread(target=loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def run(self) -> bool:
        """Play the morning and print its line; True when nothing was lost, doubled or left unread."""
        technician = Technician(self.hospital, self.bench)
        pushes = Pushes(self.hospital.wechat_url)
        pool = ThreadPoolExecutor(PHONES, thread_name_prefix="phone")
        self._robot("technician", technician.work)
        self._robot("reviewer", self.reviewer.work)
        self._robot("phones", lambda: self._hand_out_phones(pool) or self._open_pushes(pool, pushes))
        self.hospital.start_his("--tubes", str(self.wanted))
        try:
            self._attend()
        finally:
            self.stopping.set()
            pool.shutdown(wait=True, cancel_futures=True)
            for thread in self._threads:
                thread.join(60)
        return self._count()

    def _attend(self) -> None:
        """The main thread: ledgers, kills, and the question whether it is over."""
        last_steps, last_step_at = -1, time.monotonic()
        looked_at = 0.0
        while True:
            news = self.bench.follow()
            if self.killer is not None:
                news = self.killer.attend() or news
            if self._steps != last_steps or news:
                last_steps, last_step_at = self._steps, time.monotonic()
            if self._finished() and (self.killer is None or not self.killer.down):
                return
            if time.monotonic() - last_step_at > STALLED_AFTER_S[self.sabotage]:
                if self.reviewer.partial:
                    return
                self.failures.append(
                    f"no step forward for {STALLED_AFTER_S[self.sabotage]} s: what has come is released"
                )
                self.reviewer.partial = True
                last_step_at = time.monotonic()
            if time.monotonic() > looked_at + 1:
                self._look_after_programs()
                looked_at = time.monotonic()
            if not news:
                # A killer who waits for his moment must not sleep through it.
                time.sleep(0.003 if self.killer is not None and self.killer.lurking else 0.05)

    def _look_after_programs(self) -> None:
        fallen = [
            each for each in self.hospital.troupe.fallen() if self.killer is None or each.name not in self.killer.down
        ]
        if fallen:
            raise DidNotStart(f"{fallen[0].name} ended by itself:\n{fallen[0].last_words()}")

    def _finished(self) -> bool:
        tubes = self.bench.tubes.values()
        return len(tubes) >= self.wanted and all(each.seen_at is not None for each in tubes)

    # -- the patients ------------------------------------------------------------------------------------------------

    def _hand_out_phones(self, pool: ThreadPoolExecutor) -> bool:
        """Everybody the HIS has registered signs in and binds."""
        with self.bench.lock:
            new = [each for each in self.bench.visits.values() if each.registered and each.placer not in self._phones]
        for visit in new:
            phone = Phone(_openid(visit), web_url=self.hospital.web_url, sms_url=self.hospital.sms_url)
            self._phones[visit.placer] = phone
            pool.submit(self._guarded, self._bind, phone, visit)
        return bool(new)

    def _bind(self, phone: Phone, visit: Visit) -> None:
        person = visit.person
        phone.bind(name=person["name"], number=person["id_number"], phone=person["phone"])
        self._steps += 1

    def _open_pushes(self, pool: ThreadPoolExecutor, pushes: Pushes) -> bool:
        found = pushes.new()
        by_openid = {_openid(visit): visit.placer for visit in self.bench.visits.values()}
        for openid, link in found:
            phone = self._phones[by_openid[openid]]
            pool.submit(self._guarded, self._read, phone, link)
        return bool(found)

    def _read(self, phone: Phone, link: str) -> None:
        with self.bench.lock:  # phones read side by side: one page is spoiled, not two
            tamper = self._to_spoil.pop() if self._to_spoil else None
        reading = phone.read(link, tamper)
        self.readings.keep(reading)
        with self.bench.lock:
            tube = self.bench.tubes.get(reading.accession)
            if tube is not None and tube.seen_at is None:
                tube.seen_at = time.time()
        self._steps += 1

    def _guarded(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            work(*arguments)
        except Exception:
            self.failures.append(f"phone: {traceback.format_exc()[-1500:]}")

    # -- the count ---------------------------------------------------------------------------------------------------

    def _count(self) -> bool:
        self.bench.follow()
        found = tally(self.bench, self.readings, self.killer)
        for each in (*self.failures[:10], *found.words[:20]):
            print(each, file=sys.stderr)
        print(json.dumps(found.line, ensure_ascii=False))
        return found.good


def _openid(visit: Visit) -> str:
    return f"o-{visit.person['mrn']}"


def run(hospital: Hospital, tubes: int, *, kill: str | None, sabotage: str | None) -> int:
    """Everything up, one morning, everything down; 0 only when all of it was good."""
    try:
        hospital.start()
        return 0 if Smoke(hospital, tubes, kill=kill, sabotage=sabotage).run() else 1
    except DidNotStart as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        hospital.stop()
