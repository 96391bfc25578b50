"""Turnaround on a real database: times gathered, targets chosen, late ones found, statistics and pages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from cloud.hospital.service import ensure_department
from cloud.kit import clock, db
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Forbidden, Invalid, NotFound
from cloud.lis.reports import service as reports
from cloud.lis.reports.model import ReportVersion
from cloud.lis.results import review, sheets
from cloud.lis.results.model import Result
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from cloud.lis.turnaround import board, causes, histories, reading, targets, times
from cloud.lis.turnaround.board import Outlook
from cloud.lis.turnaround.hours import DEFAULT
from cloud.lis.turnaround.model import SpecimenTimes
from cloud.lis.turnaround.points import IN_LABORATORY, SPANS, Point
from cloud.lis.turnaround.reading import Wanted
from tests.support.bench import Bench, Technologist, observed, pathologist, set_up, technician
from tests.support.site import hire_cast, running_site

pytestmark = pytest.mark.req("LIS-13")

PAGE = "/staff/lis/turnaround"


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with db.begin() as session:
        yield session


@pytest.fixture
def bench(session: Session) -> Bench:
    return set_up(session)


def director() -> Technologist:
    return Technologist("孙主任", frozenset({targets.SET, causes.NAME_CAUSE}))


def released(bench: Bench, *codes: str, received: datetime, minutes: float, priority: str = "R") -> Specimen:
    """A specimen received then and reported so many minutes later."""
    specimen = bench.specimen(*codes)
    ingest(bench.session, bench.source(), [observed(specimen, code, "5.00") for code in codes])
    version = sheets.version_of(bench.session, specimen.id)
    review.mark_reviewed(bench.session, specimen.id, by=technician(), version=version)
    version = sheets.version_of(bench.session, specimen.id)
    report = reports.release(bench.session, specimen.id, by=pathologist(), version=version, confirm_critical=True)
    out = received + timedelta(minutes=minutes)
    bench.session.execute(
        update(Specimen)
        .where(Specimen.id == specimen.id)
        .values(received_at=received, collected_at=received - timedelta(minutes=20), priority=priority)
    )
    bench.session.execute(text("ALTER TABLE lab_report_version DISABLE TRIGGER USER"))
    bench.session.execute(update(ReportVersion).where(ReportVersion.report_id == report.id).values(released_at=out))
    bench.session.execute(
        update(Result)
        .where(Result.specimen_id == specimen.id)
        .values(received_at=received + timedelta(minutes=minutes / 2), reviewed_at=out - timedelta(minutes=1))
    )
    bench.session.expire_all()
    times.refresh(bench.session, [specimen.id])
    return specimen


def aim(session: Session, minutes: int | None, **scope: object) -> None:
    """A target that was in force all along."""
    row = targets.set_target(
        session,
        targets.Scope(**{"priority": "R", **scope}),  # type: ignore[arg-type]
        start=Point.RECEIVED,
        minutes=minutes,
        source="科务会 2026-01",
        by=director(),
    )
    row.valid_from = clock.now() - timedelta(days=400)
    session.flush()


def test_each_point_is_taken_from_where_it_was_written_down(bench: Bench) -> None:
    at = clock.now() - timedelta(hours=3)
    specimen = released(bench, "WBC", "PLT", received=at, minutes=40)
    row = bench.session.get_one(SpecimenTimes, specimen.id)
    assert (row.received_at, row.released_at) == (at, at + timedelta(minutes=40))
    assert row.collected_at == at - timedelta(minutes=20)
    assert row.resulted_at == at + timedelta(minutes=20)
    assert row.reviewed_at == at + timedelta(minutes=39)
    assert row.ordered_at is not None
    assert row.printed_at is not None
    assert (row.sent_at, row.loaded_at) == (None, None), "nobody told of it"
    assert row.sections == ["hematology"]
    assert row.breached is None, "no target, no judgement"


def target_of(session: Session, specimen_id: uuid.UUID) -> int | None:
    """The target a specimen has by what is set now."""
    times.refresh(session, [specimen_id])
    session.expire_all()
    return session.get_one(SpecimenTimes, specimen_id).target_minutes


def test_the_most_specific_target_counts_and_the_tightest_of_the_tests(bench: Bench) -> None:
    session = bench.session
    at = clock.now() - timedelta(hours=3)
    aim(session, 300)
    one = released(bench, "WBC", received=at, minutes=50)
    assert session.get_one(SpecimenTimes, one.id).breached is False
    aim(session, 45, section="hematology")
    times.refresh(session, [one.id])
    session.expire_all()
    assert (session.get_one(SpecimenTimes, one.id).target_minutes, session.get_one(SpecimenTimes, one.id).breached) == (
        45,
        True,
    )
    aim(session, 60, test_id=bench.tests["WBC"].id)
    two = released(bench, "WBC", "PLT", received=at, minutes=50)
    assert target_of(session, one.id) == 60, "its only test has a target of its own"
    assert target_of(session, two.id) == 45, "the platelets have the section's"
    aim(session, 20, section="hematology", department_id=ensure_department(session, code="RESP", name="x").id)
    assert target_of(session, two.id) == 20
    aim(session, None, test_id=bench.tests["WBC"].id)
    assert target_of(session, one.id) is None, "this test has none from now on"


def test_a_target_does_not_judge_what_came_before_it(bench: Bench) -> None:
    at = clock.now() - timedelta(hours=3)
    specimen = released(bench, "WBC", received=at, minutes=50)
    targets.set_target(
        bench.session, targets.Scope("R"), start=Point.RECEIVED, minutes=10, source="科务会", by=director()
    )
    assert target_of(bench.session, specimen.id) is None


def test_every_refusal_of_a_target_says_why(bench: Bench) -> None:
    def refused(error: type[Exception], code: str, *, by: Technologist | None = None, **more: object) -> None:
        given: dict[str, object] = {"start": "received", "minutes": 30, "source": "科务会", **more}
        scope = given.pop("scope", targets.Scope("R"))
        with pytest.raises(error) as found:
            targets.set_target(bench.session, scope, by=by or director(), **given)  # type: ignore[arg-type]
        assert found.value.code == code  # type: ignore[attr-defined]

    nobody = bench.person_id
    refused(Forbidden, "turnaround.target", by=technician())
    refused(Invalid, "turnaround.source", source="  ")
    refused(Invalid, "turnaround.minutes", minutes=0)
    refused(Invalid, "turnaround.minutes", minutes=targets.LONGEST_MINUTES + 1)
    refused(Invalid, "turnaround.start", start="released")
    refused(Invalid, "turnaround.priority", scope=targets.Scope("X"))
    refused(Invalid, "turnaround.section", scope=targets.Scope("R", section="kitchen"))
    refused(Invalid, "turnaround.scope", scope=targets.Scope("R", bench.tests["WBC"].id, "hematology"))
    refused(NotFound, "turnaround.test", scope=targets.Scope("R", nobody))
    refused(NotFound, "turnaround.department", scope=targets.Scope("R", department_id=nobody))
    refused(Invalid, "turnaround.past", valid_from=clock.now() - timedelta(minutes=1))


def test_the_statement_and_the_arithmetic_give_the_same_figures(bench: Bench) -> None:
    at = clock.now() - timedelta(hours=9)
    took = [32, 41, 28, 55, 47, 60, 39, 44, 120, 35]
    made = [released(bench, "WBC", received=at, minutes=each) for each in took]
    wrong = released(bench, "WBC", received=at, minutes=-5)
    bench.session.execute(
        update(SpecimenTimes).where(SpecimenTimes.specimen_id == made[0].id).values(collected_at=None)
    )
    wanted = Wanted(at - timedelta(days=1), clock.now())
    found = reading.overall(bench.session, wanted)
    assert found.summary is not None
    assert (found.summary.count, found.negative, found.missing_end) == (10, 1, 0)
    assert (found.summary.median, found.summary.p90) == (pytest.approx(42.5), pytest.approx(66.0))
    assert found.summary.mean == pytest.approx(50.1)
    assert [each.specimen.id for each in reading.odd_ones(bench.session, wanted)] == [wrong.id]
    before = reading.overall(bench.session, Wanted(wanted.since, wanted.until, SPANS[1]))
    assert (before.missing_start, before.summary.count if before.summary else 0) == (1, 10)
    parts = reading.by_group(bench.session, wanted, "section")
    assert [(each.label, each.summary.count if each.summary else 0) for each in parts] == [("hematology", 10)]
    for group in ("priority", "department", "hour", "day"):
        assert sum(each.summary.count for each in reading.by_group(bench.session, wanted, group) if each.summary) == 10
    for narrowed in (
        Wanted(wanted.since, wanted.until, priority="S"),
        Wanted(wanted.since, wanted.until, section="urine"),
        Wanted(wanted.since, wanted.until, department_id=bench.person_id),
        Wanted(wanted.since, wanted.until, test_id=bench.tests["PLT"].id),
    ):
        assert reading.overall(bench.session, narrowed).summary is None
    by_hand = reading.overall(bench.session, Wanted(wanted.since, wanted.until, hours=DEFAULT))
    assert by_hand.negative == 1
    bars = reading.bars(bench.session, wanted, 120)
    assert sum(each.count for each in bars) == 10


def test_work_in_hand_is_warned_of_before_it_is_late(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    session = bench.session
    now = clock.now()
    aim(session, 60)
    monkeypatch.setattr(histories, "LEAST_HISTORY", 5)
    for number in range(5):
        released(bench, "WBC", received=now - timedelta(hours=5, minutes=number), minutes=31 + 9 * number)
    assert histories.renew(session, now) > 0

    def waits(minutes: int) -> Specimen:
        specimen = bench.specimen("WBC")
        session.execute(
            update(Specimen)
            .where(Specimen.id == specimen.id)
            .values(received_at=now - timedelta(minutes=minutes), collected_at=now - timedelta(minutes=minutes + 5))
        )
        session.expire_all()
        return specimen

    fresh, slow, late = waits(2), waits(55), waits(70)
    rows = {each.times.specimen_id: each for each in board.board(session, now)}
    assert rows[fresh.id].outlook is Outlook.IN_TIME
    assert rows[slow.id].outlook is Outlook.WILL_BE_LATE
    assert rows[slow.id].left_minutes == 5
    assert rows[slow.id].late_share is not None
    assert rows[late.id].outlook is Outlook.LATE
    assert [each.times.specimen_id for each in board.board(session, now)] == [late.id, slow.id, fresh.id]
    assert board.warned_count(session) == 2
    stat = waits(1)
    session.execute(update(Specimen).where(Specimen.id == stat.id).values(priority="S"))
    session.expire_all()
    assert {r.times.specimen_id: r for r in board.board(session, now)}[stat.id].outlook is Outlook.NO_TARGET


def test_a_late_report_gets_its_cause_once_found_and_a_later_finding_takes_its_place(bench: Bench) -> None:
    session = bench.session
    now = clock.now()
    aim(session, 30)
    late = released(bench, "WBC", received=now - timedelta(hours=2), minutes=50)
    released(bench, "WBC", received=now - timedelta(hours=2), minutes=20)
    day = (now - timedelta(days=1), now + timedelta(days=1))
    rows = causes.late_ones(session, *day)
    assert [(each.specimen.id, each.took_minutes, each.cause) for each in rows] == [(late.id, 50, None)]
    assert rows[0].slowest == (Point.RECEIVED, Point.RESULTED)
    for error, given in (
        (Forbidden, {"by": technician(), "cause": "rerun"}),
        (Invalid, {"by": director(), "cause": "weather"}),
        (Invalid, {"by": director(), "cause": "other", "note": " "}),
    ):
        with pytest.raises(error):
            causes.name_cause(session, late.id, **{"note": "", **given})  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        causes.name_cause(session, bench.person_id, cause="rerun", note="", by=director())
    causes.name_cause(session, late.id, cause="rerun", note="", by=director())
    causes.name_cause(session, late.id, cause="instrument", note="进样针堵塞", by=director())
    found = causes.late_ones(session, *day)[0].cause
    assert found is not None
    assert (found.cause, found.note) == ("instrument", "进样针堵塞")
    assert causes.counted(causes.late_ones(session, *day)) == [("instrument", 1)]
    audited = session.scalars(select(AuditEntry).where(AuditEntry.action == "turnaround.cause")).all()
    assert len(audited) == 2


def test_the_table_can_be_thrown_away_and_made_again(bench: Bench) -> None:
    session = bench.session
    now = clock.now()
    aim(session, 30)
    for minutes in (20, 50):
        released(bench, "WBC", received=now - timedelta(hours=2), minutes=minutes)

    def all_rows() -> list[tuple[object, ...]]:
        return [tuple(each) for each in session.execute(text("SELECT * FROM lab_turnaround ORDER BY specimen_id"))]

    before = all_rows()
    session.execute(text("DELETE FROM lab_turnaround"))
    assert times.refresh_between(session, now - timedelta(days=1), now) == 2
    assert all_rows() == before


def test_the_pages_show_it_and_only_the_director_sets_targets(database: str) -> None:
    with begin() as session:
        bench = set_up(session)
        aim(session, 30)
        late = released(bench, "WBC", received=clock.now() - timedelta(minutes=90), minutes=50)
        waiting = bench.specimen("WBC").accession
    hire_cast()
    with running_site() as site:
        desk = site.staff("technician")
        assert waiting in desk.get(PAGE).text
        assert desk.get(f"{PAGE}/part?section=urine").text.count("data-specimen") == 0
        shown = desk.get(f"{PAGE}/statistics?span=received-released").text
        assert "50 分" in shown
        assert "P90" in shown
        assert desk.get(f"{PAGE}/statistics?from=2026-13-99&to=x&span=zz&group=zz&test=NOPE").status_code == 200
        assert "没有代码为“NOPE”的项目" in desk.get(f"{PAGE}/statistics?test=NOPE").text
        assert desk.get(f"{PAGE}/statistics?time=working").status_code == 200
        table = desk.get(f"{PAGE}/statistics.csv")
        assert table.headers["content-type"].startswith("text/csv")
        assert table.content.startswith(b"\xef\xbb\xbf")
        assert f'data-late="{late.accession}"' in desk.get(f"{PAGE}/late").text
        answer = desk.post(f"{PAGE}/late/{late.id}/cause", {"cause": "other"})
        assert (answer.status_code, "请写明原因" in answer.text) == (422, True)
        assert "质控失控" in desk.post(f"{PAGE}/late/{late.id}/cause", {"cause": "qc", "note": "2-2s"}).text
        form = {"priority": "S", "section": "urine", "minutes": "30", "start": "received", "source": "科务会"}
        desk.get(f"{PAGE}/targets")
        assert desk.post(f"{PAGE}/targets", dict(form)).status_code == 403
        chief = site.staff("director")
        chief.get(f"{PAGE}/targets")
        assert "科务会" in chief.post(f"{PAGE}/targets", dict(form)).text
        assert chief.post(f"{PAGE}/targets", {**form, "minutes": "soon"}).status_code == 422
        assert chief.post(f"{PAGE}/targets", {**form, "section": "", "test": "NOPE"}).status_code == 404
        assert chief.post(f"{PAGE}/targets", {**form, "department": "NOPE"}).status_code == 404
        hours = {"opens": "08:00", "closes": "17:30", "days": [0, 1, 2], "closed": "2026-10-01", "reason": "排班"}
        assert "2026-10-01" in chief.post(f"{PAGE}/hours", dict(hours)).text
        for wrong in ({"closes": "07:00"}, {"days": []}, {"closed": "国庆"}, {"reason": " "}):
            chief.get(f"{PAGE}/targets")
            assert chief.post(f"{PAGE}/hours", {**hours, **wrong}).status_code == 422, wrong
        site.close()


def test_production_ignores_the_drafts_it_begins_with(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    session = bench.session
    specimen = released(bench, "WBC", received=clock.now() + timedelta(seconds=5), minutes=5)
    assert targets.ensure_drafts(session) > 0
    assert targets.ensure_drafts(session) == 0, "only where nothing was ever set"
    assert target_of(session, specimen.id) == 60
    monkeypatch.setattr(times, "_given", lambda given=times._given(): {**given, "drafts": False})
    assert target_of(session, specimen.id) is None
    assert IN_LABORATORY.key == "received-released"
