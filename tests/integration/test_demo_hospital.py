"""The demonstration's hospital: as big as promised, plausible, the same each time, and nobody in it is real."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from cloud.demo import clinics
from cloud.hospital.model import ClinicSession, Department, Doctor
from cloud.kit import clock, db
from tests.support.databases import DatabaseServer, cloud_on

pytestmark = pytest.mark.req("HOS-1", "REG-2")


@pytest.fixture(scope="module")
def session(database_server: DatabaseServer) -> Iterator[Session]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
    ):
        clinics.seed(db.begin)
        with db.new_session() as session:
            yield session


def test_forty_departments_and_a_hundred_and_sixty_doctors_in_the_usual_titles(session: Session) -> None:
    assert session.scalar(select(func.count(Department.id)).where(Department.code != "HISNK")) == 40
    titles = Counter(session.scalars(select(Doctor.title)))
    assert titles == {"chief": 24, "associate": 40, "attending": 64, "resident": 32}
    assert len(set(session.scalars(select(Doctor.name)))) == 160


def test_every_doctor_has_a_face_a_career_and_what_he_treats_is_his_departments(session: Session) -> None:
    treated = {each["code"]: each["skills"] for each in clinics.content()}
    for each in session.scalars(select(Doctor).options(undefer(Doctor.photo))):
        assert all(skill in treated[each.department.code] for skill in each.skills.split("；"))
        assert "虚构" in each.introduction
        assert (each.photo or b"").startswith(b"<svg")
        assert each.photo_path is not None


def test_three_weeks_of_sessions_are_published_where_patients_may_book(session: Session) -> None:
    sessions = session.scalars(select(ClinicSession)).all()
    assert {each.department.bookable for each in sessions} == {True}
    experts = [each for each in sessions if each.kind == "expert"]
    assert {(each.doctor and each.doctor.title, each.fee_fen) for each in experts} == {
        ("chief", 50_00),
        ("associate", 30_00),
    }
    assert all(20 <= each.capacity <= 30 for each in experts)
    assert (max(each.day for each in sessions) - clock.today()).days in range(18, 22)
    assert any(each.bookable_at(clock.now()) for each in sessions)


def test_planted_again_nothing_is_doubled(session: Session) -> None:
    before = session.scalar(select(func.count(ClinicSession.id)))
    session.commit()
    clinics.seed(db.begin)
    with db.begin() as again:
        assert again.scalar(select(func.count(ClinicSession.id))) == before
        assert again.scalar(select(func.count(Doctor.id))) == 160
