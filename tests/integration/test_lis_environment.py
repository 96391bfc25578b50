"""Readings of refrigerators and rooms: recorded, alarms followed and dealt with, shown on their page."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import db
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.lis.environment import overview, service
from cloud.lis.environment.model import EnvironmentAlarm, EnvironmentPoint, EnvironmentReading
from cloud.lis.results.service import IngestOutcome, MessageSource, ingest
from protocols.model import Reading
from tests.support.bench import Technologist, technician
from tests.support.site import Site, hire_cast, running_site

pytestmark = pytest.mark.req("GW-6", "LIS-15")

PAGE = "/staff/lis/environment"
START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with db.begin() as session:
        yield session


def keeper() -> Technologist:
    return Technologist("赵检验", frozenset({service.ACKNOWLEDGE}))


def source(minute: int, *, at: datetime | None = None) -> MessageSource:
    moment = (at or START) + timedelta(minutes=minute)
    return MessageSource(new_id(), "box-1", "cold", "e1", minute + 1, moment, "generic_modbus", "1")


def fridge(value: str | None, *alarms: str) -> list[Reading]:
    return [Reading("temperature", value, "°C", "血液冰箱 1", alarms=alarms, record=2)]


def sent(session: Session, minute: int, value: str | None, *alarms: str) -> IngestOutcome:
    return ingest(session, source(minute), fridge(value, *alarms))


def alarms(session: Session) -> list[tuple[str, int, int | None, str | None]]:
    """(alarm, minute it began, minute it ended, worst value) in the order they began."""
    rows = session.scalars(
        select(EnvironmentAlarm).order_by(EnvironmentAlarm.began_at).execution_options(populate_existing=True)
    )
    return [
        (each.alarm, minute(each.began_at), minute(each.ended_at) if each.ended_at else None, each.worst_value)
        for each in rows
    ]


def minute(moment: datetime) -> int:
    return int((moment - START).total_seconds() // 60)


def test_readings_are_recorded_and_the_last_is_shown(session: Session) -> None:
    outcome = sent(session, 0, "4.1")
    sent(session, 5, "4.6")
    assert outcome.readings == 1
    assert [each.value for each in session.scalars(select(EnvironmentReading).order_by("observed_at"))] == [
        "4.1",
        "4.6",
    ]
    (device,) = overview.devices(session)
    assert (device.name, device.link, [(p.name, p.value, p.unit) for p in device.points]) == (
        "血液冰箱 1",
        "cold",
        [("temperature", "4.6", "°C")],
    )


def test_a_message_taken_in_again_changes_nothing(session: Session) -> None:
    once = source(0)
    first = ingest(session, once, fridge("9.0", "high"))
    assert ingest(session, once, fridge("9.0", "high")) == first
    assert len(session.scalars(select(EnvironmentReading)).all()) == 1
    assert len(alarms(session)) == 1


def test_an_alarm_lasts_from_its_first_reading_to_the_first_without_it(session: Session) -> None:
    for at, value in enumerate(("8.4", "9.7", "9.1")):
        sent(session, at, value, "high")
    sent(session, 4, "7.0")
    sent(session, 6, "1.2", "low")
    sent(session, 7, "0.9", "low")
    assert alarms(session) == [("high", 0, 4, "9.7"), ("low", 6, None, "0.9")]


def test_a_device_that_falls_silent_is_an_alarm_and_its_temperature_alarm_goes_on(session: Session) -> None:
    sent(session, 0, "9.0", "high")
    sent(session, 2, None, "no answer", "high")
    sent(session, 9, "9.2", "high")
    assert alarms(session) == [("high", 0, None, "9.2"), ("no answer", 2, 9, None)]
    values = [each.value for each in session.scalars(select(EnvironmentReading).order_by("observed_at"))]
    assert values == ["9.0", None, "9.2"]


def test_a_reading_that_comes_late_moves_nothing_newer_and_its_alarm_is_not_lost(session: Session) -> None:
    sent(session, 0, "4.0")
    sent(session, 10, "4.2")
    ingest(session, replace(source(5), late=True), fridge("12.0", "high"))
    (point,) = session.scalars(select(EnvironmentPoint))
    assert (point.value, point.alarms) == ("4.2", [])
    assert alarms(session) == [("high", 5, 5, "12.0")]
    assert overview.open_count(session) == 1
    ingest(session, replace(source(5), late=True), fridge("12.1", "high"))
    assert len(alarms(session)) == 1, "the same moment is covered"


def test_points_of_two_devices_on_one_line_are_kept_apart(session: Session) -> None:
    both = [*fridge("4.1"), Reading("temperature", "-80.3", "°C", "超低温冰箱", record=2)]
    ingest(session, source(0), both)
    assert {each.name: each.points[0].value for each in overview.devices(session)} == {
        "血液冰箱 1": "4.1",
        "超低温冰箱": "-80.3",
    }


def test_an_alarm_is_dealt_with_once_by_who_may_with_a_reason(session: Session) -> None:
    sent(session, 0, "9.0", "high")
    (alarm,) = session.scalars(select(EnvironmentAlarm))
    with pytest.raises(Forbidden):
        service.acknowledge(session, alarm.id, by=technician(), reason="门没关好")
    with pytest.raises(Invalid):
        service.acknowledge(session, alarm.id, by=keeper(), reason="  ")
    with pytest.raises(NotFound):
        service.acknowledge(session, uuid.uuid4(), by=keeper(), reason="门没关好")
    service.acknowledge(session, alarm.id, by=keeper(), reason=" 门没关好，已关 ")
    with pytest.raises(Conflict):
        service.acknowledge(session, alarm.id, by=keeper(), reason="again")
    session.refresh(alarm)
    assert (alarm.reason, alarm.acknowledged_by_name) == ("门没关好，已关", "赵检验")
    assert overview.open_count(session) == 0
    assert [each.id for each, _ in overview.open_alarms(session)] == [alarm.id], "it still stands"
    trail = session.scalars(select(AuditEntry).where(AuditEntry.action == "environment.acknowledge")).one()
    assert trail.reason == "门没关好，已关"


def test_an_alarm_that_is_over_stays_until_somebody_dealt_with_it(session: Session) -> None:
    sent(session, 0, "9.0", "high")
    sent(session, 3, "4.0")
    (alarm,) = session.scalars(select(EnvironmentAlarm))
    assert [each.id for each, _ in overview.open_alarms(session)] == [alarm.id]
    service.acknowledge(session, alarm.id, by=keeper(), reason="除霜")
    assert overview.open_alarms(session) == []


# ---------------------------------------------------------------------- pages


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


def arrived(value: str | None, *alarms: str, ago: int = 0) -> None:
    with begin() as session:
        ingest(session, source(-ago, at=datetime.now(UTC)), fridge(value, *alarms))


def test_the_page_shows_devices_and_a_technician_deals_with_an_alarm(site: Site) -> None:
    arrived("4.1", ago=60)
    arrived("9.3", "high", ago=1)
    bench = site.staff("technician")
    page = bench.get(PAGE)
    for shown in ("血液冰箱 1", "9.3", "°C", "高于上限", "报警中"):
        assert shown in page.text
    assert "环境报警待处置" in bench.get("/staff").text
    bench.get(PAGE)
    with begin() as session:
        (alarm,) = session.scalars(select(EnvironmentAlarm.id))
    refused = bench.post(f"{PAGE}/alarms/{alarm}/acknowledge", {"reason": " "})
    assert refused.status_code == 422
    assert "请写明原因和处理措施" in refused.text
    done = bench.post(f"{PAGE}/alarms/{alarm}/acknowledge", {"reason": "门没关好，已关，药品已转移"})
    assert done.status_code == 200
    assert "门没关好，已关，药品已转移" in done.text


def test_a_device_that_sends_nothing_any_more_is_marked(site: Site) -> None:
    arrived("4.1", ago=90)
    assert "没有新数据" in site.staff("technician").get(PAGE).text


def test_a_point_has_its_course_and_its_record(site: Site) -> None:
    arrived("4.1", ago=120)
    arrived(None, "no answer", ago=60)
    arrived("4.4", ago=30)
    with begin() as session:
        (point,) = session.scalars(select(EnvironmentPoint.id))
    bench = site.staff("technician")
    page = bench.get(f"{PAGE}/points/{point}").text
    assert "设备无应答" in page
    assert "echarts" in page
    course = bench.get(f"{PAGE}/points/{point}/course.json?hours=24").json()
    assert [value for _, value in course["values"]] == [4.1, None, 4.4, 4.4]
    assert course["unit"] == "°C"
    assert all(course["since"] <= moment <= course["now"] for moment, _ in course["values"])
    assert course["now"] / 1000 - datetime.now(UTC).timestamp() == pytest.approx(8 * 3600, abs=60), (
        "Shanghai's wall clock"
    )
    assert bench.get(f"{PAGE}/points/{uuid.uuid4()}").status_code == 404


def test_the_page_speaks_english_and_is_closed_to_the_cashier(site: Site) -> None:
    arrived("9.3", "high")
    bench = site.staff("technician")
    assert "Above its limit" in bench.get(f"{PAGE}?lang=en").text
    assert site.staff("cashier").get(PAGE).status_code == 403


def test_a_field_engineer_sees_the_devices_and_deals_with_nothing(site: Site) -> None:
    arrived("9.3", "high")
    engineer = site.staff("field_engineer")
    page = engineer.get(PAGE)
    assert page.status_code == 200
    assert "acknowledge" not in page.text
