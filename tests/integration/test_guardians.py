"""A minor's guardian, bound at the window: reads until the child is 14, books and pays until 18."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from sqlalchemy import func, select

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Invalid, NotFound
from cloud.patient.identity import account, binding
from cloud.patient.identity.model import Binding, PatientAccount
from cloud.patient.identity.rules import birthday, guardian_until
from cloud.people import service as people
from cloud.people.rules import PersonDetails
from tests.support.databases import DatabaseServer, cloud_on

pytestmark = pytest.mark.req("ACC-1")


@pytest.fixture(scope="module")
def place(database_server: DatabaseServer) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched, database_server.clone() as url, cloud_on(url, patched):
        yield


def scopes_of(born: date | None, at: date, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What a guardian bound today may do on the day `at`."""
    with begin() as session:
        child = people.register(session, PersonDetails(name="小明", birth_date=born), by="test")
        mother = PatientAccount(channel="wechat", app_id="wx", open_id=str(child.id))
        session.add(mother)
        session.flush()
        binding.bind(session, mother, child.id, relation="guardian", method="window", by="staff:test")
    then = clock.day_begins(at) + timedelta(hours=9)
    allowed = set()
    with monkeypatch.context() as patched, begin() as session:
        patched.setattr(clock, "now", lambda: then)
        for scope in ("book", "pay", "report", "inpatient"):
            try:
                account.may(session, mother.id, child.id, scope)
                allowed.add(scope)
            except NotFound:
                continue
    return allowed


def test_a_guardian_reads_until_fourteen_and_books_until_eighteen(place: None, monkeypatch: pytest.MonkeyPatch) -> None:
    today = clock.today()
    born = birthday(today, -5)
    everything = {"book", "pay", "report", "inpatient"}
    assert scopes_of(born, today, monkeypatch) == everything
    assert scopes_of(born, birthday(born, 14) - timedelta(days=1), monkeypatch) == everything
    assert scopes_of(born, birthday(born, 14), monkeypatch) == {"book", "pay"}
    assert scopes_of(born, birthday(born, 18), monkeypatch) == set()


def test_seen_again_after_fourteen_a_guardian_reads_until_eighteen(
    place: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    born = birthday(clock.today(), -15)
    assert "report" in scopes_of(born, birthday(born, 18) - timedelta(days=1), monkeypatch)
    assert scopes_of(born, birthday(born, 18), monkeypatch) == set()


@pytest.mark.parametrize("years", [18, 40, None])
def test_an_adult_or_somebody_without_a_birth_date_has_no_guardian(
    place: None, monkeypatch: pytest.MonkeyPatch, years: int | None
) -> None:
    born = None if years is None else birthday(clock.today(), -years)
    with begin() as session:
        before = session.scalar(select(func.count()).select_from(Binding))
    with pytest.raises(Invalid, match="guardian_of_adult"):
        scopes_of(born, clock.today(), monkeypatch)
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(Binding)) == before


def test_a_child_of_the_29th_of_february_comes_of_age_on_the_first_of_march() -> None:
    born = date(2024, 2, 29)
    assert guardian_until(born, date(2026, 1, 1)) == (date(2042, 3, 1), date(2038, 3, 1))
    assert guardian_until(born, date(2042, 3, 1)) is None
