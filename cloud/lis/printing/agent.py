"""A print agent: beside the printer, in a ward that the server cannot dial into, it fetches jobs over HTTPS.

It hands each PDF to a printer or a CUPS queue by IPP, waits until the device says it is done, and says so. What it
printed it writes down first (`Journal`): asked for the same job again, after a death in the middle, it prints nothing.
Needs the address, a token and the printer; no database and no settings of the server.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from cloud.lis.printing.device import Device, OnDevice, PrinterAway, PrinterRefused

POLL_S = 3.0
LOOK_S = 1.0
DEVICE_HAS_S = 50.0
"""Shorter than the lease of a job: what is not printed by then is looked at again when the job comes back."""
KEPT = 5000


class Journal:
    """The jobs that came out, one number a line, on disk before the server hears of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._printed = dict.fromkeys(path.read_text().split()[-KEPT:]) if path.exists() else {}

    def has(self, job: str) -> bool:
        return job in self._printed

    def add(self, job: str) -> None:
        """Durable when this returns."""
        self._printed[job] = None
        with self._path.open("a") as file:
            file.write(f"{job}\n")
            file.flush()
            os.fsync(file.fileno())


@dataclass
class Agent:
    """One printer's. `say` gets a line for each thing that a person would want to know."""

    server: httpx.Client
    address: str
    journal: Journal
    say: Callable[[str], None] = print
    rest: Callable[[float], None] = time.sleep

    def run(self) -> None:
        """For good. Errors of the network and of the printer are told and tried again."""
        while True:
            try:
                idle = not self.step()
            except (httpx.HTTPError, PrinterAway, PrinterRefused) as error:
                self.say(f"not now: {error}")
                idle = True
            if idle:
                self.rest(POLL_S)

    def step(self) -> bool:
        """One job, or False where nothing waits. Asks the printer first: a job is taken only when it can be printed."""
        with Device(self.address) as device:
            health = device.health()
            if health.stopped:
                self._post("here", trouble=health.trouble or "paused")
                return False
            answer = self._post("take", trouble=health.trouble)
            if answer.status_code == 204:
                return False
            job, number = answer.headers["X-Print-Job"], answer.headers["X-Print-Number"]
            if self.journal.has(job):
                self.say(f"job {number} came out before: said so again")
            elif not self._print(device, job, f"XL-{number}", answer):
                return True
            self._post(f"jobs/{job}/printed")
            return True

    def _print(self, device: Device, job: str, name: str, answer: httpx.Response) -> bool:
        """Whether it lies in the tray; False where it was given up, and said so, or where nobody knows yet."""
        again = int(answer.headers["X-Print-Attempt"]) > 1
        try:
            state = device.find(name) if again else None
            two_sided = answer.headers["X-Print-Sides"] != "one-sided"
            state = self._finished(device, state or device.send(name, answer.content, two_sided=two_sided))
        except PrinterRefused as refusal:
            self._post(f"jobs/{job}/failed", reason=str(refusal))
            return False
        if state is None or state.lost:
            self._post(f"jobs/{job}/failed", reason=state.message if state else "forgotten")
            return False
        if not state.printed:
            return False
        self.journal.add(job)
        self.say(f"{name} printed")
        return True

    def _finished(self, device: Device, state: OnDevice) -> OnDevice | None:
        """The job when the device is done with it, or as it stands after `DEVICE_HAS_S`."""
        waited = 0.0
        current: OnDevice | None = state
        while current is not None and not (current.printed or current.lost) and waited < DEVICE_HAS_S:
            self.rest(LOOK_S)
            waited += LOOK_S
            current = device.look(state.number)
        return current

    def _post(self, act: str, **said: str) -> httpx.Response:
        answer = self.server.post(f"/api/print/v1/{act}", json=said)
        answer.raise_for_status()
        return answer


def connect(url: str, token: str) -> httpx.Client:
    """The server, with this printer's token."""
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False)
