"""`python -m simulators money --payments 10000 --chaos`: a pay day against a real service, and three books compared.

It ends with 0 only if every channel's book, the hospital's ledger and the HIS's book say the same, every patient was
served or has their money back, and nobody was refunded twice.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from types import FrameType
from zoneinfo import ZoneInfo

from simulators.demo.programs import DidNotStart
from simulators.payday import play
from simulators.payday.stage import Stage
from simulators.payday.tally import Accountant
from simulators.payday.whole import SABOTAGES, Books, told, whole_day


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--payments", type=int, default=1000, help="bills to be paid, half of them over each channel")
    parser.add_argument("--chaos", action="store_true", help="notices lost, doubled and late, late money, lost calls")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=8, help="patients at once")
    parser.add_argument("--patience", type=float, default=1800, help="seconds until nothing may move any more")
    parser.add_argument("--sabotage", choices=SABOTAGES, help="spoil one book at the end: must end with 1")
    parser.add_argument("--folder", type=Path, help="where everything lies; default: a fresh one that is removed")
    parser.add_argument("--json", action="store_true", help="one JSON line at the end as well")


def run(arguments: argparse.Namespace) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="xinglin-money-"))
    folder.mkdir(parents=True, exist_ok=True)
    stage = Stage(folder)
    try:
        stage.start()
        return _day(stage, arguments)
    except DidNotStart as trouble:
        print(trouble, file=sys.stderr)
        return 1
    finally:
        stage.stop()
        if arguments.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _day(stage: Stage, arguments: argparse.Namespace) -> int:
    accounts = min(max(arguments.payments // 100, 4), 200)
    seeded = stage.seed(arguments.payments, accounts, arguments.seed)
    books = Books({"wechat": stage.wechat.book, "alipay": stage.alipay.book}, stage.his.book)
    accountant = Accountant(stage.webs[-1], seeded["accountant"], seeded["password"])
    day = play.plan(seeded, stage.webs, seed=arguments.seed, chaos=arguments.chaos)
    whole_day(
        day,
        books,
        accountant,
        chaos=play.CHAOS if arguments.chaos else {},
        seed=arguments.seed,
        threads=arguments.threads,
        patience_s=arguments.patience,
        say=_say,
    )
    if arguments.sabotage:
        books.spoil(arguments.sabotage)
    outcome = told(day, books, accountant, say=_say)
    if arguments.json:
        print(json.dumps(outcome, ensure_ascii=False))
    return 0 if outcome["right"] else 1


def _say(text: str) -> None:
    print(f"{datetime.now(ZoneInfo('Asia/Shanghai')):%H:%M:%S} {text}", flush=True)
