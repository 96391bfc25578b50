"""A channel's own books: orders, payments, refunds, and the accidents that it was asked to have.

Times are epoch seconds. An order is paid once, and only until it expires or is closed. A refund number is one refund.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Order:
    number: str
    fen: int
    payer: str
    subject: str
    notice_url: str
    expires_at: float
    channel_number: str
    made_at: float = field(default_factory=time.time)
    state: str = "unpaid"
    """``unpaid``, ``paid``, ``closed``."""
    transaction_id: str = ""
    paid_at: float = 0.0
    sign_type: str = ""
    opened: bool = True
    """False: a signed page that nobody has opened; the channel does not know the number yet."""


@dataclass(slots=True)
class Refunded:
    number: str
    order_number: str
    fen: int
    channel_number: str
    state: str
    """``processing``, ``done``, ``failed``."""
    at: float = field(default_factory=time.time)
    notice_url: str = ""


@dataclass(slots=True)
class Chaos:
    """Shares (0 to 1) of what goes wrong, drawn with one seed."""

    seed: int = 1
    notice_lost: float = 0.0
    notice_doubled: float = 0.0
    notice_late: float = 0.0
    late_s: float = 5.0
    refund_unknown: float = 0.0
    """The refund is made, and its call ends without an answer."""
    refund_failed: float = 0.0
    call_lost_before: float = 0.0
    """A call ends without an answer and without effect."""
    call_lost_after: float = 0.0
    refunds_stay_processing_s: float = 0.0


class Refusal(Exception):
    """The channel's no; `code` in words both channels translate into their own."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Book:
    """Thread safe; every method is one booking."""

    def __init__(self, prefix: str) -> None:
        self.lock = threading.RLock()
        self.orders: dict[str, Order] = {}
        self.refunds: dict[str, Refunded] = {}
        self.chaos = Chaos()
        self.random = random.Random(1)
        self._prefix = prefix
        self._drawn = 0

    def set_chaos(self, wish: dict[str, Any]) -> None:
        with self.lock:
            self.chaos = Chaos(**wish)
            self.random = random.Random(self.chaos.seed)

    def happens(self, share: float) -> bool:
        with self.lock:
            return share > 0 and self.random.random() < share

    def number(self) -> str:
        with self.lock:
            self._drawn += 1
            return f"{self._prefix}{int(time.time())}{self._drawn:010d}"

    def place(self, order: Order) -> Order:
        """The order of this number; the same again gives the one that is there. Raises `Refusal`."""
        with self.lock:
            known = self.orders.get(order.number)
            if known is None:
                if order.expires_at <= time.time():
                    raise Refusal("expired")
                self.orders[order.number] = order
                return order
            if known.fen != order.fen or known.payer not in ("", order.payer):
                raise Refusal("number_used")
            if known.state == "paid":
                raise Refusal("paid")
            if known.state == "closed":
                raise Refusal("closed")
            return known

    def pay(self, number: str, payer: str = "") -> Order:
        """A person taps "pay". Raises `Refusal` (absent, paid, closed, expired)."""
        with self.lock:
            order = self.orders.get(number)
            if order is None:
                raise Refusal("absent")
            if order.state != "unpaid":
                raise Refusal(order.state)
            if order.expires_at <= time.time():
                raise Refusal("expired")
            order.state, order.paid_at, order.transaction_id = "paid", time.time(), self.number()
            order.payer, order.opened = order.payer or payer, True
            return order

    def pay_all_the_same(self, number: str) -> Order:
        """The bank had the money on its way when the order was closed; it arrives behind it. Raises `Refusal` (absent,
        paid)."""
        with self.lock:
            order = self.orders.get(number)
            if order is None or order.state == "paid":
                raise Refusal("absent" if order is None else "paid")
            order.state, order.expires_at = "unpaid", time.time() + 60
            return self.pay(number)

    def find(self, number: str) -> Order:
        with self.lock:
            order = self.orders.get(number)
            if order is None or not order.opened:
                raise Refusal("absent")
            if order.state == "unpaid" and order.expires_at <= time.time():
                order.state = "closed"
            return order

    def close(self, number: str) -> Order:
        with self.lock:
            order = self.find(number)
            if order.state == "paid":
                raise Refusal("paid")
            order.state = "closed"
            return order

    def refund(self, number: str, refund_number: str, fen: int, notice_url: str = "") -> tuple[Refunded, bool]:
        """The refund of this number and whether this call made it. Raises `Refusal`."""
        with self.lock:
            known = self.refunds.get(refund_number)
            if known is not None:
                if (known.order_number, known.fen) != (number, fen):
                    raise Refusal("refund_number_used")
                return known, False
            order = self.find(number)
            if order.state != "paid":
                raise Refusal("unpaid")
            if fen <= 0 or fen > order.fen - self.refunded(number):
                raise Refusal("refund_too_much")
            wait = self.chaos.refunds_stay_processing_s
            state = "failed" if self.happens(self.chaos.refund_failed) else "processing" if wait else "done"
            made = Refunded(refund_number, number, fen, self.number(), state, notice_url=notice_url)
            self.refunds[refund_number] = made
            return made, True

    def find_refund(self, refund_number: str) -> Refunded:
        with self.lock:
            found = self.refunds.get(refund_number)
            if found is None:
                raise Refusal("refund_absent")
            if found.state == "processing" and time.time() >= found.at + self.chaos.refunds_stay_processing_s:
                found.state = "done"
            return found

    def refunded(self, number: str) -> int:
        with self.lock:
            return sum(
                each.fen for each in self.refunds.values() if each.order_number == number and each.state != "failed"
            )

    def totals(self) -> dict[str, int]:
        """What this channel owes the hospital, in fen, and how many."""
        with self.lock:
            paid = [each for each in self.orders.values() if each.state == "paid"]
            back = [each for each in self.refunds.values() if each.state != "failed"]
            return {
                "paid": len(paid),
                "paid_fen": sum(each.fen for each in paid),
                "refunds": len(back),
                "refunded_fen": sum(each.fen for each in back),
            }
