"""Ten thousand power cuts under the real store: ``./xinglin bench powercut --cuts 10000``.

Lives are recorded write by write (`powercut_disk`), cut at random boundaries, and each image is opened as a box opens
its store at a start (`powercut_life`). The last cut of a life is what the next one begins with, so that recovery is cut
too. With ``--synchronous NORMAL`` the same harness must show losses: it proves that it can.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from unittest import mock

from edge.errors import EdgeError
from edge.store.store import Store
from tests.bench.powercut_disk import Cutter, Recorder, Said, Sqlite3OverApsw, Step, Sync, Write
from tests.bench.powercut_life import LINKS, Life, LinkTruth, Lost, Piece, Truth, compare, look

_BURSTS = 120
_LIVES_OF_A_FILE = 8
_MEMORY = Path("/dev/shm")


@dataclass
class Figures:
    synchronous: str
    cuts: int = 0
    lives: int = 0
    acknowledged: int = 0
    """Pieces answered before their cut, over all cuts."""
    cuts_with_loss: int = 0
    cuts_not_opened: int = 0
    """A start raised: somebody would have had to come."""
    in_doubt_kept: int = 0
    """Cuts after which something was there that had not been answered yet."""
    writes: int = 0
    syncs: int = 0
    seconds: float = 0.0
    first_losses: list[str] = field(default_factory=list)


def run(cuts: int, seed: int, synchronous: str = "FULL", cuts_of_a_life: int = 50) -> Figures:
    figures = Figures(synchronous)
    pick = random.Random(seed)
    began = time.monotonic()
    recorder = Recorder()
    with tempfile.TemporaryDirectory(prefix="powercut-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        before: dict[str, bytes] = {}
        while figures.cuts < cuts:
            if figures.lives % _LIVES_OF_A_FILE == 0:
                before = {}
            many = min(cuts_of_a_life, cuts - figures.cuts)
            before = _one_life(Path(folder), before, many, pick, recorder, figures)
    figures.seconds = round(time.monotonic() - began, 1)
    return figures


def _one_life(
    folder: Path, before: dict[str, bytes], cuts: int, pick: random.Random, recorder: Recorder, figures: Figures
) -> dict[str, bytes]:
    """The files that its last cut left, for the next life."""
    path = _laid_out(folder, before)
    truth = look(path).truth if before else None  # closed again: nothing of it is in doubt
    before = {each.name: each.read_bytes() for each in _files(path)} if before else {}
    steps, truth = _recorded(path, truth, pick, recorder, figures.synchronous)
    figures.lives += 1
    figures.writes += sum(isinstance(each, Write) for each in steps)
    figures.syncs += sum(isinstance(each, Sync) for each in steps)
    first = next(number for number, each in enumerate(steps) if isinstance(each, Said))
    at = sorted(pick.randrange(first, len(steps)) for _ in range(cuts))
    cutter, image, done = Cutter(before), before, 0
    live = Counter[Piece]()
    for boundary in at:
        for step in steps[done:boundary]:
            cutter.take(step)
            if isinstance(step, Said):
                _take(step, truth, live)
        done = boundary
        image = cutter.image(pick)
        _one_cut(_laid_out(folder, image), truth, [*live.elements()], figures)
    return image


def _take(said: Said, truth: Truth, in_doubt: Counter[Piece]) -> None:
    if isinstance(said.what, Piece):
        in_doubt[said.what] += 1
    else:
        piece, value = said.what
        del in_doubt[piece]
        piece.holds(truth, value)


def _recorded(
    path: Path, known: Truth | None, pick: random.Random, recorder: Recorder, synchronous: str
) -> tuple[list[Step], Truth]:
    """The life's steps, and the truth at its beginning."""
    recorder.steps.clear()
    with mock.patch("edge.store.schema.sqlite3", Sqlite3OverApsw(recorder, synchronous)), Store(path) as store:
        links = {each: LinkTruth() for each in LINKS}
        truth = Truth(store.epoch, links) if known is None else known
        start = _copy(truth)
        Life(store, truth, pick, recorder.steps.append).live(_BURSTS)
        steps = list(recorder.steps)  # not its orderly end
    return steps, start


def _copy(truth: Truth) -> Truth:
    links = {
        link: LinkTruth(each.last_sequence, dict(each.messages), dict(each.open), each.delivered_through)
        for link, each in truth.links.items()
    }
    return Truth(truth.epoch, links, truth.revision, dict(truth.orders))


def _one_cut(path: Path, truth: Truth, in_doubt: list[Piece], figures: Figures) -> None:
    figures.cuts += 1
    figures.acknowledged += sum(len(each.messages) + len(each.open) for each in truth.links.values())
    try:
        found = look(path)
        compare(truth, in_doubt, found)
    except Lost as loss:
        figures.cuts_with_loss += 1
        figures.first_losses = [*figures.first_losses, str(loss)][:5]
    except (sqlite3.Error, EdgeError) as error:
        figures.cuts_not_opened += 1
        figures.first_losses = [*figures.first_losses, f"not opened: {error}"][:5]
    else:
        more = any(
            found.truth.links[link].last_sequence > each.last_sequence + 1  # one was written after the start
            for link, each in truth.links.items()
            if link in found.truth.links
        )
        figures.in_doubt_kept += more


def _files(path: Path) -> list[Path]:
    return [each for each in path.parent.iterdir() if each.name.startswith(path.name) and each.suffix != ".lock"]


def _laid_out(folder: Path, image: dict[str, bytes]) -> Path:
    place = folder / "cut"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name, data in image.items():
        if not name.endswith("-shm"):  # memory, not disk
            (place / name).write_bytes(data)
    return place / "box.db"


def main() -> int:
    parser = argparse.ArgumentParser(prog="./xinglin bench powercut", description=__doc__.split("\n")[0])
    parser.add_argument("--cuts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--synchronous", choices=("FULL", "NORMAL"), default=None, help="default: both, NORMAL shorter")
    arguments = parser.parse_args()
    modes = [arguments.synchronous] if arguments.synchronous else ["FULL", "NORMAL"]
    good = True
    for mode in modes:
        cuts = arguments.cuts if mode == "FULL" or arguments.synchronous else min(1000, arguments.cuts)
        figures = run(cuts, arguments.seed, mode)
        print(json.dumps(asdict(figures), indent=2))
        bad = figures.cuts_with_loss + figures.cuts_not_opened
        good = good and (bad == 0 if mode == "FULL" else bad > 0)
    print("as promised" if good else "NOT as promised")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
