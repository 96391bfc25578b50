"""The three books beside one another, and every single patient: served or refunded, and nobody refunded twice."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

import httpx

from simulators.his.book import Book as HisBook
from simulators.money.book import Book
from simulators.payday.phone import TOKEN, Bill

WORDS = {"微信支付": "wechat", "支付宝": "alipay", "现金": "cash"}
SERVED = ("paid", "partly_executed", "executed")
GIVEN_BACK = ("refunded",)


@dataclass(frozen=True, slots=True)
class Row:
    """One book of one channel: numbers, and fen."""

    paid: int = 0
    paid_fen: int = 0
    refunds: int = 0
    refunded_fen: int = 0

    def __add__(self, other: Row) -> Row:
        return Row(
            self.paid + other.paid,
            self.paid_fen + other.paid_fen,
            self.refunds + other.refunds,
            self.refunded_fen + other.refunded_fen,
        )

    def __str__(self) -> str:
        net = self.paid_fen - self.refunded_fen
        return (
            f"{self.paid:>8} {self.paid_fen / 100:>14.2f} {self.refunds:>8} {self.refunded_fen / 100:>13.2f}"
            f" {net / 100:>14.2f}"
        )


class Accountant:
    """Signed in at the hospital's pages; reads what an accountant reads."""

    def __init__(self, web: str, login: str, password: str) -> None:
        self.token = ""
        self._http = httpx.Client(base_url=web, timeout=120, trust_env=False, follow_redirects=True)
        self._token(self._http.get("/staff/sign-in"))
        self._token(self._post("/staff/sign-in", {"login": login, "password": password}))
        self._token(self._http.get("/staff/payments/cases"))

    def close(self) -> None:
        self._http.close()

    def _token(self, page: httpx.Response) -> None:
        page.raise_for_status()
        found = TOKEN.search(page.text)
        self.token = found[1] if found else self.token

    def _post(self, path: str, form: Mapping[str, str]) -> httpx.Response:
        return self._http.post(path, data={**form, "csrf_token": self.token})

    def ledger(self) -> dict[str, Row]:
        """By channel, from the exported statement of this year."""
        today = date.today()  # noqa: DTZ011  a span that holds every day of the trial, whatever the zone
        span = {"first": f"{today.year - 1}-12-30", "last": f"{today.year}-12-31"}
        answer = self._http.get("/staff/payments/statement/export.csv", params=span)
        answer.raise_for_status()
        found: dict[str, Row] = {}
        for row in list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))[1:]:
            name = WORDS.get(row[1], row[1])
            one = Row(int(row[3]), _fen(row[4]), int(row[5]), _fen(row[6]))
            found[name] = found.get(name, Row()) + one
        return found

    def read_bill(self, channel: str, day: str) -> int | None:
        """Have the channel's bill of the day read; the number of open differences, None where it could not be read."""
        self._token(self._http.get("/staff/payments/cases"))
        answer = self._post(f"/staff/payments/days/{channel}/{day}/read", {})
        return answer.text.count("data-difference=") if answer.status_code == 200 else None

    def cases(self) -> list[str]:
        """Kinds of the cases that wait for a person."""
        return re.findall(r'data-case="([a-z_]+)"', self._http.get("/staff/payments/cases").text)


def _fen(yuan: str) -> int:
    return round(float(yuan) * 100)


def channel_row(book: Book) -> Row:
    totals = book.totals()
    return Row(totals["paid"], totals["paid_fen"], totals["refunds"], totals["refunded_fen"])


def his_rows(book: HisBook) -> dict[str, Row]:
    """What the hospital's information system was told and has booked, by channel."""
    found: dict[str, Row] = {}
    with book.lock:
        for each in book.money.values():
            name = each.channel.lower()
            one = Row(1, each.fen, 0, 0) if each.fen > 0 else Row(0, 0, 1, -each.fen)
            found[name] = found.get(name, Row()) + one
    return found


@dataclass(slots=True)
class People:
    """How many patients are how, and who is not as they should be."""

    served: int = 0
    given_back: int = 0
    not_served: list[str] = field(default_factory=list)
    refunded_twice: list[str] = field(default_factory=list)
    late_money: int = 0
    """Orders that were paid behind their closing."""


def judge(bills: Iterable[tuple[str, Bill, str]], books: Mapping[str, Book]) -> People:
    """(channel, bill, how its patient sees it): the money that the channel kept of its orders must be the bill's, or
    nothing."""
    people = People()
    for channel, bill, standing in bills:
        book = books[channel]
        kept = 0
        for number in bill.orders:
            order = book.orders.get(number)
            paid = order.fen if order is not None and order.state == "paid" else 0
            back = book.refunded(number)
            if back > paid:
                people.refunded_twice.append(number)
            kept += paid - back
        people.late_money += bill.plan in ("late", "twice")
        if standing in SERVED and kept == bill.fen and bill.plan != "refund":
            people.served += 1
        elif (standing in GIVEN_BACK and kept == 0) or (standing == "payable" and kept == 0 and bill.plan == "late"):
            people.given_back += 1
        else:
            people.not_served.append(f"{bill.id} {bill.plan} {standing} kept {kept} of {bill.fen}")
    return people
