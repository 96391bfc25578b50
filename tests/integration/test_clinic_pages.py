"""The outpatient office at its pages: the week, one session, the timetable, holidays, release times, doctors."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from cloud.hospital import booked, patterns, schedules
from cloud.hospital.booked import Booked
from cloud.hospital.doctors import doctor_by_code
from cloud.hospital.model import (
    ClinicSession,
    ClinicSettings,
    Department,
    DepartmentRelease,
    Doctor,
    Holiday,
    SessionPattern,
)
from cloud.hospital.release import settings_of
from cloud.hospital.service import department_by_code
from cloud.kit import clock
from cloud.kit.db import begin
from tests.support import clinic
from tests.support.clinic import BY
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import Site, Visitor, hire_cast, running_site

pytestmark = pytest.mark.req("REG-1", "REG-2", "UX-1")

WEEK = "/staff/hospital/schedule"
PEOPLE = "/staff/hospital/departments"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[Site]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
    ):
        hire_cast()
        with running_site() as site:
            yield site


@pytest.fixture(scope="module")
def office(site: Site) -> Visitor:
    return site.staff("outpatient_office")


class Clinic:
    """A department of its own with two doctors and a session of the first, tomorrow morning."""

    def __init__(self) -> None:
        self.code = f"K{uuid.uuid4().hex[:6].upper()}"
        with begin() as session:
            of = clinic.department(session, code=self.code)
            first = clinic.doctor(session, code=f"{self.code}1", name="沈明远", of=of)
            second = clinic.doctor(session, code=f"{self.code}2", name="叶清和", of=of)
            self.first, self.second = first.id, second.id
            self.session = schedules.publish(session, clinic.wish(of, first), by=BY).id

    @property
    def page(self) -> str:
        return f"{WEEK}/{self.session}"

    def row(self) -> ClinicSession:
        with begin() as session:
            return session.get_one(ClinicSession, self.session)


@pytest.fixture
def own() -> Clinic:
    return Clinic()


def changed(own: Clinic, **more: str) -> dict[str, Any]:
    """The session's form as it stands, with some boxes typed over."""
    row = own.row()
    form = {
        "version": str(row.version), "starts": "08:00", "ends": "12:00", "fee": "50.00", "capacity": "20",
        "segment": "30", "release_at": f"{clock.local(row.release_at):%Y-%m-%dT%H:%M}", "place": "", "reason": "",
    }  # fmt: skip
    return {**form, **more}


