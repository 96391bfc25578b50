"""``./xinglin bench ingest``: what applying costs, from the stored inbox message to results on the review page.

Blood counts of 24 results each, every specimen's first and only measurement, stored in the inbox beforehand; what is
timed is `cloud.gateways.apply.apply_link` with the laboratory's own `ingest`, one worker, until the link is empty.
PostgreSQL runs beside it without syncs (as in the tests), so the figures are the worker's work and not the disk's;
`cpu` is the worker's own processor time, which other load on the machine disturbs least.

``--against REVISION`` measures that commit too, in turns with this tree on the same machine, and prints the ratio.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from cloud import config
from cloud.app import load_slices
from cloud.gateways import leases
from cloud.gateways.apply import apply_link
from cloud.gateways.leases import Lease
from cloud.gateways.model import InboxMessage
from cloud.gateways.service import register_gateway
from cloud.hospital.service import main_campus
from cloud.kit import db
from cloud.kit.db import begin
from cloud.lis.results.model import Result
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from protocols.uplink.items import item_to_json
from tests.support.bench import GATEWAY, LINK, observed, set_up
from tests.support.databases import DatabaseServer

ROOT = Path(__file__).resolve().parents[2]
EPOCH = "5f3a9c0e11d2b744"
KEY = (GATEWAY, EPOCH, LINK)
COUNT = {
    "WBC": "6.2", "RBC": "4.5", "HGB": "131", "HCT": "0.40", "MCV": "89.1", "MCH": "29.6", "MCHC": "331",
    "PLT": "221", "RDW_SD": "42.0", "RDW_CV": "13.1", "PDW": "12.0", "MPV": "9.9", "P_LCR": "25.0", "PCT_PLT": "0.21",
    "NEUT_ABS": "3.60", "NEUT_PCT": "58.0", "LYMPH_ABS": "1.98", "LYMPH_PCT": "32.0", "MONO_ABS": "0.43",
    "MONO_PCT": "7.0", "EO_ABS": "0.15", "EO_PCT": "2.5", "BASO_ABS": "0.03", "BASO_PCT": "0.5",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measure:
    """One run over one database."""

    messages: int
    results: int
    statements: int
    seconds: float
    cpu: float

    def line(self, name: str) -> str:
        return (
            f"{name}: {self.messages / self.seconds:.1f} messages/s, {self.results / self.seconds:.0f} results/s,"
            f" {self.statements / self.messages:.1f} statements a message,"
            f" {1000 * self.cpu / self.messages:.1f} ms cpu a message"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=120)
    parser.add_argument("--against", metavar="REVISION", help="measure this commit too and print the ratio")
    parser.add_argument("--rounds", type=int, default=3, help="with --against: how many turns each")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    arguments = parser.parse_args()
    if arguments.against:
        return compare(arguments.against, arguments.messages, arguments.rounds)
    measured = measure(arguments.messages, profile=arguments.profile)
    print(json.dumps(asdict(measured)) if arguments.json else measured.line("ingest"))
    return 0


def measure(messages: int, *, profile: bool = False) -> Measure:
    """Fill a fresh database's inbox, apply all of it, and count."""
    with DatabaseServer.start().clone() as url:
        os.environ |= {"XINGLIN_ENVIRONMENT": "test", "XINGLIN_DATABASE_URL": url}
        config.settings.cache_clear()
        db.engine.cache_clear()
        db._sessions.cache_clear()
        load_slices()
        try:
            lease = fill(messages)
            return _apply(lease, messages, profile)
        finally:
            db.engine().dispose()


def fill(messages: int) -> Lease:
    """A box, as many received specimens, and one message of each in the inbox; gives the worker's lease."""
    with begin() as session:
        bench = set_up(session)
        register_gateway(session, id=GATEWAY, name=GATEWAY, campus_id=main_campus(session).id, partition=0)
        for sequence in range(1, messages + 2):
            session.add(_message(session, bench.specimen(*COUNT), sequence))
        leases.make(session, 1)
        held, _ = leases.beat(session, "bench", seconds=3600, partitions=1)
    return held[0]


def _message(session: Session, specimen: Specimen, sequence: int) -> InboxMessage:
    return InboxMessage(
        gateway=GATEWAY,
        epoch=EPOCH,
        link=LINK,
        sequence=sequence,
        received_at=datetime.now(UTC),
        driver="sysmex_xn",
        driver_version="1",
        raw=b"",
        sha256="",
        items=[item_to_json(observed(specimen, code, value)) for code, value in COUNT.items()],
    )


def _apply(lease: Lease, messages: int, profile: bool) -> Measure:
    apply_link(begin, lease, KEY, ingest, run=1)  # the first message pays for connecting and compiling statements
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(db.engine(), "before_cursor_execute", count)
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    started, cpu = time.perf_counter(), time.process_time()
    applied = 0
    while (done := apply_link(begin, lease, KEY, ingest)).applied:
        applied += done.applied
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    profiler.disable()
    event.remove(db.engine(), "before_cursor_execute", count)
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(70)
    with begin() as session:
        stored = len(session.scalars(select(Result.id)).all()) - len(COUNT)
    if (applied, stored) != (messages, messages * len(COUNT)):
        sys.exit(f"{applied} of {messages} messages applied, {stored} results stored")
    return Measure(messages, stored, statements, seconds, cpu)


def compare(revision: str, messages: int, rounds: int) -> int:
    """This tree and another commit in turns; medians and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", revision], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        kept = Path(folder) / "tree.tar"
        kept.write_bytes(archive)
        with tarfile.open(kept) as tar:
            tar.extractall(folder, filter="data")
        runs: dict[str, list[Measure]] = {revision: [], "this tree": []}
        for _ in range(rounds):
            for name, tree in ((revision, Path(folder)), ("this tree", ROOT)):
                runs[name].append(_run_in(tree, messages))
    for name, found in runs.items():
        print(_median(found).line(name))
    before, after = _median(runs[revision]), _median(runs["this tree"])
    print(
        f"this tree does {before.seconds / after.seconds:.2f} times the messages/s,"
        f" with {after.cpu / before.cpu:.2f} of the cpu"
        f" and {after.statements / before.statements:.2f} of the statements"
    )
    return 0


def _run_in(tree: Path, messages: int) -> Measure:
    """This file over the packages of `tree` (-P: the folder of benches is not on the path)."""
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "XINGLIN_TEST_STATE_DIR": os.environ.get("XINGLIN_TEST_STATE_DIR", str(ROOT / ".state" / "test")),
    }
    command = [sys.executable, "-P", str(Path(__file__).resolve()), "--json", "--messages", str(messages)]
    done = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return Measure(**json.loads(done.stdout.splitlines()[-1]))


def _median(found: Sequence[Measure]) -> Measure:
    return Measure(
        found[0].messages,
        found[0].results,
        found[0].statements,
        statistics.median(each.seconds for each in found),
        statistics.median(each.cpu for each in found),
    )


if __name__ == "__main__":
    sys.exit(main())
