"""`python -m simulators rush`: thousands of phones take a few hundred numbers, one web server is killed in the middle.

A cloud of its own: PostgreSQL (the embedded one, or ``XINGLIN_RUSH_DATABASE_URL``, an empty database), two web
processes, a job worker, WeChat and its payment channel. A third of those who get a number never pay: their numbers come
free by themselves and are bought by others. Prints what was sold and how quickly; ends with 0 only when every number is
sold once.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from simulators.demo.programs import DidNotStart, Troupe
from simulators.demo.waiting import free_ports, page_answers, port_answers, until
from simulators.rush.phone import GivenUp, Line, Phone, Tally

APP, SECRET = "wx0000simulated01", "simulated-secret"
ABANDONS = 3
"""Each third phone with a number never pays."""
CONFIRM_WITHIN_S = 180.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--patients", type=int, default=5000)
    parser.add_argument("--numbers", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=48, help="requests under way at the same moment")
    parser.add_argument("--hold-seconds", type=int, default=200, help="how long an unpaid number is kept")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object")
    parser.add_argument("--folder", type=Path, help="where everything lies; default: a fresh one")


def run(arguments: argparse.Namespace) -> int:
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="xinglin-rush-"))
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder)
    try:
        crowd = place.open(arguments.patients, arguments.numbers, arguments.hold_seconds)
        figures = Rush(place, crowd, arguments).play()
    except (DidNotStart, GivenUp) as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        place.troupe.stop(last=("database",))
        if arguments.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        print(json.dumps(figures, ensure_ascii=False))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value}")
    return 0 if figures["ok"] else 1


class Place:
    """The cloud's processes and the strangers beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.troupe = Troupe(folder)
        self.ports = dict(zip(("web-1", "web-2", "wechat", "pay"), free_ports(4), strict=True))
        self.environment: dict[str, str] = {}

    def open(self, patients: int, numbers: int, hold_s: int) -> list[Phone]:
        """Start everything; the phones of the crowd, signed in."""
        url = os.environ.get("XINGLIN_RUSH_DATABASE_URL") or self._database()
        me = [sys.executable, "-m", "simulators"]
        keys = self.folder / "keys"
        wechat = [*me, "wechat", "--port", str(self.ports["wechat"]), "--app-id", APP, "--secret", SECRET]
        self.troupe.add("wechat", [*wechat, "--template", "booking"])
        pay = [*me, "wechat-pay", "--port", str(self.ports["pay"]), "--keys", str(keys), "--app-id", APP]
        program = self.troupe.add("wechat-pay", pay)
        papers = keys / "wechat-pay.json"
        until(papers.exists, what="the payment channel", within_s=60, program=program)
        self.environment = {
            "XINGLIN_ENVIRONMENT": "demo",
            "XINGLIN_DATABASE_URL": url,
            "XINGLIN_STATE_DIR": str(self.folder / "state"),
            "XINGLIN_SECRET_KEY": secrets.token_urlsafe(48),
            "XINGLIN_PUBLIC_URL": f"http://127.0.0.1:{self.ports['web-1']}",
            "XINGLIN_WECHAT_APP_ID": APP,
            "XINGLIN_WECHAT_SECRET": SECRET,
            "XINGLIN_WECHAT_API_URL": f"http://127.0.0.1:{self.ports['wechat']}",
            "XINGLIN_WECHAT_OPEN_URL": f"http://127.0.0.1:{self.ports['wechat']}",
            "XINGLIN_WECHAT_REPORT_TEMPLATE_ID": "booking",
            **json.loads(papers.read_text(encoding="utf-8")),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        self._command("migrate")
        people = self.folder / "crowd.json"
        self._command(
            "seed-crowd", "--out", str(people), "--patients", str(patients), "--numbers", str(numbers),
            "--hold-seconds", str(hold_s),
        )  # fmt: skip
        for name in ("web-1", "web-2"):
            self.start_web(name)
        self.troupe.add(
            "jobs", [sys.executable, "-m", "cloud", "jobs", "--worker-id", "rush"], environment=self.environment
        )
        told = json.loads(people.read_text(encoding="utf-8"))
        clinics = told["sessions"]
        return [
            Phone(clinics[at % len(clinics)], f"{told['cookie']}={token}") for at, token in enumerate(told["phones"])
        ]

    def _database(self) -> str:
        environment = {
            "XINGLIN_ENVIRONMENT": "demo",
            "XINGLIN_DATABASE_URL": "",
            "XINGLIN_STATE_DIR": str(self.folder / "state"),
        }
        program = self.troupe.add("database", [sys.executable, "-m", "cloud", "database"], environment=environment)

        def url() -> str | None:
            lines = [each for each in program.last_words().splitlines() if each.startswith("postgresql")]
            return lines[-1] if lines else None

        return until(url, what="the database", within_s=90, program=program)

    def _command(self, name: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "cloud", name, *arguments]
        self.troupe.run(f"cloud-{name}", command, environment=self.environment, wait_s=600)

    def start_web(self, name: str) -> None:
        port = self.ports[name]
        command = [sys.executable, "-m", "cloud", "web", "--port", str(port)]
        program = self.troupe.add(name, command, environment=self.environment)
        address = f"http://127.0.0.1:{port}/healthz"
        until(lambda: port_answers(port) and page_answers(address), what=name, within_s=90, program=program)


class Rush:
    """The crowd at work."""

    def __init__(self, place: Place, crowd: list[Phone], arguments: argparse.Namespace) -> None:
        self.place = place
        self.crowd = crowd
        self.numbers: int = arguments.numbers
        self.hold_s: int = arguments.hold_seconds
        self.at_once: int = arguments.at_once
        self.tally = Tally()
        self.servers = [f"127.0.0.1:{place.ports[name]}" for name in ("web-1", "web-2")]
        self.winners: list[Phone] = []
        self.abandoned: set[int] = set()
        self.lock = threading.Lock()
        self.half_gone = threading.Event()
        self.restarted_s = 0.0

    def play(self) -> dict[str, object]:
        began = time.monotonic()
        asked = self._all(self.crowd, self._first, main=self._kill)
        seconds = time.monotonic() - began
        rush = Tally(seconds={act: list(found) for act, found in self.tally.seconds.items()})
        held = len(self.winners)
        self._rest()
        states = self._confirmed()
        return self._figures(asked, seconds, rush, held, states)

    def _first(self, phone: Phone, line: Line, cashiers: Line) -> None:
        """Every third who gets a number never pays; the others pay at once."""
        if not phone.book(line):
            return
        with self.lock:
            self.winners.append(phone)
            leaves = len(self.winners) % ABANDONS == 0
            if leaves:
                self.abandoned.add(id(phone))
            if len(self.winners) * 2 >= self.numbers:
                self.half_gone.set()
        if not leaves:
            phone.pay(line, cashiers)

    def _again(self, phone: Phone, line: Line, cashiers: Line) -> None:
        if phone.book(line):
            with self.lock:
                self.winners.append(phone)
            phone.pay(line, cashiers)

    def _kill(self) -> None:
        """kill -9 the web process that gets the channel's notices, when half of the numbers are gone."""
        self.half_gone.wait()
        self.place.troupe.programs["web-1"].kill()
        began = time.monotonic()
        time.sleep(1)
        self.place.start_web("web-1")
        self.restarted_s = time.monotonic() - began

    def _rest(self) -> None:
        """What nobody paid for comes free by itself; those who got nothing try again until nothing is left."""
        ends = time.monotonic() + self.hold_s + 150
        spare = [each for each in self.crowd if not each.booking]
        line = Line(self.servers, self.tally, 0)
        while (lost := self._unsold()) > 0 and spare and time.monotonic() < ends:
            if self._left(line) == 0:
                time.sleep(2)
                continue
            turn, spare = spare[: lost * 2], spare[lost * 2 :]
            self._all(turn, self._again)
            spare += [each for each in turn if not each.booking]

    def _unsold(self) -> int:
        """Numbers that nobody has who pays for his."""
        return self.numbers - (len(self.winners) - len(self.abandoned))

    def _left(self, line: Line) -> int:
        clinics = sorted({each.clinic for each in self.crowd})
        query = "&".join(f"s={each}" for each in clinics)
        answer = line.ask("left", "GET", f"/p/book/left?{query}", self.crowd[0].cookies)
        return sum(json.loads(answer.text).values())

    def _confirmed(self) -> Counter[str]:
        """Wait until every booking that was paid for is confirmed; how all of them stand."""
        line = Line(self.servers, self.tally, 1)
        paid = [each for each in self.winners if id(each) not in self.abandoned]
        ends = time.monotonic() + CONFIRM_WITHIN_S
        waiting = list(paid)
        while waiting and time.monotonic() < ends:
            waiting = [each for each in waiting if each.stands(line)[0] != "confirmed"]
            if waiting:
                time.sleep(2)
        self.sold = [(each.clinic, *each.stands(line)) for each in self.winners]
        self.left = self._left(line)
        return Counter(state for _clinic, state, _voucher, _seq in self.sold)

    def _all(
        self,
        phones: Sequence[Phone],
        act: Callable[[Phone, Line, Line], None],
        *,
        main: Callable[[], None] | None = None,
    ) -> int:
        """`act` of each phone, many at once, and `main` beside them in this thread; how many were served."""
        todo: queue.SimpleQueue[Phone] = queue.SimpleQueue()
        for phone in phones:
            todo.put(phone)
        done = 0
        failures: list[Exception] = []

        def work(first: int) -> None:
            nonlocal done
            line = Line(self.servers, self.tally, first)
            cashiers = Line([f"127.0.0.1:{self.place.ports['pay']}"], Tally(), 0)
            while not failures:
                try:
                    phone = todo.get_nowait()
                except queue.Empty:
                    break
                try:
                    act(phone, line, cashiers)
                except Exception as failure:  # the first one ends the rush and is shown
                    failures.append(failure)
                with self.lock:
                    done += 1
            self.half_gone.set()  # nobody waits for a moment that will not come

        crew = [threading.Thread(target=work, args=(each,)) for each in range(self.at_once)]
        for each in crew:
            each.start()
        if main is not None:
            main()
        for each in crew:
            each.join()
        if failures:
            raise GivenUp(str(failures[0])) from failures[0]
        return done

    def _figures(self, asked: int, seconds: float, rush: Tally, held: int, states: Counter[str]) -> dict[str, object]:
        sold = [(clinic, seq) for clinic, state, _voucher, seq in self.sold if state == "confirmed"]
        taken = [each for found in rush.seconds.values() for each in found]
        figures: dict[str, object] = {
            "patients": asked,
            "numbers": self.numbers,
            "held_in_the_rush": held,
            "abandoned": len(self.abandoned),
            "sold": len(sold),
            "oversold": len(sold) - len(set(sold)),
            "lost_after_expiry": self.numbers - len(set(sold)) - self.left,
            "still_free": self.left,
            "bookings": dict(sorted(states.items())),
            "requests": len(taken),
            "seconds": round(seconds, 1),
            "requests_per_s": round(len(taken) / seconds, 1),
            "ms": {act: _times(found) for act, found in sorted({**rush.seconds, "all": taken}.items())},
            "killed": "web-1",
            "back_after_s": round(self.restarted_s, 1),
            "connections_broken": self.tally.broken,
            "server_errors": Counter(self.tally.faults),
        }
        figures["ok"] = (
            len(sold) == self.numbers
            and figures["oversold"] == 0
            and figures["lost_after_expiry"] == 0
            and not self.tally.faults
        )
        return figures


def _times(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles by nearest rank, in milliseconds."""
    ranked = sorted(seconds)
    at = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
    return {name: round(1000 * ranked[min(len(ranked) - 1, int(share * len(ranked)))], 1) for name, share in at.items()}
