"""By which way the money of a bill may go back."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from cloud.billing.model import CHARGE_MOVES, ITEM_MOVES, ChargeState, ItemState
from cloud.billing.rules import Line, Paid, Route, Standing, Way, Why, order_key, route, standing

pytestmark = pytest.mark.req("PAY-4")

TODAY = date(2026, 3, 2)
UNTOUCHED = (Line("paid", goods=False), Line("paid", goods=True))


def paid(**more: object) -> Paid:
    values = {"how": "payment", "channel": "wechat", "paid_on": TODAY, "today": TODAY, "days": 0, "invoiced": False}
    return Paid(**{**values, **more})  # type: ignore[arg-type]


def of(*states: str, goods: bool = False) -> tuple[Line, ...]:
    return tuple(Line(each, goods) for each in states)


@pytest.mark.parametrize(
    ("how", "lines", "expected"),
    [
        ({}, UNTOUCHED, Route(Way.ELECTRONIC)),
        ({"channel": "alipay"}, UNTOUCHED, Route(Way.ELECTRONIC)),
        ({"how": None, "paid_on": None}, of("payable"), Route(Way.NONE, Why.NOT_PAID)),
        ({}, of("refunded", "refunded"), Route(Way.NONE, Why.ALL_RETURNED)),
        ({}, of("refunding", "refunded"), Route(Way.NONE, Why.UNDER_WAY)),
        ({}, of("paid", "refunding"), Route(Way.WINDOW, Why.PART)),
        ({}, of("paid", "executed"), Route(Way.WINDOW, Why.EXECUTED)),
        ({}, of("paid", "executed", goods=True), Route(Way.WINDOW, Why.GOODS)),
        ({"channel": "cash"}, UNTOUCHED, Route(Way.WINDOW, Why.PAID_AT_WINDOW)),
        ({"how": "elsewhere", "channel": None}, UNTOUCHED, Route(Way.WINDOW, Why.PAID_ELSEWHERE)),
        ({"how": "free", "channel": None}, UNTOUCHED, Route(Way.NONE, Why.PAID_ELSEWHERE)),
        ({"invoiced": True}, UNTOUCHED, Route(Way.WINDOW, Why.INVOICED)),
        ({"days": None}, UNTOUCHED, Route(Way.WINDOW, Why.SWITCHED_OFF)),
        ({"paid_on": TODAY - timedelta(days=1)}, UNTOUCHED, Route(Way.WINDOW, Why.LATE)),
        ({"paid_on": TODAY - timedelta(days=3), "days": 3}, UNTOUCHED, Route(Way.ELECTRONIC)),
        ({"paid_on": TODAY - timedelta(days=4), "days": 3}, UNTOUCHED, Route(Way.WINDOW, Why.LATE)),
    ],
)
def test_the_way_of_a_refund(how: dict[str, object], lines: tuple[Line, ...], expected: Route) -> None:
    assert route(paid(**how), lines) == expected


def test_a_part_of_a_bill_goes_to_the_window() -> None:
    assert route(paid(), UNTOUCHED, part=True) == Route(Way.WINDOW, Why.PART)


@pytest.mark.parametrize(
    ("charge", "items", "word"),
    [
        ("payable", ["payable"], Standing.PAYABLE),
        ("void", ["void"], Standing.VOID),
        ("paid", ["paid", "paid"], Standing.PAID),
        ("paid", ["paid", "executed"], Standing.PARTLY_EXECUTED),
        ("paid", ["executed"], Standing.EXECUTED),
        ("paid", ["executed", "refunding"], Standing.REFUNDING),
        ("paid", ["executed", "refunded"], Standing.PARTLY_REFUNDED),
        ("paid", ["refunded"], Standing.REFUNDED),
    ],
)
def test_a_charge_in_one_word(charge: str, items: list[str], word: Standing) -> None:
    assert standing(charge, items) == word


def test_every_state_has_its_moves_and_ends_are_ends() -> None:
    assert set(ITEM_MOVES) == set(ItemState)
    assert set(CHARGE_MOVES) == set(ChargeState)
    assert [each for each, moves in ITEM_MOVES.items() if not moves] == [ItemState.REFUNDED, ItemState.VOID]
    assert all(ItemState.REFUNDED not in moves for each, moves in ITEM_MOVES.items() if each != ItemState.REFUNDING)


def test_an_order_and_one_test_of_it_have_keys_of_their_own() -> None:
    assert order_key("his", " D1 ") == "his:D1"
    assert order_key("his", "D1", "cbc") == "his:D1/CBC"
