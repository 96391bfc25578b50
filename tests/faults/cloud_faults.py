"""What lies between box and cloud goes away, lies, repeats and forgets."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.clock import Moment
from edge.store.rows import unread
from edge.store.store import Store
from tests.bench.drain import RealCloud
from tests.faults.instruments import Instrument, finished, frames_of, more, started
from tests.faults.site import Row, Site, site, with_cloud
from tests.support.analyzer import xn_result
from tests.support.broker import Broker
from tests.support.cable import Cable
from tests.support.relay import Relay
from tests.support.waiting import eventually

_ROOT = Path(__file__).resolve().parents[2]
_A_DAY = 75_000
"""Messages of a large laboratory: 525,000 in seven days."""


def broker(row: Row, quick: bool, kills: int) -> None:
    """mosquitto is killed -9 and started again, over and over, while results come in and go out."""
    pick = random.Random(row.seed)
    with site(row, quick=quick, uplink=True) as here:
        assert here.broker is not None
        ports = here.links(3)
        with_cloud(here)
        here.box.start()
        instruments = started(ports, every_s=0.02)
        for _ in range(kills):
            more(instruments, pick.randrange(1, 20))
            here.broker.kill()
            more(instruments, pick.randrange(1, 10))
            here.broker.start()
        for each in instruments:
            each.end()
        here.all_arrived(instruments)
        here.judge(instruments)
        row.notes["kills"] = kills


def thirty_days(row: Row, quick: bool, messages: int) -> None:
    """A backlog with the times of 30 days without a broker; the store was filled as a session fills it."""
    with site(row, quick=quick, uplink=True) as here:
        assert here.broker is not None
        ports = here.links(4)
        instruments = [Instrument(link, port, number) for number, (link, port) in enumerate(ports.items())]
        for each in instruments:
            each.begun = messages // len(instruments)
        fill(here.box.store, instruments)
        with_cloud(here)
        here.broker.stop()
        here.box.start()
        live = [Instrument(each.link, ports[each.link], 50 + n) for n, each in enumerate(instruments)]
        for each in live:
            each.start()
        more(live, 5)
        here.broker.start()
        began = time.monotonic()
        here.all_arrived(instruments, within_s=900)
        drained = time.monotonic() - began
        for each in live:
            each.end()
        here.all_arrived(live)
        for each, now in zip(instruments, live, strict=True):  # one line's whole life
            each.finished += now.finished
            each.offered += now.offered
            each.acknowledged += now.acknowledged
            each.frames += now.frames
            each.begun += now.begun
        here.judge(instruments)
        row.notes |= {
            "simulated_days": 30,
            "scale": f"1/{round(30 * _A_DAY / messages)} of {_A_DAY:,} a day",
            "drained_in_s": round(drained, 1),
        }


def fill(path: Path, instruments: list[Instrument]) -> None:
    """Each instrument's messages, acknowledged, spread over the thirty days before today."""
    today = datetime.now(UTC)
    many = instruments[0].begun
    with Store(path, max_bytes=64 * 1024**3) as store:
        for start in range(0, many, 200):

            def work(ledger: Any, numbers: range = range(start, min(start + 200, many))) -> None:
                for number in numbers:
                    at = Moment(today - timedelta(days=30 * (many - number) / many), True)
                    for each in instruments:
                        key = each.key(number)
                        text = b"".join(record + b"\r" for record in xn_result(*key))
                        ledger.keep(each.link, frames_of(key), at, (), unread(at, "sysmex_xn", text))

            store.write(work)
    for each in instruments:
        each.finished = [each.key(number) for number in range(many)]
        each.offered.update(each.finished)
        for key in each.finished:
            each.acknowledged.update(frames_of(key))
        each.frames = sum(each.acknowledged.values())


