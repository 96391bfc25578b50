"""Orders made ready for an instrument: one for each specimen, in channels it knows."""

from __future__ import annotations

import pytest

from protocols.model import Order
from protocols.worklist import channel, digits_of_time, echoed, joined

pytestmark = pytest.mark.req("GW-7")


def test_two_orders_of_one_tube_become_one_and_stat_wins() -> None:
    tubes = joined([Order("A", ("GLU",)), Order("B", ("K",)), Order("A", ("K", "GLU"), priority="S")])
    assert [(each.specimen, each.codes, each.priority) for each in tubes] == [
        ("A", ("GLU", "K"), "S"),
        ("B", ("K",), "R"),
    ]


def test_cancelled_order_adds_no_test() -> None:
    assert joined([Order("A", ("GLU",), cancelled=True)]) == []
    assert joined([Order("A", ("GLU",)), Order("A", ("K",), cancelled=True)]) == [Order("A", ("GLU",))]


def test_aspects_of_a_test_are_ordered_as_the_test_once() -> None:
    assert joined([Order("A", ("651^I", "651", "651^P"))])[0].codes == ("651",)
    assert channel("1551^INR") == "1551"
    assert channel("TSH") == "TSH"


def test_names_and_times_of_the_first_order_are_kept() -> None:
    first = Order("A", ("GLU",), patient_name="Wang^Li", collected_at="2026-11-02T07:15:00")
    assert joined([first, Order("A", ("K",))])[0].patient_name == "Wang^Li"


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("2026-11-02T07:15:00", "20261102071500"),
        ("2026-11-02T07:15:00.250+08:00", "20261102071500"),
        ("2026-11-02", "20261102"),
        (None, ""),
    ],
)
def test_collection_time_is_written_as_the_standard_writes_it(text: str | None, digits: str) -> None:
    assert digits_of_time(text) == digits


def test_what_an_instrument_sent_cannot_bring_control_bytes_into_our_answer() -> None:
    assert echoed("ACCESS^6\x0500\x0401") == "ACCESS^60001"
