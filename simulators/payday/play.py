"""The day: who does what, played by several threads, and the wait until nothing moves any more."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from simulators.payday.phone import Bill, NotServed, Phone

LATE, TWICE, REFUND = 0.05, 0.05, 0.10
"""Shares: money behind a closed order (half of them paid anew meanwhile), and bills that are wanted back."""
CHAOS = {
    "notice_lost": 0.20,
    "notice_doubled": 0.20,
    "notice_late": 0.10,
    "late_s": 5.0,
    "refund_unknown": 0.05,
    "call_lost_before": 0.01,
    "call_lost_after": 0.01,
}


@dataclass(slots=True)
class Payer:
    phone: Phone
    bills: list[Bill]


@dataclass(slots=True)
class Day:
    payers: list[Payer]
    problems: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: int = 0

    @property
    def bills(self) -> list[Bill]:
        return [bill for payer in self.payers for bill in payer.bills]


def plan(seeded: dict[str, Any], webs: Sequence[str], *, seed: int, chaos: bool, pause_s: float = 0.5) -> Day:
    """Who does what, drawn with one seed."""
    drawn = random.Random(seed)
    payers = []
    for at, each in enumerate(seeded["payers"]):
        phone = Phone(webs[at % len(webs)], each["channel"], each["cookies"], pause_s)
        bills = [Bill(one["id"], one["fen"]) for one in each["charges"]]
        for bill in bills:
            lot = drawn.random()
            if chaos and lot < LATE:
                bill.plan = "late"
            elif chaos and lot < LATE + TWICE:
                bill.plan = "twice"
            elif lot > 1 - REFUND:
                bill.plan = "refund"
        payers.append(Payer(phone, bills))
    return Day(payers)


def pay_all(day: Day, *, threads: int, say: Callable[[str], None] | None = None) -> None:
    """Every patient, one bill after the other; several patients at once."""
    _each(day, day.payers, _pays, threads, say)


def want_back(day: Day, *, threads: int) -> None:
    """Those who want their money back ask for it, once it has come."""
    _each(day, day.payers, _wants_back, threads, None)


def _each(
    day: Day,
    payers: Iterable[Payer],
    act: Callable[[Day, Payer, Bill], None],
    threads: int,
    say: Callable[[str], None] | None,
) -> None:
    def one(payer: Payer) -> None:
        for bill in payer.bills:
            try:
                act(day, payer, bill)
            except (NotServed, OSError) as problem:
                with day.lock:
                    day.problems.append(str(problem))
            with day.lock:
                day.done += 1
                if say is not None and day.done % 1000 == 0:
                    say(f"{day.done} bills")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, payers))


def _pays(_day: Day, payer: Payer, bill: Bill) -> None:
    phone = payer.phone
    page = phone.begin(bill)
    host, number = phone.order(phone.cashier(page))
    bill.orders.append(number)
    if bill.plan in ("pay", "refund"):
        phone.tap(host, number)
        return
    phone.give_up(page)
    if bill.plan == "twice":
        again = phone.begin(bill)
        host, second = phone.order(phone.cashier(again))
        bill.orders.append(second)
        phone.tap(host, second)
    phone.tap(host, number, late=True)


def _wants_back(_day: Day, payer: Payer, bill: Bill) -> None:
    if bill.plan == "refund":
        payer.phone.want_back(bill)


def until(quiet: Callable[[], bool], *, within_s: float, every_s: float) -> bool:
    """Ask again and again; False when the time is over."""
    deadline = time.monotonic() + within_s
    while not quiet():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True