def test_the_week_shows_who_sits_when_and_how_full_it_is(
    office: Visitor, own: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(booked, "_counters", [lambda session, ids: {each: Booked(given=7, free=13) for each in ids}])
    day = clinic.tomorrow()
    whole = office.get(WEEK, params={"week": day.isoformat()}).text
    assert f'data-department="{own.code}"' in whole
    page = office.get(WEEK, params={"week": day.isoformat(), "department": own.code}).text
    assert "沈明远" in page
    assert "7/20" in page
    part = office.get(f"{WEEK}/part", params={"week": day.isoformat(), "department": own.code}).text
    assert f'data-session="{own.session}"' in part
    assert "<html" not in part


def test_an_address_that_names_no_week_shows_this_one(office: Visitor) -> None:
    monday = clock.today() - timedelta(days=clock.today().isoweekday() - 1)
    for week in ("no day", "", "0001-01-01"):
        assert f'<strong class="number">{monday}' in office.get(WEEK, params={"week": week}).text


def test_a_change_needs_its_reason_and_stands_in_the_history(office: Visitor, own: Clinic) -> None:
    office.get(own.page)
    refused = office.post(f"{own.page}/change", changed(own, capacity="24"))
    assert refused.status_code == 422
    assert "请写明原因" in refused.text
    page = office.post(f"{own.page}/change", changed(own, capacity="24", place="3 诊室", reason="加号"))
    assert page.status_code == 200
    assert "秦门办" in page.text
    assert "加号" in page.text
    assert "20 → 24" in page.text
    row = own.row()
    assert (row.capacity, row.place, row.version) == (24, "3 诊室", 2)


@pytest.mark.parametrize(
    ("more", "said"),
    [({"capacity": "many"}, "号数"), ({"fee": "1.234"}, "挂号费"), ({"starts": "25:00"}, "开始"),
     ({"ends": "07:00"}, "早于"), ({"release_at": "soon"}, "放号时间")],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_the_name_of_its_box(
    office: Visitor, own: Clinic, more: dict[str, str], said: str
) -> None:
    office.get(own.page)
    answer = office.post(f"{own.page}/change", changed(own, reason="试", **more))
    assert (answer.status_code, said in answer.text) == (422, True)
    assert own.row().version == 1


def test_two_at_one_session_the_second_is_told(office: Visitor, site: Site, own: Clinic) -> None:
    office.get(own.page)
    first = changed(own, capacity="24", reason="加号")
    assert office.post(f"{own.page}/change", first).status_code == 200
    late = office.post(f"{own.page}/stop", {"version": "1", "why": "开会"})
    assert late.status_code == 409
    assert "刚被别人改过" in late.text
    assert own.row().state == "open"


def test_stopped_given_away_closed_and_opened_again(office: Visitor, own: Clinic) -> None:
    office.get(own.page)
    assert (
        office.post(f"{own.page}/substitute", {"version": "1", "doctor": str(own.second), "why": ""}).status_code == 422
    )
    page = office.post(f"{own.page}/substitute", {"version": "1", "doctor": str(own.second), "why": "出差"})
    assert "叶清和" in page.text
    office.post(f"{own.page}/booking", {"version": "2", "to": "closed", "why": "号已满"})
    assert own.row().state == "closed"
    office.post(f"{own.page}/booking", {"version": "3", "to": "open", "why": "加诊"})
    assert own.row().state == "open"
    page = office.post(f"{own.page}/stop", {"version": "4", "why": "院内急诊手术"})
    assert "院内急诊手术" in page.text
    assert f'action="{own.page}/stop"' not in page.text
    assert own.row().state == "stopped"


def test_what_the_his_owns_is_changed_there(office: Visitor, own: Clinic) -> None:
    with begin() as session:
        of = session.get_one(Department, own.row().department_id)
        wish = clinic.wish(of, session.get_one(Doctor, own.second), owner="his")
        theirs = schedules.publish(session, wish, by="his").id
    page = office.get(f"{WEEK}/{theirs}").text
    assert "号源归 HIS" in page
    assert "/stop" not in page


def test_a_session_added_by_hand(office: Visitor, own: Clinic) -> None:
    day = (clinic.tomorrow() + timedelta(days=1)).isoformat()
    assert "沈明远" in office.get(f"{WEEK}/new", params={"department": own.code, "day": day}).text
    form = {
        "department": own.code, "doctor": str(own.first), "day": day, "half": "evening", "starts": "18:00",
        "ends": "20:00", "kind": "expert", "fee": "50", "capacity": "12", "segment": "20",
    }  # fmt: skip
    refused = office.post(f"{WEEK}/new", {**form, "doctor": ""})
    assert refused.status_code == 422
    assert 'value="18:00"' in refused.text  # what was typed stays
    page = office.post(f"{WEEK}/new", form)
    assert (page.status_code, "晚间" in page.text) == (200, True)
    again = office.post(f"{WEEK}/new", form)
    assert (again.status_code, "沈明远当时在" in again.text) == (409, True)


def test_what_is_left_empty_is_as_usual_for_the_half_day_and_the_title(office: Visitor, own: Clinic) -> None:
    office.get(f"{WEEK}/timetable", params={"department": own.code})
    form = {
        "department": own.code, "doctor": str(own.first), "weekday": "5", "half": "evening", "kind": "expert",
        "capacity": "20", "segment": "30", "weeks": "every", "valid_from": clock.today().isoformat(),
    }  # fmt: skip
    assert office.post(f"{WEEK}/timetable", {**form, "half": "night"}).status_code == 422
    assert office.post(f"{WEEK}/timetable", form).status_code == 200
    with begin() as session:
        (line,) = session.scalars(select(SessionPattern).where(SessionPattern.doctor_id == own.first))
        usual = settings_of(session)
        assert (line.starts, line.ends) == (usual.evening_starts, usual.evening_ends)
        assert line.fee_fen == usual.fee_chief


def test_the_timetable_grows_by_a_line_and_publishing_can_be_asked_for(office: Visitor, own: Clinic) -> None:
    page = f"{WEEK}/timetable"
    assert "还没有每周排班" in office.get(page, params={"department": own.code}).text
    form = {
        "department": own.code, "doctor": str(own.first), "weekday": "3", "half": "morning", "starts": "08:00",
        "ends": "12:00", "kind": "expert", "fee": "50", "capacity": "20", "segment": "30", "weeks": "odd",
        "valid_from": clock.today().isoformat(), "valid_to": "",
    }  # fmt: skip
    assert office.post(page, {**form, "weekday": "9"}).status_code == 422
    shown = office.post(page, form).text
    assert "单周" in shown
    assert office.post(page, form).status_code == 409
    with begin() as session:
        of = department_by_code(session, own.code)
        assert of is not None
        (line,) = patterns.patterns_on(session, clock.today(), date.max, department_id=of.id)
    ended = office.post(
        f"{page}/{line.id}/end", {"department": own.code, "last_day": clock.today().isoformat(), "reason": "合并"}
    )
    assert clock.today().isoformat() in ended.text
    office.post(f"{WEEK}/publish", {"week": "", "department": own.code})
    with begin() as session:
        asked = text("SELECT count(*) FROM procrastinate_jobs WHERE args ->> 'name' = 'hospital.publish_ahead'")
        assert session.scalar(asked) == 1


def test_holidays_are_loaded_entered_and_taken_back(office: Visitor) -> None:
    page = f"{WEEK}/holidays"
    office.get(page, params={"year": 2026})
    assert "春节" in office.post(f"{page}/load", {"year": "2026"}).text
    unknown = office.post(f"{page}/load", {"year": "2100"})
    assert (unknown.status_code, "还没有 2100 年" in unknown.text) == (422, True)
    day = clock.today() + timedelta(days=40)
    assert office.post(page, {"day": "someday", "name": "院庆"}).status_code == 422
    assert "院庆" in office.post(page, {"day": day.isoformat(), "name": "院庆", "works_as": ""}).text
    office.post(f"{page}/{day}/remove")
    with begin() as session:
        assert session.get(Holiday, day) is None


def test_release_times_of_the_hospital_and_of_one_department(office: Visitor, own: Clinic) -> None:
    page = f"{WEEK}/release"
    assert "0 表示只挂当天号" in office.get(page).text
    form = {
        "horizon_days": "28", "release_days": "14", "release_time": "06:30", "morning_starts": "08:00",
        "morning_ends": "12:00", "afternoon_starts": "14:00", "afternoon_ends": "17:30", "evening_starts": "18:00",
        "evening_ends": "20:30", "fee_chief": "60", "fee_associate": "30", "fee_attending": "15", "fee_resident": "10",
        "fee_general": "10",
    }  # fmt: skip
    refused = office.post(page, {**form, "release_days": "60"})
    assert (refused.status_code, "无号可放" in refused.text) == (422, True)
    office.post(page, form)
    with begin() as session:
        usual = session.scalars(select(ClinicSettings)).one()
        assert (usual.release_days, usual.fee_chief, f"{usual.release_time:%H:%M}") == (14, 60_00, "06:30")
    office.post(f"{page}/departments", {"department": own.code, "days": "3", "at": "20:00"})
    with begin() as session:
        assert session.scalars(select(DepartmentRelease.release_days)).all() == [3]
    office.post(f"{page}/departments", {"department": own.code})
    with begin() as session:
        assert session.scalars(select(DepartmentRelease)).all() == []


def test_a_doctor_is_added_described_and_pictured(office: Visitor, own: Clinic) -> None:
    code = f"{own.code}9"
    office.get(f"{PEOPLE}/doctors/new")
    form = {"code": code, "name": "秦若兰", "title": "attending", "department": own.code, "skills": "高血压"}
    assert "秦若兰" in office.post(f"{PEOPLE}/doctors/new", form).text
    assert office.post(f"{PEOPLE}/doctors/new", form).status_code == 409
    with begin() as session:
        row = doctor_by_code(session, code)
        assert row is not None
        page = f"{PEOPLE}/doctors/{row.id}"
    assert office.post(page, {**form, "title": "wizard"}).status_code == 422
    office.post(page, {**form, "title": "associate", "introduction": "从事心血管内科工作", "active": "yes"})
    bad = office.post(f"{page}/photo", files={"photo": ("a.svg", b"<svg onload='x()'/>", "image/png")})
    assert (bad.status_code, "JPEG 或 PNG" in bad.text) == (422, True)
    large = office.post(f"{page}/photo", files={"photo": ("a.png", PNG + b"\0" * 300_000, "image/png")})
    assert large.status_code == 422
    office.post(f"{page}/photo", files={"photo": ("a.png", PNG, "image/png")})
    with begin() as session:
        row = session.get_one(Doctor, row.id)
        assert (row.title, row.introduction, row.active) == ("associate", "从事心血管内科工作", True)
        path = row.photo_path
    assert path is not None
    seen = office.http.get(path)
    assert (seen.content, seen.headers["content-type"]) == (PNG, "image/png")
    assert "sandbox" in seen.headers["content-security-policy"]
    office.post(f"{page}/photo")
    assert office.http.get(path).status_code == 404


def test_leave_stops_what_the_doctor_would_hold_and_nothing_else(office: Visitor, own: Clinic) -> None:
    with begin() as session:
        of = session.get_one(Department, own.row().department_id)
        away, next_week = clinic.tomorrow(), clinic.tomorrow() + timedelta(days=7)
        first, second = session.get_one(Doctor, own.first), session.get_one(Doctor, own.second)
        given_away = schedules.publish(session, clinic.wish(of, first, half="afternoon"), by=BY).id
        schedules.substitute(session, given_away, second.id, by=BY, why="换班")
        later = schedules.publish(session, clinic.wish(of, first, day=next_week), by=BY).id
    page = f"{PEOPLE}/doctors/{own.first}"
    office.get(page)
    days = {"first": away.isoformat(), "last": (away + timedelta(days=3)).isoformat()}
    assert office.post(f"{page}/leave", {**days, "why": " "}).status_code == 422
    assert (
        office.post(f"{page}/leave", {"first": days["last"], "last": days["first"], "why": "病假"}).status_code == 422
    )
    office.post(f"{page}/leave", {**days, "why": "医生病假"})
    with begin() as session:
        states = {each: session.get_one(ClinicSession, each).state for each in (own.session, given_away, later)}
    assert states == {own.session: "stopped", given_away: "open", later: "open"}
    assert office.post(f"{page}/leave", {**days, "why": "医生病假"}).status_code == 409


def test_a_department_says_where_it_is_and_opens_for_booking(office: Visitor, own: Clinic) -> None:
    page = f"{PEOPLE}/{own.code}"
    assert "开放预约挂号" in office.get(page).text
    form = {"name": "心内科", "kind": "clinical", "section": "内科", "place": "门诊楼 B 区", "floor": "3 楼"}
    office.post(page, {**form, "introduction": "诊治心血管病", "bookable": ""})
    with begin() as session:
        row = department_by_code(session, own.code)
        assert row is not None
        assert (row.name, row.floor, row.bookable) == ("心内科", "3 楼", False)
    refused = office.post(page, {**form, "kind": "laboratory", "bookable": "yes"})
    assert (refused.status_code, "只有临床科室" in refused.text) == (422, True)
    assert office.get(PEOPLE).text.count(f'data-department="{own.code}"') == 1


@pytest.mark.req("SEC-1")
def test_who_only_looks_changes_nothing(site: Site, own: Clinic) -> None:
    cashier = site.staff("cashier")
    page = cashier.get(own.page).text
    assert "/stop" not in page
    assert "/change" not in page
    attempts = {
        f"{own.page}/stop": {"version": "1", "why": "试"},
        f"{own.page}/change": changed(own, reason="试"),
        f"{own.page}/substitute": {"version": "1", "doctor": str(own.second), "why": "试"},
        f"{own.page}/booking": {"version": "1", "to": "closed", "why": "试"},
        f"{WEEK}/publish": {},
        f"{WEEK}/release": {},
        f"{WEEK}/holidays/load": {"year": "2026"},
        f"{PEOPLE}/{own.code}": {"name": "别的"},
        f"{PEOPLE}/doctors/{own.first}/leave": {"first": "2026-01-01", "last": "2026-01-02", "why": "试"},
    }
    assert {cashier.post(path, form).status_code for path, form in attempts.items()} == {403}
    assert own.row().version == 1
    assert site.staff("nurse").get(WEEK).status_code == 403


def test_a_department_s_whole_day_is_stopped_in_one_act(office: Visitor) -> None:
    made = Clinic()
    with begin() as session:
        of, sits = department_by_code(session, made.code), session.get_one(Doctor, made.second)
        assert of is not None
        schedules.publish(session, clinic.wish(of, sits), by=BY)
        schedules.publish(session, clinic.wish(of, half="afternoon"), by=BY)
        theirs = schedules.publish(session, clinic.wish(of, half="evening", owner="his"), by=BY).id
    where = f"{WEEK}/day-off?department={made.code}&day={clinic.tomorrow()}"
    page = office.get(where).text
    assert "另有 1 个出诊的号源归 HIS" in page
    seen = re.findall(r'name="seen" value="([0-9a-f-]+)"', page)
    assert len(seen) == 3
    form: dict[str, Any] = {"department": made.code, "day": str(clinic.tomorrow()), "half": "", "why": "科室消毒"}
    less = office.post(f"{WEEK}/day-off", {**form, "seen": seen[:2]})
    assert (less.status_code, "刚有变动" in less.text) == (409, True)
    assert office.post(f"{WEEK}/day-off", {**form, "seen": seen, "why": " "}).status_code == 422
    with begin() as session:
        states = session.scalars(select(ClinicSession.state).where(ClinicSession.department_id == of.id)).all()
    assert set(states) == {"open"}, "all of them or none"
    assert "已全部停诊" in office.post(f"{WEEK}/day-off", {**form, "seen": seen}).text
    with begin() as session:
        rows = session.scalars(select(ClinicSession).where(ClinicSession.department_id == of.id)).unique().all()
    assert {(each.id == theirs, each.state, each.stopped_why) for each in rows} == {
        (False, "stopped", "科室消毒"),
        (True, "open", None),
    }
    assert "当天没有可以停诊的出诊" in office.get(where).text
