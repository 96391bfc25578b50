"""From a released report to cases: one person's positive values of one disease within an episode are one case."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import date, datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.live import announce
from cloud.lis.catalog.model import ApprovalState, Test
from cloud.lis.infectious import rules
from cloud.lis.infectious.model import (
    OPEN_STATES,
    CaseEvidence,
    CaseState,
    CaseStep,
    Disease,
    InfectiousCase,
    Marker,
    case_numbers,
)
from cloud.lis.orders.model import Order
from cloud.lis.reports.model import Report
from cloud.lis.results.model import Result, ResultState
from cloud.people.identity import lineage, surviving_id

TOPIC = "infectious"
LOCK = 5_003
"""Advisory lock: two reports of one person that are looked at at once open one case."""


def markers_in_force(session: Session, test_ids: Sequence[uuid.UUID]) -> list[Marker]:
    """The newest row of each test and disease; in production only what was approved."""
    newest = (
        select(Marker.id)
        .where(Marker.test_id.in_(test_ids))
        .ext(distinct_on(Marker.test_id, Marker.disease))
        .order_by(Marker.test_id, Marker.disease, Marker.created_at.desc(), Marker.id.desc())
    )
    if settings().environment == "production":
        newest = newest.where(Marker.state == ApprovalState.APPROVED)
    return [each for each in session.scalars(select(Marker).where(Marker.id.in_(newest))) if each.active]


def disease_in_force(rows: Iterable[Disease], code: str, on: date) -> Disease | None:
    """The list's row of a disease on a day. In production an approved one; a draft only where nothing else is known:
    a finding that nobody counts is worse than a deadline that nobody approved."""
    known = list(rows)
    if settings().environment == "production":
        approved = [each for each in known if each.state == ApprovalState.APPROVED]
        return rules.in_force(approved, code, on) or rules.in_force(known, code, on)
    return rules.in_force(known, code, on)


def screen(session: Session, report_id: uuid.UUID) -> list[InfectiousCase]:
    """Look at everything a report says now; may be called again at any time, and changes nothing the second time.

    Gives the cases that were opened or got evidence.
    """
    report = session.get_one(Report, report_id)
    session.execute(select(func.pg_advisory_xact_lock(LOCK, func.hashtext(str(report.person_id)))))
    found: list[InfectiousCase] = []
    results = _released(session, report)
    tests = {each.id: each for each in session.scalars(select(Test).where(Test.id.in_([r.test_id for r in results])))}
    markers = markers_in_force(session, list(tests))
    standing: set[uuid.UUID] = set()
    for result in results:
        for marker in markers:
            if marker.test_id == result.test_id and rules.opens(marker.condition, marker.threshold, result.value_text):
                standing.add(result.id)
                case = _attach(session, report, result, tests[result.test_id], marker)
                if case is not None:
                    found.append(case)
    _withdraw(session, report, standing)
    if found:
        announce(session, TOPIC)
    return found


def _released(session: Session, report: Report) -> Sequence[Result]:
    """What the report says; nothing where it is recalled."""
    if report.recalled_at is not None:
        return ()
    return session.scalars(
        select(Result).where(
            Result.specimen_id == report.specimen_id, Result.chosen, Result.state == ResultState.RELEASED
        )
    ).all()


def _attach(session: Session, report: Report, result: Result, test: Test, marker: Marker) -> InfectiousCase | None:
    """The value as evidence of its case; None where it is that already."""
    known = session.scalars(
        select(CaseEvidence)
        .join(InfectiousCase, InfectiousCase.id == CaseEvidence.case_id)
        .where(CaseEvidence.result_id == result.id, InfectiousCase.disease == marker.disease)
    ).first()
    if known is not None:
        known.withdrawn_at = None
        return None
    at = result.released_at or report.released_at
    disease = disease_in_force(session.scalars(select(Disease)).all(), marker.disease, clock.local(at).date())
    if disease is None:
        return None
    case = _episode(session, report.person_id, disease, at) or _open(session, report, disease, at, marker.screening)
    session.add(
        CaseEvidence(
            case_id=case.id,
            result_id=result.id,
            report_id=report.id,
            marker_id=marker.id,
            test_name=test.name,
            value=result.value_text,
            unit=result.unit or "",
            released_at=at,
        )
    )
    case.last_at = max(case.last_at, at)
    case.screening = case.screening and marker.screening
    case.withdrawn = False
    session.flush()
    return case


def _episode(session: Session, person_id: uuid.UUID, disease: Disease, at: datetime) -> InfectiousCase | None:
    """The person's case that a value of this moment belongs to; also one that was reported or dismissed."""
    people = lineage(session, person_id).person_ids
    cases = session.scalars(
        select(InfectiousCase)
        .where(InfectiousCase.person_id.in_(people), InfectiousCase.disease == disease.code)
        .order_by(InfectiousCase.last_at.desc())
        .with_for_update()
    )
    for each in cases:
        if rules.same_episode(each.last_at, at, disease.episode_days):
            return _first_of(session, each)
    return None


def _first_of(session: Session, case: InfectiousCase) -> InfectiousCase:
    """The case itself, or the one it was found to be a duplicate of."""
    while case.duplicate_of is not None:
        case = session.get_one(InfectiousCase, case.duplicate_of)
    return case


def _open(session: Session, report: Report, disease: Disease, at: datetime, screening: bool) -> InfectiousCase:
    order = session.get_one(Order, report.order_id)
    case = InfectiousCase(
        number=int(session.execute(select(case_numbers.next_value())).scalar_one()),
        person_id=surviving_id(session, report.person_id),
        disease=disease.code,
        disease_id=disease.id,
        screening=screening,
        order_id=order.id,
        department_id=order.department_id,
        state=CaseState.OPEN,
        found_at=at,
        last_at=at,
        due_at=rules.due(at, disease.deadline_hours),
    )
    session.add(case)
    session.flush()
    session.add(CaseStep(case_id=case.id, what="opened", at=clock.now(), by="system", by_name=""))
    record(session, actor="system", action="infectious.opened", aggregate=("infectious_case", case.id))
    return case


def _withdraw(session: Session, report: Report, standing: set[uuid.UUID]) -> None:
    """Evidence of this report that no longer stands: the value was amended away, or the report recalled."""
    now = clock.now()
    gone = session.scalars(
        update(CaseEvidence)
        .where(
            CaseEvidence.report_id == report.id,
            CaseEvidence.withdrawn_at.is_(None),
            CaseEvidence.result_id.not_in(standing),
        )
        .values(withdrawn_at=now)
        .returning(CaseEvidence.case_id),
        execution_options={"synchronize_session": False},
    ).all()
    for case_id in set(gone):
        left = session.scalar(
            select(func.count()).where(CaseEvidence.case_id == case_id, CaseEvidence.withdrawn_at.is_(None))
        )
        session.add(CaseStep(case_id=case_id, what="withdrawn", at=now, by="system", by_name=""))
        if not left:
            session.execute(update(InfectiousCase).where(InfectiousCase.id == case_id).values(withdrawn=True))
            announce(session, TOPIC)


def open_count(session: Session) -> int:
    return (
        session.scalar(select(func.count()).select_from(InfectiousCase).where(InfectiousCase.state.in_(OPEN_STATES)))
        or 0
    )
