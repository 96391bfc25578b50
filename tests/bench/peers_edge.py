"""What another gateway's storage loses where ours can be compared: ``./xinglin bench peers-edge``.

`thingsboard-gateway` with its SQLite storage, in an environment of its own. A message counts as acknowledged when its
storage said that it took it (`put` returned True): a connector has no later word to go by. Ours is the row of
``./xinglin bench faults`` of the same name. A peer that cannot be installed is named and skipped.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import protocols_peers
from tests.bench.edge_process import memory_mb
from tests.bench.faults import SEED, strike
from tests.bench.protocols_peers import PeerFailed, environment
from tests.faults.box_faults import _fill, _small_disk
from tests.faults.site import Row, site

PEER = "thingsboard-gateway"
_REQUIREMENT = "thingsboard-gateway==3.8.5"
_STORE = Path(__file__).with_name("peers_edge_store.py")
_STATE = protocols_peers.ROOT / ".state"
_IDLE_LINKS = 16


@dataclass
class Peer:
    """Messages are numbered lines about as long as an analyzer's."""

    python: Path
    folder: Path
    acknowledged: list[str] = field(default_factory=list)
    refused: int = 0
    sent: int = 0
    complaint: str = ""
    """The last line that its storage logged while it was read."""
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with (_STATE / "peers-edge.log").open("a") as log:
            self.process = subprocess.Popen(
                [str(self.python), "-I", str(_STORE), str(self.folder), "put"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder.parent,
            )
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "ready":
            raise PeerFailed("its storage did not start")

    def put(self, many: int, every_s: float = 0.002) -> None:
        """So many messages, each after the answer to the last; paced, so that its own thread gets to write."""
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        for _ in range(many):
            line = json.dumps({"deviceName": "xn", "telemetry": [f"{self.sent:08}", "6.52 10*9/L " * 40]})
            self.sent += 1
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], 30)
            answer = self.process.stdout.readline().strip() if ready else ""
            if answer == "+":
                self.acknowledged.append(line)
            else:
                self.refused += 1
            time.sleep(every_s)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def stop(self) -> None:
        assert self.process is not None
        self.process.communicate(timeout=60)

    def stored(self) -> Counter[str]:
        """What a start afterwards gives back."""
        command = [str(self.python), "-I", str(_STORE), str(self.folder), "read"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=self.folder.parent)
        said = [line for line in done.stderr.splitlines() if line.strip()]
        self.complaint = said[-1][:90] if said else ""
        return Counter(done.stdout.splitlines())

    def row(self, fault: str) -> Row:
        found = self.stored()
        taken = set(self.acknowledged)
        return Row(
            fault,
            SEED,
            sent=self.sent,
            acknowledged=len(taken),
            stored=sum(found.values()),
            lost=len(taken - set(found)),
            twice=sum(many - 1 for many in found.values()),
            notes={"refused": self.refused} | ({"it_said": self.complaint} if self.complaint else {}),
        )


def kill(python: Path, folder: Path, kills: int) -> Row:
    peer, pick = Peer(python, folder), random.Random(SEED)
    for _ in range(kills):
        peer.start()
        peer.put(pick.randrange(100, 1000))
        peer.kill()
    row = peer.row("kill")
    row.notes["kills"] = kills
    return row


def full(python: Path, folder: Path) -> Row:
    with _small_disk(folder / "disk", 24) as mounted:
        if not mounted:
            return Row("full", SEED, wrong=["a small disk needs root"])
        peer = Peer(python, folder / "disk")
        peer.start()
        peer.put(300)
        time.sleep(2)  # its thread writes when it likes, and nothing tells that it has
        _fill(peer.folder)
        peer.put(1000)
        time.sleep(2)
        (peer.folder / "somebody's log").unlink()
        time.sleep(5)
        peer.put(300)
        time.sleep(5)
        peer.stop()
        return peer.row("full")


def page(python: Path, folder: Path) -> Row:
    """The pages that are noise under ours are noise under theirs: two in the middle of the file."""
    peer = Peer(python, folder)
    peer.start()
    peer.put(3000, 0)
    time.sleep(3)
    peer.stop()
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)')",
        ]
        + [str(each) for each in folder.rglob("*.db")],
        check=True,
    )  # what is in the log alone cannot be spoiled in the file
    file = max(folder.rglob("*.db"), key=lambda each: each.stat().st_size)
    pick = random.Random(SEED)
    with file.open("r+b") as data:
        pages = file.stat().st_size // 4096
        spoiled = [pick.randrange(pages // 4, pages) for _ in range(2)]
        for each in spoiled:
            data.seek(each * 4096)
            data.write(pick.randbytes(4096))
    row = peer.row("page")
    row.notes["pages_spoiled"] = f"{spoiled} of {pages}"
    return row


def idle_mb(python: Path, folder: Path) -> float:
    """The storage alone, without the gateway around it."""
    peer = Peer(python, folder)
    peer.start()
    assert peer.process is not None
    found = memory_mb(peer.process.pid)[0]
    peer.kill()
    return found


def ours_idle_mb() -> float:
    """Our whole daemon with 16 links."""
    with site(Row("idle", SEED), quick=True) as here:
        here.links(_IDLE_LINKS)
        here.box.start()
        return memory_mb(here.box.pid)[0]


def show(who: str, row: Row) -> None:
    notes = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in row.notes.items())
    print(
        f"{who:<22}{row.fault:<7}{row.sent:>8,}{row.acknowledged:>8,}{row.stored:>8,}{row.lost:>7,}{row.twice:>7}  "
        f"{'; '.join([*row.wrong, notes])}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="./xinglin bench peers-edge", description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--peer-only", action="store_true", help="without our own rows")
    arguments = parser.parse_args()
    _STATE.mkdir(exist_ok=True)
    protocols_peers.PEERS[PEER] = ("edge", _REQUIREMENT)
    print(f"{'storage':<22}{'fault':<7}{'sent':>8}{'acked':>8}{'stored':>8}{'lost':>7}{'twice':>7}  notes")
    try:
        python = environment(PEER)
        with tempfile.TemporaryDirectory(prefix="peers-", dir=_STATE) as made:
            folders = {name: Path(made) / name for name in ("kill", "full", "page", "idle")}
            for each in folders.values():
                each.mkdir()
            show(PEER, kill(python, folders["kill"], arguments.kills))
            show(PEER, full(python, folders["full"]))
            show(PEER, page(python, folders["page"]))
            print(f"{PEER:<22}idle RSS {idle_mb(python, folders['idle']):.1f} MB, its SQLite storage alone")
    except (PeerFailed, OSError, subprocess.SubprocessError) as failed:
        print(f"skipped: {PEER}: {failed}")
    if arguments.peer_only:
        return 0
    good = True
    for name, many in (("kill", arguments.kills), ("full", 1), ("page", 2)):
        row = strike(name, True, many, SEED)
        good = good and row.good
        show("ours", row)
    print(f"{'ours':<22}idle RSS {ours_idle_mb():.1f} MB, the daemon with {_IDLE_LINKS} links")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
