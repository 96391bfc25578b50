"""What both channels share: books, notices on their way, a phone page where a person taps "pay", accidents at will."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from simulators.http_service import Answer, HttpService, Request, as_json, as_page
from simulators.ledger import Ledger
from simulators.money import pages
from simulators.money.book import Book, Order, Refusal
from simulators.money.telling import Teller


class CashierService(HttpService):
    """Subclasses say what an order is asked for by (`wanted`) and how a payment is told (`paid`)."""

    channel = ""

    def __init__(self, ledger: Ledger, prefix: str, accepted: Callable[[int, bytes], bool]) -> None:
        super().__init__(ledger)
        self.book = Book(prefix)
        self.teller = Teller(self.book, ledger, accepted)
        self.base = ""
        self.routes |= {
            ("GET", "/"): self.page,
            ("GET", "/cashier"): self.cashier,
            ("POST", "/cashier"): self.tap,
            ("POST", "/simulator/pay"): self.pay_at_once,
            ("POST", "/simulator/pay-all-the-same"): self.pay_all_the_same,
            ("POST", "/simulator/chaos"): self.set_chaos,
            ("GET", "/simulator/totals"): lambda _request: as_json(self.book.totals()),
        }

    def wanted(self, request: Request) -> Order:
        """The order that a page asks to be paid. Raises `Refusal`."""
        raise NotImplementedError

    def paid(self, number: str, *, late: bool = False) -> Order:
        """Somebody tapped "pay"; `late`: their money arrives behind the order's closing. Raises `Refusal`."""
        raise NotImplementedError

    def page(self, _request: Request) -> Answer:
        """For a visitor of the demo: what this channel has booked, newest first."""
        with self.book.lock:
            orders = list(self.book.orders.values())[-100:][::-1]
            refunds = list(self.book.refunds.values())
        return as_page(pages.booked(self.channel, orders, refunds, self.book.totals()))

    def cashier(self, request: Request) -> Answer:
        """What opens when a page asks the channel to pay: the amount, and a button."""
        try:
            order = self.wanted(request)
        except Refusal:
            return as_page("<h1>订单不存在</h1>", 404)
        return as_page(pages.cashier(self.channel, order, request.query.get("back", "")))

    def tap(self, request: Request) -> Answer:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        try:
            order = self.paid(form.get("number", ""))
        except Refusal as refusal:
            return as_page(pages.over(html.escape(refusal.code), form.get("back", "")), 409)
        return as_page(pages.paid(self.channel, order, form.get("back", "")))

    def pay_at_once(self, request: Request) -> Answer:
        """For programs: somebody has tapped "pay"."""
        try:
            order = self.paid(str(request.json().get("number", "")))
        except Refusal as refusal:
            return as_json({"error": refusal.code}, 409)
        return as_json({"transaction_id": order.transaction_id})

    def pay_all_the_same(self, request: Request) -> Answer:
        """For programs: the money of a closed order arrives behind its closing."""
        try:
            order = self.paid(str(request.json().get("number", "")), late=True)
        except Refusal as refusal:
            return as_json({"error": refusal.code}, 409)
        return as_json({"transaction_id": order.transaction_id})

    def set_chaos(self, request: Request) -> Answer:
        try:
            self.book.set_chaos(request.json())
        except TypeError as error:
            return as_json({"error": str(error)}, 400)
        return as_json({"ok": True})

    def start(self, host: str, port: int) -> Any:
        server = super().start(host, port)
        self.base = f"http://{host}:{server.server_port}"
        return server
