"""The page that lists all drivers says what the drivers themselves say."""

from __future__ import annotations

import pytest

from protocols.driver import discover
from tools import driver_table

pytestmark = pytest.mark.req("GW-11")


def test_the_list_of_drivers_is_made_from_the_drivers() -> None:
    known = driver_table.PAGE.read_text("utf-8")
    assert known == driver_table.page(), "run: python -m tools.driver_table"


def test_the_list_names_every_driver_once() -> None:
    rows = [line for line in driver_table.page().splitlines() if line.startswith("| `")]
    assert sorted(row.split("`")[1] for row in rows) == sorted(discover())
    assert len(rows) == len(discover())
    assert all(row.count(" | ") == rows[0].count(" | ") for row in rows)


def test_what_goes_two_ways_is_asked_of_the_driver() -> None:
    drivers = discover()
    assert driver_table.two_ways(drivers["sysmex_xp"]) == "sends only"
    assert driver_table.two_ways(drivers["sysmex_xn"]) == "answers"
    assert driver_table.two_ways(drivers["roche_e411"]) == "answers, orders unasked"
