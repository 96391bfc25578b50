"""A small pay day with every accident at once: equal books, everybody served or refunded; a spoilt book is seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cloud.config import settings
from cloud.demo import payers
from cloud.his import delivery
from cloud.kit.db import begin
from simulators.payday import play
from simulators.payday.tally import Accountant, his_rows
from simulators.payday.whole import Books, told, whole_day
from tests.support import paying
from tests.support.cashiers import running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.his_numbers import standing_his
from tests.support.site import running_site
from tests.support.work import work

pytestmark = [pytest.mark.req("PAY-6"), pytest.mark.req("PAY-5")]

BILLS = 8
PLANS = ("pay", "late", "twice", "refund")
CHAOS = {**play.CHAOS, "notice_lost": 0.4, "notice_doubled": 0.4, "late_s": 0.1, "refund_unknown": 0.3}


@dataclass(frozen=True, slots=True)
class Played:
    day: play.Day
    books: Books
    accountant: Accountant


@pytest.fixture(scope="module")
def played(database_server: DatabaseServer) -> Iterator[Played]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        running(patched) as cashiers,
        standing_his() as his,
        running_site() as site,
    ):
        patched.setenv("XINGLIN_PUBLIC_URL", site.base_url)  # where the channels' notices go
        patched.setenv("XINGLIN_HIS_HOST", "127.0.0.1")
        patched.setenv("XINGLIN_HIS_PORT", str(his.port))
        settings.cache_clear()
        seeded = payers.run(BILLS, accounts=2, seed=3)
        accountant = Accountant(site.base_url, seeded["accountant"], seeded["password"])
        books = Books({"wechat": cashiers.wechat.book, "alipay": cashiers.alipay.book}, his.book)
        day = play.plan(seeded, [site.base_url], seed=3, chaos=True, pause_s=0.05)
        for payer in day.payers:
            for bill, wanted in zip(payer.bills, PLANS, strict=True):
                bill.plan = wanted
        over = threading.Event()
        worker = threading.Thread(target=_works, args=(over,))
        worker.start()
        try:
            whole_day(
                day, books, accountant, chaos=CHAOS, seed=3, threads=2, patience_s=60, every_s=0.1, say=lambda _: None
            )
        finally:
            over.set()
            worker.join()
        yield Played(day, books, accountant)
        accountant.close()
        for each in day.payers:
            each.phone.close()


def _works(over: threading.Event) -> None:
    """The job worker, whose waits are over at once."""
    while not over.wait(0.02):
        paying.sweep(1)
        work("payments", "billing", "his")
        delivery.deliver(begin)


def test_every_accident_of_a_pay_day_ends_with_equal_books_and_nobody_forgotten(played: Played) -> None:
    outcome = told(played.day, played.books, played.accountant, say=print)
    assert outcome["right"], outcome
    assert played.books.his is not None
    assert set(his_rows(played.books.his)) == {"wechat", "alipay"}  # all three books are compared
    assert (outcome["served"] + outcome["given_back"], outcome["neither"]) == (BILLS, 0)


@pytest.mark.parametrize("how", ["refund-twice", "channel-forgets", "his-forgets"])
def test_a_book_that_was_spoilt_is_called_wrong(played: Played, how: str) -> None:
    before = {name: (dict(each.orders), dict(each.refunds)) for name, each in played.books.channels.items()}
    assert played.books.his is not None
    booked = dict(played.books.his.money)
    played.books.spoil(how)
    try:
        assert not told(played.day, played.books, played.accountant, say=print)["right"]
    finally:
        for name, (orders, refunds) in before.items():
            played.books.channels[name].orders = orders
            played.books.channels[name].refunds = refunds
        played.books.his.money.clear()
        played.books.his.money.update(booked)
