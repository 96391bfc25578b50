"""When a silence is too long, and what changed between two descriptions of a box: pure decisions."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cloud.gateways.watch import rules
from cloud.gateways.watch.limits import hours, minutes_of
from cloud.gateways.watch.rules import Limit

CHINA = ZoneInfo("Asia/Shanghai")
DAYTIME = Limit(60, 7 * 60 + 30, 17 * 60 + 30, (1, 2, 3, 4, 5))
NIGHT = Limit(30, 20 * 60, 6 * 60, (1, 2, 3, 4, 5))
ROUND_THE_CLOCK = Limit(720)


def at(day: int, clock: str) -> datetime:
    """A moment of the week that begins on Monday the 2nd of March 2026, on the hospital's wall clock."""
    hour, minute = clock.split(":")
    return datetime(2026, 3, day, int(hour), int(minute), tzinfo=CHINA)


@pytest.mark.req("GW-14")
@pytest.mark.parametrize(
    ("limit", "heard", "now", "alarm"),
    [
        (DAYTIME, at(2, "09:00"), at(2, "09:59"), False),
        (DAYTIME, at(2, "09:00"), at(2, "10:00"), True),
        (DAYTIME, at(2, "17:20"), at(3, "03:00"), False),
        (DAYTIME, at(2, "17:20"), at(3, "08:29"), False),
        (DAYTIME, at(2, "17:20"), at(3, "08:30"), True),
        (DAYTIME, at(6, "17:00"), at(8, "12:00"), False),
        (DAYTIME, at(6, "17:00"), at(9, "08:30"), True),
        (DAYTIME, at(2, "16:00"), at(2, "17:30"), False),
        (NIGHT, at(2, "19:00"), at(2, "20:29"), False),
        (NIGHT, at(2, "19:00"), at(2, "20:30"), True),
        (NIGHT, at(2, "23:50"), at(3, "00:20"), True),
        (NIGHT, at(6, "23:50"), at(7, "05:00"), True),
        (NIGHT, at(7, "23:00"), at(8, "05:00"), False),
        (NIGHT, at(3, "05:50"), at(3, "12:00"), False),
        (ROUND_THE_CLOCK, at(2, "09:00"), at(2, "20:59"), False),
        (ROUND_THE_CLOCK, at(2, "09:00"), at(2, "21:00"), True),
        (Limit(None), at(2, "09:00"), at(30, "21:00"), False),
        (Limit(60, 0, 0, (1,)), at(1, "09:00"), at(2, "00:59"), False),
        (Limit(60, 0, 0, (1,)), at(1, "09:00"), at(2, "01:00"), True),
        (Limit(60, 0, 0, (1,)), at(2, "22:00"), at(3, "12:00"), False),
    ],
)
def test_a_silence_counts_while_people_work(limit: Limit, heard: datetime, now: datetime, alarm: bool) -> None:
    assert rules.too_silent(limit, heard, now) is alarm


def said(**more: Any) -> dict[str, Any]:
    link = {"link": "xn", "state": "open", "driver": "sysmex_xn", "options": {}, **more.pop("link", {})}
    return {"software": "1.0", "epoch": "e1", "clock_sure": True, "configuration": 3, "links": [link], **more}


def changed(before: dict[str, Any] | None, after: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    return [(each.what, each.before, each.after) for each in rules.changes(before, after)]


def test_the_first_description_of_a_box_is_no_change_and_neither_is_the_same_again() -> None:
    assert changed(None, said()) == []
    assert changed(said(), said(links=said()["links"], worklist_revision=9)) == []


def test_what_became_another_is_named_once() -> None:
    assert changed(said(), said(link={"state": "closed", "reason": "unplugged"})) == [("port", "open", "closed")]
    assert changed(said(), said(link={"driver": "auto"})) == [("driver", "sysmex_xn", "auto")]
    assert changed(said(), said(link={"options": {"model": "x"}})) == [("options", None, None)]
    assert changed(said(), said(links=[])) == [("link", "sysmex_xn", None)]
    assert changed(said(), said(configuration=4, software="1.1")) == [
        ("software", "1.0", "1.1"),
        ("configuration", "3", "4"),
    ]
    assert changed(said(), said(clock_sure=False)) == [("clock", "sure", "unsure")]
    full = {"refusing": True, "warning_percent": 95}
    assert changed(said(store={"warning_percent": 80}), said(store=full)) == [("room", "80 %", "refusing")]
    torn = {"damage": {"check": "damaged"}}
    assert changed(said(), said(store=torn)) == [("damage", "sound", "damaged")]


def test_every_default_is_a_limit_that_could_be_set() -> None:
    for limit in rules.DEFAULTS.values():
        assert limit.minutes is None or limit.minutes > 0
        assert minutes_of(hours(limit.opens)) == limit.opens


@pytest.mark.parametrize("text", ["", "7", "7:5", "24:00", "12:60", "a:bc", "-1:00"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    assert minutes_of(text) == -1
