"""What befalls the box itself: kill -9, the power, its disk, its clock."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edge.store.wal import commits as log_commits
from tests.bench import powercut
from tests.faults.instruments import Instrument, more, started
from tests.faults.site import Row, Site, is_root, site, with_cloud, with_stand_in
from tests.support.waiting import eventually

_PAGE = 4096
_LAST_COMMITS = 4


# ---------------------------------------------------------------------- kill -9


def kill(row: Row, quick: bool, kills: int) -> None:
    """SIGKILL at random instants, a fifth of them while the daemon is still starting."""
    pick = random.Random(row.seed)
    starts: list[float] = []
    with site(row, quick=quick, uplink=True) as here:
        ports = here.links(4)
        with_stand_in(here)
        here.box.start()
        instruments = started(ports)
        done = 0
        try:
            while done < kills:
                _one_kill(here, instruments, pick, starts)
                done += 1
        except KeyboardInterrupt:  # somebody has seen enough: what was killed so far is counted
            if not here.box.runs:
                here.box.launch()
        more(instruments, 3)
        for each in instruments:
            each.end()
        here.all_arrived(instruments)
        here.judge(instruments)
        starts.sort()
        row.notes |= {
            "kills": done,
            "first_ACK_after_start_p50_s": round(starts[len(starts) // 2], 2),
            "max_s": round(starts[-1], 2),
            "connections_lost": sum(each.hung_up for each in instruments),
            "sent_again_by_the_instruments": sum(sum(each.offered.values()) for each in instruments)
            - sum(len(each.offered) for each in instruments),
        }


def _one_kill(here: Site, instruments: list[Instrument], pick: random.Random, starts: list[float]) -> None:
    """Kill it, start it; after four of five starts wait until it serves and for some messages more."""
    if not here.box.runs:
        here.row.manual += 1
        here.row.wrong.append(f"the daemon ended by itself: {here.box.log()[-500:]}")
    here.box.kill()
    launched = time.monotonic()
    here.box.launch()
    if pick.random() < 0.2:
        time.sleep(pick.uniform(0, 0.6))
        return
    before = sum(each.frames for each in instruments)
    eventually(lambda: sum(each.frames for each in instruments) > before, within_s=60, what="the box serves again")
    starts.append(time.monotonic() - launched)
    many = before + pick.randrange(1, 150)
    eventually(lambda: sum(each.frames for each in instruments) >= many, within_s=60, what="frames flow")
    time.sleep(pick.uniform(0, 0.01))


# ---------------------------------------------------------------------- the power


def power(row: Row, quick: bool, cuts: int) -> None:
    """The power-cut harness over the real store; with synchronous=NORMAL it must show losses."""
    full = powercut.run(cuts, row.seed)
    normal = powercut.run(min(1000, max(300, cuts // 10)), row.seed, "NORMAL")
    row.sent = row.acknowledged = row.stored = full.acknowledged
    row.lost, row.manual, row.wrong = full.cuts_with_loss, full.cuts_not_opened, [*full.first_losses]
    row.seconds = round(full.seconds + normal.seconds, 1)
    row.notes |= {
        "cuts": full.cuts,
        "counted": "pieces over all cuts",
        "with_synchronous_NORMAL": f"{normal.cuts_with_loss + normal.cuts_not_opened} of {normal.cuts} cuts lose",
    }
    if not normal.cuts_with_loss:
        row.wrong.append("the harness shows no loss with synchronous=NORMAL: it proves nothing")


# ---------------------------------------------------------------------- its disk


_MOUNTED_AS = "xinglin-faults-"


def _unmount_what_is_left() -> None:
    """Of benches that were killed: each names its disk after its process."""
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        source, place = line.split(" ")[:2]
        if source.startswith(_MOUNTED_AS) and not Path("/proc", source.removeprefix(_MOUNTED_AS)).exists():
            subprocess.run(["umount", "-l", place.replace("\\040", " ")], check=False)


@contextmanager
def _small_disk(place: Path, megabytes: int) -> Iterator[bool]:
    """Whether there is one: only root may mount."""
    place.mkdir()
    _unmount_what_is_left()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", f"{_MOUNTED_AS}{os.getpid()}", str(place)]
    mounted = is_root() and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


def full(row: Row, quick: bool, rounds: int) -> None:
    """Somebody's log fills the disk, and is deleted, every second time with the broker away: nothing can be pruned.

    Where no disk can be mounted the store's own bound is reached.
    """
    with site(row, quick=quick, uplink=True) as here, _small_disk(here.folder / "disk", 24) as mounted:
        here.box.folder = here.folder / "disk"
        here.box.max_megabytes = 32 if mounted else 1
        ports = {"xn": here.box.add_tcp("xn"), "bs": here.box.add_tcp("bs", driver="mindray_bs")}
        instruments = [
            Instrument("xn", ports["xn"], 0),
            Instrument("bs", ports["bs"], 1, hl7=True),
        ]
        if mounted:
            with_cloud(here)
        here.box.start()
        for each in instruments:
            each.start()
        try:
            if mounted:
                for number in range(rounds):
                    _filled_and_freed(here, instruments, away=number % 2 == 1)
            else:
                more(instruments, 20)
                _until_refused(instruments)
                with_cloud(here)  # receipts make room
            more(instruments, 20)
        except AssertionError as stuck:
            row.manual += 1
            row.wrong.append(str(stuck))
        for each in instruments:
            each.end()
        here.all_arrived(instruments)
        here.judge(instruments)
        row.notes |= {
            "rounds": rounds if mounted else 1,
            "NAK_to_ASTM": instruments[0].refused,
            "AE_to_HL7": instruments[1].refused,
            "disk": "tmpfs of 24 MB" if mounted else "bound of the store",
        }
        here.box.stop()


def _filled_and_freed(here: Site, instruments: list[Instrument], *, away: bool) -> None:
    """`away`: the broker is; with it the disk stays full until the log is deleted, for nothing is confirmed."""
    assert here.broker is not None
    if away:
        here.broker.stop()
    more(instruments, 20)
    _fill(here.box.folder)
    _until_refused(instruments)
    (here.box.folder / "somebody's log").unlink()
    more(instruments, 20)
    if away:
        here.broker.start()


def _until_refused(instruments: list[Instrument]) -> None:
    before = {each.link: each.refused for each in instruments}
    for each in instruments:
        eventually(lambda: each.refused > before[each.link] + 3, within_s=60, what=f"{each.link} is refused")  # noqa: B023


def _fill(disk: Path) -> None:
    with suppress(OSError), (disk / "somebody's log").open("wb", buffering=0) as log:
        while log.write(b"x" * 4096):
            pass


def page(row: Row, quick: bool, pages: int) -> None:
    """One page is overwritten with noise under the running daemon while the broker is away; then it comes back.

    Again and again, one page at a time: two may take both copies of a message, and then only its number is left.
    """
    pick = random.Random(row.seed)
    with site(row, quick=quick, uplink=True) as here:
        assert here.broker is not None
        ports = here.links(3)
        with_cloud(here)
        here.box.start()
        instruments = started(ports, every_s=0.01)
        spoiled = 0
        for _ in range(pages):
            here.broker.stop()
            more(instruments, 20)
            spoiled += _spoil(here.box.store, pick)
            more(instruments, 20)
            here.broker.start()
            _what_waits_is_confirmed(here)
        for each in instruments:
            each.end()
        here.all_arrived(instruments)
        here.box.kill()
        here.box.start()  # after a crash it looks for what nobody met
        eventually(lambda: _is_sound(here), within_s=120, what="the file was checked and what was bad is mended")
        here.judge(instruments, frames=False)
        row.notes |= {"pages_spoiled": spoiled, "files_set_aside": len(_asides(here.box.folder))}


def _is_sound(here: Site) -> bool:
    status = here.box.status()
    damage = status["store"]["damage"] if status is not None else {"check": "under way"}
    return damage["check"] in ("sound", "damaged") and not damage["reading"]


def _what_waits_is_confirmed(here: Site) -> None:
    """What the box has now, not what comes meanwhile. Reads as the box does: the page may be one of the links'."""

    def links() -> list[dict[str, Any]]:
        status = here.box.status()
        return status["links"] if status is not None else []

    there = {each["link"]: each["last_sequence"] for each in eventually(links, what="the box says how it is")}

    def confirmed() -> bool:
        time.sleep(0.2)
        now = {each["link"]: each["last_sequence"] - each["waiting"] for each in links()}
        return all(now.get(link, 0) >= last for link, last in there.items())

    eventually(confirmed, within_s=180, what="what waited is in the cloud")


