"""What to tell an instrument about one tube, from what its worklist says and what it was told before. No I/O.

An instrument that knows its work by numbers (IHE LAW) gets ours, so that each test is added or taken back by itself.
Any other gets a tube's whole order again when a test is added, and nothing when one falls away: it has no word for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from edge.store.orders import SentOrder, SentState, Wanted
from protocols.driver import Driver
from protocols.model import Order

_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)
"""Of messages that are asked for and thrown away."""


class Mode(StrEnum):
    """`orders` of a link: the instrument asks, is told, or both."""

    QUERY = "query"
    DOWNLOAD = "download"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What one link does with orders, by its configuration and its driver."""

    pushes: bool
    by_number: bool
    """The instrument is told a number for each test, and can be told to forget it."""


def can_download(driver: Driver) -> bool:
    """Asked of the driver itself: has it words for an order that nobody asked for?"""
    return bool(driver.download([Order("1", ("1",), numbers=("1",))], _ANY_TIME))


def abilities(driver: Driver | None, wished: str | None) -> Abilities:
    """Without a wish of the configuration an instrument that asks is not told unasked."""
    if driver is None:
        return Abilities(pushes=False, by_number=False)
    taken_back = Order("1", ("1",), cancelled=True, numbers=("1",))
    able = can_download(driver)
    pushes = able and (not driver.answers_host_queries if wished is None else wished != Mode.QUERY)
    return Abilities(pushes, by_number=bool(driver.download([taken_back], _ANY_TIME)))


def numbered(order: Order, now: datetime, known: Mapping[str, str] | None = None) -> Order:
    """With a number for each test: a `known` one, else tube, test and time, as `protocols.law_orders` makes them."""
    made = now.strftime("%y%m%d%H%M%S")
    numbers = tuple((known or {}).get(code) or f"{order.specimen}.{code}.{made}" for code in order.codes)
    return msgspec.structs.replace(order, numbers=numbers)


_DILUTED = " ×"


def _names(order: Order) -> tuple[str, ...]:
    """What is to be measured, as it is written down: a test in a dilution is other work than the test ("AFP ×10")."""
    named = [code + _DILUTED + factor if (factor := order.dilution_of(code)) else code for code in order.codes]
    return tuple(dict.fromkeys(named))


def _code(name: str) -> str:
    return name.partition(_DILUTED)[0]


@dataclass(frozen=True, slots=True)
class Plan:
    orders: tuple[Order, ...]
    """Each a message of its own: first what is taken back, then what is new."""
    under_way: SentOrder
    """Written down before anything goes out."""
    done: SentOrder
    """... and when the instrument took it."""


def plan(wanted: Wanted, can: Abilities, now: datetime) -> Plan | None:
    """None: nothing is to be said."""
    before = wanted.sent
    held = before.codes if before is not None else {}
    pending = before.pending if before is not None else ()
    names = _names(wanted.order) if wanted.order is not None else ()
    codes = {_code(name) for name in names}
    lacking = tuple(name for name in names if can.pushes and (name not in held or name in pending))
    gone = {name: number for name, number in held.items() if can.by_number and number and _code(name) not in codes}
    if not lacking and not gone:
        return None
    new = lacking if can.by_number or not lacking else names
    orders: list[Order] = []
    if gone:
        orders.append(Order(wanted.specimen, tuple(map(_code, gone)), cancelled=True, numbers=tuple(gone.values())))
    numbers = dict.fromkeys(new, "")
    if wanted.order is not None and new:
        order = msgspec.structs.replace(wanted.order, codes=tuple(map(_code, new)), numbers=())
        if can.by_number:
            order = numbered(order, now, {_code(name): held[name] for name in new if name in held})
            numbers = dict(zip(new, order.numbers, strict=True))
        orders.append(order)
    tries = before.tries + 1 if before is not None else 1
    under_way = SentOrder(
        wanted.specimen, wanted.revision, SentState.SENDING, {**held, **numbers}, new, tries, "", wanted.expires_at
    )
    left = {code: number for code, number in under_way.codes.items() if code not in gone}
    return Plan(tuple(orders), under_way, replace(under_way, state=SentState.SENT, codes=left, pending=(), tries=0))
