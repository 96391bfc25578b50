"""Pure rules of bills: what a charge looks like as a whole, and by which way its money may go back.

Which way is the hospital's own rule: by phone what was paid by phone, whole, not yet done, within the time; at the
window what has to be handed back, a part of a bill, what is late or was invoiced.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from cloud.billing.model import CHARGE_MOVES, ITEM_MOVES, ChargeState, ItemState

LONGEST_KEY = 120


def order_key(source: str, placer_number: str, code: str = "") -> str:
    """What an item pays for: a laboratory order of that source (``his``, ``manual``) by its placer's number, or with
    `code` only this test or panel of it.
    """
    key = f"{source}:{placer_number.strip()}"
    return f"{key}/{code.strip().upper()}" if code.strip() else key


def item_may_become(goes_to: ItemState) -> tuple[ItemState, ...]:
    return tuple(state for state, next_ in ITEM_MOVES.items() if goes_to in next_)


def charge_may_become(goes_to: ChargeState) -> tuple[ChargeState, ...]:
    return tuple(state for state, next_ in CHARGE_MOVES.items() if goes_to in next_)


class Standing(StrEnum):
    """A charge in one word, for pages."""

    PAYABLE = "payable"
    PAYING = "paying"
    PAID = "paid"
    PARTLY_EXECUTED = "partly_executed"
    EXECUTED = "executed"
    REFUNDING = "refunding"
    PARTLY_REFUNDED = "partly_refunded"
    REFUNDED = "refunded"
    VOID = "void"


def standing(charge: str, items: Collection[str]) -> Standing:
    """Of a charge and its items' states; what is on its way back is said before what is done."""
    if charge != ChargeState.PAID:
        return Standing(charge)
    states = set(items)
    if ItemState.REFUNDING in states:
        return Standing.REFUNDING
    if ItemState.REFUNDED in states:
        return Standing.REFUNDED if states == {ItemState.REFUNDED} else Standing.PARTLY_REFUNDED
    if ItemState.EXECUTED in states:
        return Standing.EXECUTED if states == {ItemState.EXECUTED} else Standing.PARTLY_EXECUTED
    return Standing.PAID


class Way(StrEnum):
    ELECTRONIC = "electronic"
    WINDOW = "window"
    NONE = "none"
    """There is nothing to give back."""


class Why(StrEnum):
    """Why it is not to be had by phone."""

    NOT_PAID = "not_paid"
    ALL_RETURNED = "all_returned"
    EXECUTED = "executed"
    GOODS = "goods"
    """Handed over: they have to come back first."""
    PART = "part"
    LATE = "late"
    INVOICED = "invoiced"
    PAID_AT_WINDOW = "paid_at_window"
    PAID_ELSEWHERE = "paid_elsewhere"
    """The hospital's own system took the money and gives it back."""
    UNDER_WAY = "under_way"
    SWITCHED_OFF = "switched_off"


@dataclass(frozen=True, slots=True)
class Route:
    way: Way
    why: Why | None = None

    @property
    def electronic(self) -> bool:
        return self.way is Way.ELECTRONIC


@dataclass(frozen=True, slots=True)
class Paid:
    """How a charge was paid. `days`: the hospital's days it can be refunded by phone after the day it was paid on
    (0: only that day; None: not at all)."""

    how: str | None
    channel: str | None
    paid_on: date | None
    today: date
    days: int | None
    invoiced: bool


@dataclass(frozen=True, slots=True)
class Line:
    state: str
    goods: bool


def route(paid: Paid, lines: Sequence[Line], *, part: bool = False) -> Route:
    """By which way the money of these items (all of the charge's living ones, or with `part` some) may go back."""
    states = {each.state for each in lines}
    if paid.how is None or paid.paid_on is None:
        return Route(Way.NONE, Why.NOT_PAID)
    if states <= {ItemState.REFUNDED, ItemState.VOID}:
        return Route(Way.NONE, Why.ALL_RETURNED)
    if paid.how != "payment":
        return Route(Way.WINDOW if paid.how == "elsewhere" else Way.NONE, Why.PAID_ELSEWHERE)
    if paid.channel == "cash":
        return Route(Way.WINDOW, Why.PAID_AT_WINDOW)
    if states <= {ItemState.REFUNDING, ItemState.REFUNDED}:
        return Route(Way.NONE, Why.UNDER_WAY)
    if any(each.state == ItemState.EXECUTED and each.goods for each in lines):
        return Route(Way.WINDOW, Why.GOODS)
    if ItemState.EXECUTED in states:
        return Route(Way.WINDOW, Why.EXECUTED)
    if part or states != {ItemState.PAID}:
        return Route(Way.WINDOW, Why.PART)
    if paid.invoiced:
        return Route(Way.WINDOW, Why.INVOICED)
    if paid.days is None:
        return Route(Way.WINDOW, Why.SWITCHED_OFF)
    if paid.today > paid.paid_on + timedelta(days=paid.days):
        return Route(Way.WINDOW, Why.LATE)
    return Route(Way.ELECTRONIC)