def _spoil(path: Path, pick: random.Random) -> int:
    many = path.stat().st_size // _PAGE
    if many < 4:
        return 0
    with path.open("r+b") as file:
        file.seek(pick.randrange(1, many) * _PAGE)
        file.write(pick.randbytes(_PAGE))
    return 1


def log(row: Row, quick: bool, sectors: int) -> None:
    """A sector in the middle of the store's write-ahead log goes bad and the daemon is killed: SQLite forgets the rest.

    The cloud is away while it happens. Spared is the end of the log: what the last transaction held cannot be told from
    what a power cut tears.
    """
    pick = random.Random(row.seed)
    with site(row, quick=quick, uplink=True) as here:
        assert here.broker is not None
        ports = here.links(3)
        with_cloud(here)
        here.box.start()
        instruments = started(ports, every_s=0.01)
        spoiled = 0
        for _ in range(sectors):
            here.broker.stop()
            more(instruments, 20)
            here.box.kill()
            spoiled += _spoil_log(here.box.store, pick)
            here.box.launch()
            here.broker.start()
            more(instruments, 10)
            _what_waits_is_confirmed(here)
        for each in instruments:
            each.end()
        here.all_arrived(instruments)
        here.judge(instruments, frames=False)
        row.notes |= {"sectors_spoiled": spoiled, "files_set_aside": len(_asides(here.box.folder))}


