"""The demonstration's hospital: 40 departments (and one whose numbers the HIS gives), 160 doctors, weekly timetable
and three weeks of sessions.

Everything is invented and follows from a fixed seed: names from two lists, careers from sentences that claim nothing
but years, drawn portraits. May run again: what is there stays as it is.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator, Sequence
from datetime import date, time
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.demo.faces import draw
from cloud.hospital import rolling, schedules, service, timetable
from cloud.hospital.doctors import doctor_by_code, set_photo
from cloud.hospital.model import Campus, ClinicSession, Department, Doctor, SessionPattern
from cloud.kit import clock
from cloud.kit.jobs import Begin

CONTENT = Path(__file__).with_name("departments.toml")
BY = "system"
FEES = {"chief": 50_00, "associate": 30_00, "attending": 15_00}
GENERAL_FEE = 10_00
STOPPED_SHARE, SUBSTITUTED_SHARE = 0.02, 0.01
STOPPED_WHYS = ("医生外出会诊", "医生参加院内急会诊", "医生外出参加学术会议", "医生病假")

SURNAMES = (
    "沈陆顾钟叶潘杜戴夏傅方邹熊白孟秦邱江尹薛阎段雷侯龙史陶黎贺龚邵万覃武乔赖庞樊兰殷施洪翟安颜倪严牛温芦季俞章鲁葛"
)
MEN = (
    "明远",
    "志恒",
    "建平",
    "文博",
    "浩然",
    "立诚",
    "景行",
    "思远",
    "承宇",
    "国栋",
    "书言",
    "允和",
    "启正",
    "嘉树",
    "仲谦",
    "以宁",
)
WOMEN = (
    "清和",
    "雅琴",
    "若兰",
    "静姝",
    "晓岚",
    "佩文",
    "婉如",
    "思齐",
    "慧敏",
    "书瑶",
    "月华",
    "知秋",
    "素心",
    "映雪",
    "令仪",
    "安然",
)
MORNING = (time(8), time(12))
AFTERNOON = (time(14), time(17, 30))
EVENING = (time(18), time(20, 30))


@cache
def content() -> list[dict[str, Any]]:
    with CONTENT.open("rb") as file:
        return list(tomllib.load(file)["department"])


def seed(begin: Begin, *, days: int = 21) -> None:
    """A few units of work; the sessions of so many `days` from today are published, each day in one of its own."""
    with begin() as session:
        campus = service.main_campus(session)
        made = [_department(session, each, campus) for each in content()]
        fresh = session.scalar(select(func.count(SessionPattern.id))) == 0
        doctors = _doctors(session, made) if fresh else []
        if fresh:
            session.add_all(_patterns(made, doctors))
        ahead = list(rolling.days_ahead(session))[: days + 1]
    for day in ahead:
        with begin() as session:
            new = rolling.publish_day(session, day, by=BY).published > 0
            if new and day > clock.today():
                _upset(session, day)


def _department(session: Session, words: dict[str, Any], campus: Campus) -> Department:
    kind = words.get("kind", "clinical")
    row = service.ensure_department(session, code=words["code"], name=words["name"], kind=kind, campus=campus)
    if not row.introduction:
        row.section, row.introduction = words["section"], words["introduction"]
        row.place, row.floor = words["place"], words["floor"]
        row.bookable = words.get("bookable", True)
    return row


def _titles(place: int) -> Sequence[str]:
    """Five doctors; over 32 departments 15 % chiefs, 25 % associates, 40 % attendings, 20 % residents."""
    first = ("associate", "associate") if place % 4 == 3 else ("chief", "associate")
    return (*first, "attending", "attending", "resident")


def _doctors(session: Session, departments: Sequence[Department]) -> list[Doctor]:
    skilled = {each["code"]: each["skills"] for each in content() if each["skills"]}
    pick = random.Random("xinglin/doctors")  # noqa: S311  the same hospital each time
    names: set[str] = set()
    made = []
    treating = [each for each in departments if each.code in skilled]
    for place, department in enumerate(treating):
        for number, title in enumerate(_titles(place), start=1):
            code = f"{department.code}{number:02}"
            woman = pick.random() < 0.5
            name = _name(pick, woman, names)
            skills = pick.sample(skilled[department.code], k=3)
            row = doctor_by_code(session, code) or Doctor(code=code, name=name, title=title)
            row.department, row.department_id = department, department.id
            row.skills = "；".join(skills)
            row.introduction = _career(pick, title, department.name, skills)
            set_photo(row, draw(code, woman=woman, grey=title == "chief"), "image/svg+xml")
            session.add(row)
            made.append(row)
    session.flush()
    return made


def _name(pick: random.Random, woman: bool, names: set[str]) -> str:
    while True:
        name = pick.choice(SURNAMES) + pick.choice(WOMEN if woman else MEN)
        if name not in names:
            names.add(name)
            return name


_YEARS = {"chief": (22, 34), "associate": (14, 22), "attending": (7, 13), "resident": (2, 5)}
_TITLE_NAMES = {"chief": "主任医师", "associate": "副主任医师", "attending": "主治医师", "resident": "住院医师"}
_MORE = {
    "chief": ("主持科内疑难病例讨论，带教研究生。", "长期负责本科疑难病例会诊和青年医师培养。"),
    "associate": ("负责病区医疗组工作，参与院内多学科会诊。", "负责专病门诊的随访管理和住院医师带教。"),
    "attending": ("负责病区日常诊疗和慢病随访。", "参与病区值班和门诊随访工作。"),
    "resident": ("在上级医师指导下工作。",),
}


def _career(pick: random.Random, title: str, department: str, skills: Sequence[str]) -> str:
    years = pick.randint(*_YEARS[title])
    return (
        f"{_TITLE_NAMES[title]}，从事{department}临床工作 {years} 年，主要方向为{skills[0]}。"
        f"{pick.choice(_MORE[title])}（演示数据，人物虚构）"
    )


def _patterns(departments: Sequence[Department], doctors: Sequence[Doctor]) -> Iterator[SessionPattern]:
    """Experts sit 2 to 4 half-days a week, attendings two; each department has its ordinary clinic beside them."""
    evening = {each["code"] for each in content() if each.get("evening")}
    theirs = {each["code"] for each in content() if each.get("owner") == "his"}
    for doctor in doctors:
        if doctor.title != "resident":
            yield from _weekly(doctor)
    for department in departments:
        if not department.bookable or department.code in theirs:
            continue
        for weekday in (1, 2, 3, 4, 5, 6):
            capacity = random.Random(f"{department.code}/{weekday}").randrange(60, 101, 10)  # noqa: S311
            yield _general(department, weekday, "morning", MORNING, capacity)
            if weekday < 6:
                yield _general(department, weekday, "afternoon", AFTERNOON, capacity - 20)
            if department.code in evening and weekday < 6:
                yield _general(department, weekday, "evening", EVENING, 30)


def _weekly(doctor: Doctor) -> Iterator[SessionPattern]:
    pick = random.Random(f"weekly/{doctor.code}")  # noqa: S311
    expert = doctor.title in ("chief", "associate")
    halves = [(weekday, half) for weekday in (1, 2, 3, 4, 5) for half in ("morning", "afternoon")]
    for weekday, half in pick.sample(halves, k=pick.randint(2, 4) if expert else 2):
        starts, ends = MORNING if half == "morning" else AFTERNOON
        yield SessionPattern(
            department_id=doctor.department_id,
            doctor_id=doctor.id,
            weekday=weekday,
            half=half,
            starts=starts,
            ends=ends,
            kind="expert" if expert else "general",
            fee_fen=FEES[doctor.title],
            capacity=pick.randint(20, 30),
            segment_minutes=pick.choice((15, 30)) if expert else 30,
            place=f"{pick.randint(1, 12)} 诊室",
            valid_from=clock.today(),
        )


def _general(
    department: Department, weekday: int, half: str, times: tuple[time, time], capacity: int
) -> SessionPattern:
    return SessionPattern(
        department_id=department.id,
        doctor_id=None,
        weekday=weekday,
        half=half,
        starts=times[0],
        ends=times[1],
        kind="general",
        fee_fen=GENERAL_FEE,
        capacity=capacity,
        segment_minutes=30,
        place="普通诊区",
        valid_from=clock.today(),
    )


def _upset(session: Session, day: date) -> None:
    """Of a day's experts a few can't come: some sessions are stopped, some taken over by a colleague."""
    pick = random.Random(f"upset/{day}")  # noqa: S311
    experts = [each for each in timetable.week_of(session, day_from=day, day_to=day) if each.kind == "expert"]
    for row in experts:
        chance = pick.random()
        if chance < STOPPED_SHARE:
            schedules.stop(session, row.id, by=BY, why=pick.choice(STOPPED_WHYS))
        elif chance < STOPPED_SHARE + SUBSTITUTED_SHARE:
            _give_away(session, row)


def _give_away(session: Session, row: ClinicSession) -> None:
    that_day = timetable.week_of(session, department_id=row.department_id, day_from=row.day, day_to=row.day)
    busy = {each.acting_id for each in that_day if each.half == row.half}
    colleagues = timetable.doctors_of(session, row.department_id)
    free = [each for each in colleagues if each.title in ("chief", "associate") and each.id not in busy]
    if free:
        schedules.substitute(session, row.id, free[0].id, by=BY, why="原医生临时有医疗任务")
