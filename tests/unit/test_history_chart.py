"""The course of a test as a picture made at the server."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cloud.lis.results.history_chart import HEIGHT, Point, chart

pytestmark = pytest.mark.req("LIS-5")
START = datetime(2026, 11, 1, tzinfo=UTC)


def points(*numbers: str) -> list[Point]:
    last = len(numbers) - 1
    return [
        Point(START + timedelta(days=at), Decimal(each), each, present=at == last) for at, each in enumerate(numbers)
    ]


def heights(svg: str) -> list[float]:
    return [float(each) for each in re.findall(r'<circle[^>]* cy="([\d.]+)"', svg)]


def test_a_higher_value_stands_higher_and_the_one_under_review_is_marked() -> None:
    svg = str(chart(points("4.0", "6.5", "5.0"), Decimal("3.5"), Decimal("5.3"), "钾"))
    low, high, present = heights(svg)
    assert high < present < low
    assert all(0 < each < HEIGHT for each in (low, high, present))
    assert svg.count('class="present"') == 1
    assert 'class="band"' in svg


def test_one_value_makes_no_course() -> None:
    assert chart(points("4.0"), None, None, "钾") is None


def test_equal_values_and_no_range_are_drawn_too() -> None:
    svg = str(chart(points("0", "0"), None, None, "钾"))
    assert len(set(heights(svg))) == 1
    assert 'class="band"' not in svg


def test_no_text_of_an_instrument_becomes_markup() -> None:
    evil = [Point(START, Decimal(1), "<script>"), Point(START + timedelta(days=1), Decimal(2), '"x')]
    svg = str(chart(evil, None, None, '"><script>'))
    assert "<script" not in svg
    assert "style=" not in svg


def test_values_are_drawn_by_time_however_they_are_given() -> None:
    assert str(chart(points("1", "2", "3")[::-1], None, None, "钾")) == str(
        chart(points("1", "2", "3"), None, None, "钾")
    )
