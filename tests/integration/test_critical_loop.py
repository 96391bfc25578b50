"""The loop of a critical value: detected, confirmed, told, read back on the ward, escalated, dealt with, counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import clock, db
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound, XinglinError
from cloud.lis.catalog.model import CriticalLimit
from cloud.lis.critical import figures, ladder, overview, repeats, service, ward
from cloud.lis.critical.model import CriticalCase, CriticalContact, CriticalEscalation, CriticalState
from cloud.lis.orders.model import Order
from cloud.lis.reports import service as reports
from cloud.lis.reports.disclosure import Reason
from cloud.lis.reports.model import Report
from cloud.lis.results import review, sheets
from cloud.lis.results.model import Result
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from cloud.notify.model import Delivery
from cloud.people.access import Subject
from tests.support.bench import Bench, Technologist, observed, pathologist, set_up, technician
from tests.support.site import hire_cast, running_site

pytestmark = pytest.mark.req("LIS-11")

DESK, WARD = "/staff/lis/critical", "/staff/ward/critical"
EVERYBODY = Subject.staff(Technologist("主任", frozenset({"patient.read"})))  # type: ignore[arg-type]


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with db.begin() as session:
        yield session


@pytest.fixture
def bench(session: Session) -> Bench:
    return set_up(session)


def nurse() -> Technologist:
    return Technologist("郑护士", frozenset({ward.RECEIVE}))


def director() -> Technologist:
    return Technologist("孙主任", frozenset({ladder.SET}))


def measured(bench: Bench, **values: str) -> Specimen:
    specimen = bench.specimen(*values)
    ingest(bench.session, bench.source(), [observed(specimen, code, value) for code, value in values.items()])
    return specimen


def opened(bench: Bench, **values: str) -> CriticalCase:
    specimen = measured(bench, **values)
    review.mark_reviewed(
        bench.session, specimen.id, by=technician(), version=sheets.version_of(bench.session, specimen.id)
    )
    reports.release(
        bench.session,
        specimen.id,
        by=pathologist(),
        version=sheets.version_of(bench.session, specimen.id),
        confirm_critical=True,
    )
    return bench.session.scalars(select(CriticalCase).where(CriticalCase.specimen_id == specimen.id)).one()


def waits(bench: Bench, case: CriticalCase, minutes: int) -> None:
    """Its confirmation lies so long ago."""
    at = clock.now() - timedelta(minutes=minutes)
    bench.session.execute(
        update(CriticalCase).where(CriticalCase.id == case.id).values(confirmed_at=at, detected_at=at)
    )
    bench.session.expire_all()


def test_a_critical_value_stands_on_the_list_before_anybody_released_it(bench: Bench) -> None:
    specimen = measured(bench, K="6.9")
    [row] = overview.unconfirmed(bench.session, EVERYBODY)
    assert (row.specimen.id, row.values[0][1], row.overdue) == (specimen.id, "6.9", False)
    ladder.set_limits(bench.session, confirm=10, tell=15, source="科务会", by=director())
    later = clock.now() + timedelta(minutes=11)
    assert overview.unconfirmed(bench.session, EVERYBODY, later)[0].overdue
    assert overview.unconfirmed(bench.session, Subject.staff(technician())) == []  # type: ignore[arg-type]


def test_the_same_value_is_critical_by_the_limit_of_the_ward_and_of_the_age_it_is_of(bench: Bench) -> None:
    session = bench.session
    general = session.scalars(select(CriticalLimit).where(CriticalLimit.test_id == bench.tests["K"].id)).one()
    ward_id = session.get_one(Order, bench.specimen("K").order_id).department_id
    mine = {"test_id": general.test_id, "sex": general.sex, "low": general.low, "source": "科务会", "version": 1}
    mine |= {"age_min_days": general.age_min_days, "age_max_days": general.age_max_days, "state": general.state}
    mine |= {"valid_from": general.valid_from}

    def critical(value: str) -> bool:
        specimen = measured(bench, K=value)
        return session.scalars(select(Result).where(Result.specimen_id == specimen.id)).one().critical

    assert critical("6.9")
    session.add(CriticalLimit(**mine, high=Decimal("7.5"), department_id=ward_id))
    session.flush()
    assert not critical("6.9"), "this ward (dialysis, say) is called later"
    assert critical("7.6")
    for years, high in (((18, 20), "5.0"), ((30, 40), "6.5")):
        days = {"age_min_days": years[0] * 366, "age_max_days": years[1] * 366}
        session.add(CriticalLimit(**{**mine, **days}, high=Decimal(high), department_id=ward_id))
    session.flush()
    assert critical("6.6"), "the narrower age goes before"
    assert not critical("6.4"), "a limit of another age is none of hers"


def test_the_ward_reads_back_by_typing_the_values(bench: Bench) -> None:
    session = bench.session
    case = opened(bench, K="6.9", GLU="1.9")

    def refused(error: type[XinglinError], code: str, typed: list[str], by: Technologist) -> None:
        with pytest.raises(error) as found, session.begin_nested():
            ward.read_back(session, case.id, typed, by=by)
        assert found.value.code == code

    names = [value["value"] for value in case.values]
    refused(Forbidden, "critical.ward", names, technician())
    refused(Invalid, "critical.read_back_differs", [names[0], "9.1"], nurse())
    refused(Invalid, "critical.read_back_differs", names[:1], nurse())
    refused(Invalid, "critical.read_back_differs", [], nurse())
    with pytest.raises(NotFound):
        ward.read_back(session, bench.person_id, names, by=nurse())
    assert ward.same_value("6.9", " ６．９ ")
    assert not ward.same_value("6.9", "6.90")
    ward.read_back(session, case.id, names, by=nurse())
    assert case.state == CriticalState.READ_BACK
    assert case.told_at == case.read_back_at
    refused(Conflict, "critical.closed", names, nurse())
    report = session.scalars(select(Report)).one()
    assert reports.disclosable(session, report.id).reason is not Reason.CRITICAL, "the patient may see it now"
    with pytest.raises(Invalid):
        ward.handled(session, case.id, doctor=" ", handling="补钾", by=nurse())
    with pytest.raises(NotFound):
        ward.handled(session, bench.person_id, doctor="李医生", handling="降钾", by=nurse())
    with pytest.raises(Forbidden):
        ward.handled(session, case.id, doctor="李医生", handling="降钾", by=technician())
    ward.handled(session, case.id, doctor="李医生", handling="葡萄糖酸钙，复查", by=nurse())
    with pytest.raises(Conflict):
        ward.handled(session, case.id, doctor="李医生", handling="再次", by=nurse())
    actions = session.scalars(select(AuditEntry.action).where(AuditEntry.action.like("critical.%"))).all()
    assert {"critical.ward_read_back", "critical.handled"} <= set(actions)


def test_each_step_of_the_ladder_is_taken_once_and_stops_with_the_read_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = bench.session
    monkeypatch.setattr("cloud.notify.service.available", lambda _transport: True)
    case = opened(bench, K="6.9")
    steps = [ladder.Step(15, "值班医生", "138 0000 0001"), ladder.Step(30, "总值班", "13800000002")]
    ladder.set_ladder(session, None, steps, reason="危急值制度", by=director())
    assert ladder.escalate(session) == 0
    waits(bench, case, 16)
    assert [ladder.escalate(session), ladder.escalate(session)] == [1, 0]
    waits(bench, case, 31)
    assert ladder.escalate(session) == 1
    taken = session.scalars(select(CriticalEscalation).order_by(CriticalEscalation.position)).all()
    assert [(each.who, each.telephone) for each in taken] == [
        ("值班医生", "138****0001"),
        ("总值班", "138****0002"),
    ]
    sent = session.scalars(select(Delivery)).all()
    assert len(sent) == 2
    assert all("6.9" not in each.parameters and "王" not in each.parameters for each in sent), "nothing of the patient"
    [row] = overview.open_ones(session, EVERYBODY)
    assert (len(row.escalations), row.next_step) == (2, None)
    ward.read_back(session, case.id, ["6.9"], by=nurse())
    waits(bench, case, 999)
    assert ladder.escalate(session) == 0


def test_a_department_has_its_own_ladder_or_that_of_all(bench: Bench) -> None:
    session = bench.session
    case = opened(bench, K="6.9")
    general, own = [ladder.Step(10, "总值班", "13800000002")], [ladder.Step(20, "内科主任", "13800000003")]
    ladder.set_ladder(session, None, general, reason="制度", by=director())
    ladder.set_ladder(session, case.department_id, own, reason="科室要求", by=director())
    known = ladder.ladders(session)
    assert ladder.steps_of(known, case.department_id) == own
    assert ladder.steps_of(known, bench.person_id) == general
    ladder.set_ladder(session, case.department_id, [], reason="取消", by=director())
    assert ladder.steps_of(ladder.ladders(session), case.department_id) == general
    waits(bench, case, 11)
    assert ladder.escalate(session) == 1
    found = session.scalars(select(CriticalEscalation)).one()
    assert found.delivery_id is None, "no channel is set up: it stands on the screens"


@pytest.mark.parametrize(
    ("steps", "reason", "code"),
    [
        ([(15, "x", "13800000001")], " ", "critical.ladder_reason"),
        ([(15, "x", "13800000001"), (15, "y", "13800000001")], "r", "critical.ladder_order"),
        ([(0, "x", "13800000001")], "r", "critical.ladder_order"),
        ([(15, "", "13800000001")], "r", "critical.ladder_who"),
        ([(15, "x", "call me")], "r", "critical.ladder_who"),
        ([(each, "x", "13800000001") for each in range(1, 11)], "r", "critical.ladder_long"),
    ],
)
def test_a_ladder_that_cannot_work_is_refused(
    bench: Bench, steps: list[tuple[int, str, str]], reason: str, code: str
) -> None:
    with pytest.raises(Invalid) as found:
        ladder.set_ladder(bench.session, None, [ladder.Step(*each) for each in steps], reason=reason, by=director())
    assert found.value.code == code
    with pytest.raises(Forbidden):
        ladder.set_ladder(bench.session, None, [], reason="r", by=nurse())
    with pytest.raises(NotFound):
        ladder.set_ladder(bench.session, bench.person_id, [], reason="r", by=director())
    for wrong in ({"confirm": 0}, {"tell": 1441}, {"source": " "}):
        with pytest.raises(Invalid):
            ladder.set_limits(
                bench.session,
                **{"confirm": 1, "tell": 1, "source": "x", **wrong},
                by=director(),  # type: ignore[arg-type]
            )


def limit(**given: object) -> CriticalLimit:
    return CriticalLimit(**{"first_only": False, "repeat_after_hours": None, **given})


def test_which_values_are_not_called_again() -> None:
    now = clock.now()
    hour = timedelta(hours=1)

    def quiet(found: CriticalLimit | None, **changed: object) -> bool:
        given = {"last_told": now - hour, "same_visit": True, "now": now, **changed}
        return repeats.quiet(found, **given)  # type: ignore[arg-type]

    assert not quiet(None)
    assert not quiet(limit()), "a limit that says nothing is called every time"
    assert quiet(limit(first_only=True))
    assert not quiet(limit(first_only=True), same_visit=False)
    assert not quiet(limit(first_only=True), last_told=None)
    assert quiet(limit(repeat_after_hours=2))
    assert not quiet(limit(repeat_after_hours=1)), "an hour has passed: it is called again"


def test_a_value_the_ward_knows_is_not_called_again_where_the_limit_says_so(bench: Bench) -> None:
    session = bench.session
    session.execute(update(CriticalLimit).where(CriticalLimit.test_id == bench.tests["K"].id).values(first_only=True))
    first = opened(bench, K="6.9")
    second = opened(bench, K="7.0")
    assert second.state == CriticalState.CONFIRMED, "nobody has read back the first: it is called"
    ward.read_back(session, first.id, ["6.9"], by=nurse())
    third = opened(bench, K="7.1")
    assert (third.state, third.known_from_id) == (CriticalState.KNOWN, first.id)
    assert third.read_back_at == first.read_back_at
    both = opened(bench, K="7.1", GLU="1.9")
    assert both.state == CriticalState.CONFIRMED, "the glucose is new to the ward"
    low = opened(bench, K="2.0")
    assert low.state == CriticalState.CONFIRMED, "the other side is news"


def test_the_national_figures_are_of_one_cohort(bench: Bench) -> None:
    session = bench.session
    cases = [opened(bench, K="6.9") for _ in range(4)]
    now = clock.now()
    for case, minutes in zip(cases[:3], (5, 10, 40), strict=True):
        session.execute(
            update(CriticalCase)
            .where(CriticalCase.id == case.id)
            .values(confirmed_at=now - timedelta(minutes=minutes), told_at=now)
        )
    gone = opened(bench, K="6.9")
    session.execute(update(CriticalCase).where(CriticalCase.id == gone.id).values(state=CriticalState.CANCELLED))
    session.expire_all()
    found = figures.of_cases(figures.in_period(session, now - timedelta(days=1), now + timedelta(days=1)), 15)
    assert (found.cases, found.told, found.in_time) == (4, 3, 2)
    assert (found.median, found.p90) == (pytest.approx(10, abs=0.01), pytest.approx(34, abs=0.01))
    assert (found.share(found.told), found.share(found.in_time)) == (0.75, 0.5)
    nothing = figures.of_cases([], None)
    assert (nothing.share(nothing.told), nothing.median, nothing.in_time) == (None, None, None)
    rows = figures.in_period(session, now - timedelta(days=1), now + timedelta(days=1))
    assert [(name, f.cases) for name, f in figures.by_test(rows, None)] == [(bench.tests["K"].name, 4)]
    assert sum(f.cases for _, f in figures.by_department(session, rows, None)) == 4


def test_a_call_and_a_read_back_at_once_end_the_case_once(database: str) -> None:
    with begin() as session:
        bench = set_up(session)
        ids = [opened(bench, K="6.9").id for _ in range(6)]
    outcomes: list[str] = []
    for case_id in ids:
        barrier = threading.Barrier(2)

        def by_telephone(case_id: object = case_id, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(30)
            try:
                with begin() as session:
                    service.record_contact(session, case_id, by=technician(), told="王护士", outcome="read_back")  # type: ignore[arg-type]
                outcomes.append("told")
            except Conflict:
                outcomes.append("refused")

        def on_the_ward(case_id: object = case_id, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(30)
            try:
                with begin() as session:
                    ward.read_back(session, case_id, ["6.9"], by=nurse())  # type: ignore[arg-type]
                outcomes.append("told")
            except Conflict:
                outcomes.append("refused")

        threads = [threading.Thread(target=each) for each in (by_telephone, on_the_ward)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
    assert sorted(outcomes) == ["refused"] * 6 + ["told"] * 6
    with begin() as session:
        assert len(session.scalars(select(CriticalContact)).all()) == 6


def test_the_pages_of_laboratory_ward_wall_and_director(database: str) -> None:
    with begin() as session:
        bench = set_up(session)
        waiting = measured(bench, K="7.2").accession
        case = opened(bench, K="6.9")
        case_id, accession = case.id, session.get_one(Specimen, case.specimen_id).accession
    hire_cast()
    with running_site() as site:
        desk, ward_desk, chief = site.staff("technician"), site.staff("nurse"), site.staff("director")
        shown = desk.get(DESK).text
        assert f'data-unconfirmed="{waiting}"' in shown
        assert f'data-case="{case_id}"' in shown
        assert f'data-board="{accession}"' in desk.get(f"{DESK}/board").text
        assert f'data-board="{accession}"' in desk.get(f"{DESK}/board/part").text
        assert desk.get(WARD).status_code == 403
        assert f'data-ward-case="{case_id}"' in ward_desk.get(f"{WARD}?department=RESP").text
        assert 'data-waiting="1"' in ward_desk.get(f"{WARD}/part?department=RESP").text
        ward_desk.get(WARD)
        wrong = ward_desk.post(f"{WARD}/{case_id}/read-back", {"value": ["9.6"], "department": "RESP"})
        assert (wrong.status_code, "复述与报告不符" in wrong.text) == (422, True)
        assert f'data-ward-closed="{case_id}"' in ward_desk.post(f"{WARD}/{case_id}/read-back", {"value": ["6.9"]}).text
        assert (
            "葡萄糖酸钙"
            in ward_desk.post(
                f"{WARD}/{case_id}/handled", {"doctor": "李医生", "handling": "葡萄糖酸钙", "department": "RESP"}
            ).text
        )
        again = ward_desk.post(f"{WARD}/{case_id}/handled", {"doctor": "李医生", "handling": "又一次"})
        assert again.status_code == 409
        assert "葡萄糖酸钙" in desk.get(DESK).text
        assert "未设置通报时限" in desk.get(f"{DESK}/statistics?from=x&to=2026-99-99").text
        chief.get(f"{DESK}/settings")
        assert (
            "科务会" in chief.post(f"{DESK}/settings/limits", {"confirm": "10", "tell": "15", "source": "科务会"}).text
        )
        assert chief.post(f"{DESK}/settings/limits", {"confirm": "soon", "source": "x"}).status_code == 422
        form = {"after": ["15", ""], "who": ["值班医生", ""], "telephone": ["13800000001", ""], "reason": "制度"}
        assert "值班医生" in chief.post(f"{DESK}/settings/ladder", {**form, "department": "RESP"}).text
        assert chief.post(f"{DESK}/settings/ladder", {**form, "telephone": ["?", ""]}).status_code == 422
        desk.get(DESK)
        assert desk.post(f"{DESK}/settings/limits", {"source": "x"}).status_code == 403
        site.close()
