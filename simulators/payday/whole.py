"""The whole day from the first bill to the last refund, and what the three books say in the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from simulators.his.book import Book as HisBook
from simulators.money.book import Book, Refunded
from simulators.payday import play
from simulators.payday.play import Day
from simulators.payday.tally import Accountant, People, Row, channel_row, his_rows, judge

SABOTAGES = ("refund-twice", "his-forgets", "channel-forgets")
MOVING = ("paying", "refunding")
Say = Callable[[str], None]


@dataclass(slots=True)
class Books:
    """The strangers' books; without a HIS two are compared."""

    channels: dict[str, Book]
    his: HisBook | None

    def spoil(self, how: str) -> None:
        """One book is no longer what it was: what follows must be called wrong."""
        if how == "refund-twice":
            book = next(each for each in self.channels.values() if each.refunds)
            made = next(iter(book.refunds.values()))
            book.refunds["AGAIN"] = Refunded("AGAIN", made.order_number, made.fen, "AGAIN", "done")
        elif how == "channel-forgets":
            book = next(iter(self.channels.values()))
            book.orders.pop(next(each.number for each in book.orders.values() if each.state == "paid"))
        elif self.his is not None:
            self.his.money.pop(next(iter(self.his.money)))


def whole_day(
    day: Day,
    books: Books,
    accountant: Accountant,
    *,
    chaos: dict[str, float],
    seed: int,
    threads: int,
    patience_s: float,
    say: Say,
    every_s: float = 5.0,
) -> None:
    """Pay, have the channels' bills read, want money back, and wait until nothing moves any more."""
    begun = time.monotonic()
    for book in books.channels.values():
        book.set_chaos({"seed": seed, **chaos})
    say(f"{len(day.bills)} bills, accidents: {chaos or 'none'}")
    play.pay_all(day, threads=threads, say=say)
    took_s = time.monotonic() - begun
    say(f"all have paid, {len(day.bills) / took_s:.1f} bills/s; waiting for what was lost")
    came = play.until(lambda: _settled(books, accountant), within_s=patience_s / 3, every_s=every_s)
    say("every payment is in the ledger" if came else "payments are missing")
    play.want_back(day, threads=threads)
    say("refunds are asked for; waiting for what moves")
    ended = play.until(lambda: _quiet(day, books, accountant), within_s=patience_s, every_s=every_s)
    say("nothing moves any more" if ended else "it did not come to rest")
    for book in books.channels.values():
        book.set_chaos({})


def _settled(books: Books, accountant: Accountant) -> bool:
    """What no notice told of stands in the channel's bill at the latest."""
    for name in books.channels:
        accountant.read_bill(name, _today())
    return _alike(books, accountant.ledger())


def _quiet(day: Day, books: Books, accountant: Accountant) -> bool:
    ours = accountant.ledger()
    if not _alike(books, ours) or (books.his is not None and his_rows(books.his) != ours):
        return False
    waits = ((each.phone, bill) for each in day.payers for bill in each.bills if bill.plan != "pay")
    return all(phone.standing(bill) not in MOVING for phone, bill in waits)


def _alike(books: Books, ours: dict[str, Row]) -> bool:
    return all(ours.get(name, Row()) == channel_row(book) for name, book in books.channels.items())


def _today() -> str:
    return f"{datetime.now(ZoneInfo('Asia/Shanghai')):%Y-%m-%d}"


def told(day: Day, books: Books, accountant: Accountant, *, say: Say) -> dict[str, Any]:
    """The table, every patient, and whether all of it is right."""
    differences = {name: accountant.read_bill(name, _today()) for name in books.channels}
    people = judge(
        ((each.phone.channel, bill, each.phone.standing(bill)) for each in day.payers for bill in each.bills),
        books.channels,
    )
    alike = _table(books, accountant.ledger(), say)
    cases = accountant.cases()
    say(
        f"served {people.served}, given back {people.given_back}, neither {len(people.not_served)},"
        f" refunded twice {len(people.refunded_twice)}; money behind a closed order {people.late_money}"
    )
    say(f"differences in the bills {differences}, cases {len(cases)}, patients turned away {len(day.problems)}")
    for each in (people.not_served + people.refunded_twice + day.problems + cases)[:10]:
        say(f"  {each}")
    right = alike and _all_well(people) and not day.problems and not cases and not any(differences.values())
    right = right and None not in differences.values()
    say("RIGHT" if right else "WRONG")
    return {
        "right": right,
        "alike": alike,
        "bills": len(day.bills),
        "served": people.served,
        "given_back": people.given_back,
        "neither": len(people.not_served),
        "refunded_twice": len(people.refunded_twice),
        "late_money": people.late_money,
        "turned_away": len(day.problems),
        "differences": differences,
        "cases": len(cases),
    }


def _all_well(people: People) -> bool:
    return not people.not_served and not people.refunded_twice


def _table(books: Books, ours: dict[str, Row], say: Say) -> bool:
    theirs = None if books.his is None else his_rows(books.his)
    say(f"{'':<20} {'payments':>8} {'yuan':>14} {'refunds':>8} {'yuan':>13} {'net yuan':>14}")
    alike = True
    for name, book in books.channels.items():
        rows = {"channel": channel_row(book), "ledger": ours.get(name, Row())}
        if theirs is not None:
            rows["HIS"] = theirs.get(name, Row())
        for which, row in rows.items():
            say(f"{name + ' ' + which:<20} {row}")
        same = len(set(rows.values())) == 1
        alike = alike and same
        say(f"{'':<20} {' = '.join(rows) if same else 'NOT ALIKE'}")
    return alike