def cable(row: Row, quick: bool, seconds: int) -> None:
    """The network cable of the box is pulled in the middle of a run, for two minutes; nobody closes a connection."""
    with site(row, quick=quick, uplink=True) as here:
        assert here.broker is not None
        ports = here.links(3)
        with_cloud(here)
        line = Cable(here.broker.port)
        try:
            here.box.broker_port = line.port
            here.box.start()
            instruments = started(ports, every_s=0.1)
            more(instruments, 10)
            eventually(lambda: _count(here) > 0, what="results arrive")
            line.pull()
            passed, before, done = line.passed, _count(here), finished(instruments)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                more(instruments, 5)
            row.notes |= {"pulled_s": seconds, "acknowledged_meanwhile": finished(instruments) - done}
            if line.passed != passed or _count(here) > before + here.box.window:
                row.wrong.append("something went through a cable that was not there")
            line.plug()
            more(instruments, 10)
            for each in instruments:
                each.end()
            here.all_arrived(instruments)
            here.judge(instruments)
            here.box.stop()
        finally:
            line.close()


def _count(here: Site) -> int:
    assert here.cloud is not None
    return here.cloud.count()


class CloudOfItsOwn(RealCloud):
    """With a PostgreSQL server that nobody else uses: worker and database can be taken away."""

    def __init__(self, here: Site) -> None:
        self._state = here.folder / "state"
        self._folder = here.folder
        before = os.environ.get("XINGLIN_TEST_STATE_DIR")
        os.environ["XINGLIN_TEST_STATE_DIR"] = str(self._state)
        try:
            super().__init__(here.folder, here.box, [])
        finally:
            if before is None:
                del os.environ["XINGLIN_TEST_STATE_DIR"]
            else:
                os.environ["XINGLIN_TEST_STATE_DIR"] = before

    def down(self) -> None:
        """kill -9 of the worker, an immediate stop of the database: no orderly end of either."""
        from cloud.kit import postmaster

        self._process.kill()
        self._process.wait()
        pid = postmaster.pid_of(self._state / "postgres")
        assert pid is not None
        os.kill(pid, signal.SIGQUIT)
        while postmaster.alive(pid):
            postmaster.reap(pid)
            time.sleep(0.01)

    def up(self) -> None:
        from cloud.config import Settings
        from cloud.kit import embedded

        embedded.start(Settings(environment="test", state_dir=self._state), durable=False)
        with (self._folder / "ingest.log").open("ab") as log:
            command = [sys.executable, "-m", "cloud", "ingest", "--worker-id", "bench"]
            self._process = subprocess.Popen(command, cwd=_ROOT, stderr=log, stdout=log, process_group=0)

    def close(self) -> None:
        from tools.leftover import stop_embedded

        try:
            super().close()
        finally:
            stop_embedded(self._state)


def cloud(row: Row, quick: bool, times: int) -> None:
    """The cloud's worker is killed and its PostgreSQL stopped at once; receiving goes on; both come back."""
    with site(row, quick=quick, uplink=True) as here:
        ports = here.links(3)
        own = here.cloud = CloudOfItsOwn(here)
        here.box.start()
        instruments = started(ports, every_s=0.01)
        for _ in range(times):
            more(instruments, 20)
            own.down()
            more(instruments, 60)
            own.up()
        more(instruments, 20)
        for each in instruments:
            each.end()
        here.all_arrived(instruments)
        here.judge(instruments)
        row.notes["times_down"] = times


def unruly(row: Row, quick: bool, messages: int) -> None:
    """Between box and cloud somebody loses, repeats and reorders messages and receipts that were acknowledged."""
    with site(row, quick=quick, uplink=True, receipt_timeout_s=2.0) as here:
        assert here.broker is not None
        ports = here.links(3)
        with_cloud(here)
        (here.folder / "near").mkdir()
        near = Broker(here.broker.program, here.folder / "near")
        near.start()
        relay = Relay(near, here.broker, f"xinglin/v1/{here.box.partition}/{here.box.gateway}", seed=row.seed)
        try:
            here.box.broker_port = near.port
            here.box.start()
            instruments = started(ports, limit=messages, every_s=0.01)
            for each in instruments:
                each.finish()
            until = time.monotonic() + 60
            while not (relay.lost and relay.repeated and relay.swapped and relay.receipts_lost):
                assert time.monotonic() < until, "no mischief came about"
                time.sleep(0.05)
            relay.behave()
            here.all_arrived(instruments)
            here.judge(instruments)
            row.notes |= {
                "publishes_lost": relay.lost,
                "repeated": relay.repeated,
                "out_of_order": relay.swapped,
                "receipts_lost": relay.receipts_lost,
            }
            here.box.stop()
        finally:
            relay.close()
            near.stop()