def _spoil_log(path: Path, pick: random.Random) -> int:
    """512 bytes of noise in a frame with some transactions behind it."""
    wal = path.with_name(path.name + "-wal")
    with wal.open("rb") as file:
        commits = log_commits(file.fileno())
    if len(commits) < _LAST_COMMITS + 2:
        return 0
    with wal.open("r+b") as file:
        file.seek(32 + pick.randrange(commits[-_LAST_COMMITS]) * (24 + _PAGE) + pick.randrange(0, _PAGE, 512))
        file.write(pick.randbytes(512))
    return 1


def _asides(folder: Path) -> list[Path]:
    return list(folder.glob("*.damaged-*.json"))


# ---------------------------------------------------------------------- its clock

_JUMPS = {"1970": -56 * 365 * 86400.0, "+10 years": 3650 * 86400.0, "back": 0.0, "-1 hour": -3600.0}


def clock(row: Row, quick: bool, rounds: int) -> None:
    """The wall clock jumps under the running daemon and over its starts: order, receipts and timers do not care."""
    with site(row, quick=quick, uplink=True, module="tests.faults.clock_stand") as here:
        ports = here.links(2)
        told = here.folder / "clock-offset"
        told.write_text("0")
        with_cloud(here)
        here.box.start()
        instruments = started(ports)
        for _ in range(rounds):
            for offset in _JUMPS.values():
                told.write_text(str(offset))
                more(instruments, 10)
            told.write_text(str(_JUMPS["1970"]))
            here.box.kill()
            here.box.start()  # it wakes up in 1970
            more(instruments, 10)
        for each in instruments:
            each.end()
        here.all_arrived(instruments)
        unsure = here.box.rows("SELECT count(*) FROM outbox WHERE clock_sure = 0")[0][0]
        here.judge(instruments)
        row.notes |= {"jumps": rounds * (len(_JUMPS) + 1), "messages_whose_time_is_flagged": unsure}
        if not unsure:
            row.wrong.append("no time was flagged as unsure")
