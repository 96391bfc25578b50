"""What the pages show of cases: lists with their clocks, one case with its evidence and steps, the card to fill in."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.errors import NotFound
from cloud.lis.infectious import rules
from cloud.lis.infectious.model import (
    OPEN_STATES,
    CaseEvidence,
    CaseState,
    CaseStep,
    Disease,
    InfectiousCase,
    Marker,
    ReportCard,
)
from cloud.lis.orders.model import Order
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person
from cloud.web.i18n import mark as N_

SHOWN = 300
LISTS = {
    "open": N_("待处理"),
    "overdue": N_("已超时限"),
    "reported": N_("已报告"),
    "dismissed": N_("已排除"),
    "all": N_("全部"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A case in a list."""

    case: InfectiousCase
    disease: Disease
    person: Person
    department: Department
    left_minutes: int | None
    """Until its card is due; negative: overdue. None: it is closed."""


def cases(session: Session, subject: Subject, which: str, now: datetime | None = None) -> list[Line]:
    """One of `LISTS`; open ones by what is left, closed ones newest first."""
    moment = now or clock.now()
    query = (
        select(InfectiousCase, Disease, Person, Department)
        .join(Disease, Disease.id == InfectiousCase.disease_id)
        .join(Person, Person.id == InfectiousCase.person_id)
        .join(Department, Department.id == InfectiousCase.department_id)
        .where(InfectiousCase.person_id.in_(visible_to(subject)))
        .limit(SHOWN)
    )
    condition = _condition(which, moment)
    if condition is not None:
        query = query.where(condition)
    order = InfectiousCase.due_at if which in ("open", "overdue") else InfectiousCase.found_at.desc()
    return [
        Line(case, disease, person, department, left(case, moment))
        for case, disease, person, department in session.execute(query.order_by(order))
    ]


def _condition(which: str, now: datetime) -> ColumnElement[bool] | None:
    if which == "overdue":
        return InfectiousCase.state.in_(OPEN_STATES) & (InfectiousCase.due_at < now)
    if which == "reported":
        return InfectiousCase.state == CaseState.REPORTED
    if which == "dismissed":
        return InfectiousCase.state.in_((CaseState.DISMISSED, CaseState.DUPLICATE))
    return None if which == "all" else InfectiousCase.state.in_(OPEN_STATES)


def left(case: InfectiousCase, now: datetime) -> int | None:
    return int((case.due_at - now).total_seconds() // 60) if case.state in OPEN_STATES else None


def counts(session: Session, now: datetime | None = None) -> dict[str, int]:
    """How many cases each list has."""
    moment = now or clock.now()
    found = {}
    for which in LISTS:
        query = select(func.count()).select_from(InfectiousCase)
        condition = _condition(which, moment)
        found[which] = session.scalar(query if condition is None else query.where(condition)) or 0
    return found


@dataclass(frozen=True, slots=True)
class Whole:
    """One case with all that belongs to it."""

    case: InfectiousCase
    disease: Disease
    person: Person
    department: Department
    order: Order
    evidence: Sequence[tuple[CaseEvidence, Marker, Specimen]]
    steps: Sequence[CaseStep]
    cards: Sequence[ReportCard]
    duplicate_of: InfectiousCase | None
    earlier: Sequence[InfectiousCase]
    """Other cases of this person, whatever the disease."""
    left_minutes: int | None


def whole(session: Session, subject: Subject, number: int) -> Whole:
    """Raises NotFound, also for a case of somebody the subject may not see."""
    found = session.execute(
        select(InfectiousCase, Disease, Person, Department, Order)
        .join(Disease, Disease.id == InfectiousCase.disease_id)
        .join(Person, Person.id == InfectiousCase.person_id)
        .join(Department, Department.id == InfectiousCase.department_id)
        .join(Order, Order.id == InfectiousCase.order_id)
        .where(InfectiousCase.number == number, InfectiousCase.person_id.in_(visible_to(subject)))
    ).first()
    if found is None:
        raise NotFound("infectious.case", N_("没有这个病例。"))
    case, disease, person, department, order = found
    return Whole(
        case,
        disease,
        person,
        department,
        order,
        _evidence(session, case.id),
        session.scalars(select(CaseStep).where(CaseStep.case_id == case.id).order_by(CaseStep.at, CaseStep.id)).all(),
        session.scalars(select(ReportCard).where(ReportCard.case_id == case.id).order_by(ReportCard.reported_at)).all(),
        None if case.duplicate_of is None else session.get(InfectiousCase, case.duplicate_of),
        session.scalars(
            select(InfectiousCase)
            .where(InfectiousCase.person_id == case.person_id, InfectiousCase.id != case.id)
            .order_by(InfectiousCase.found_at.desc())
            .limit(20)
        ).all(),
        left(case, clock.now()),
    )


def _evidence(session: Session, case_id: uuid.UUID) -> list[tuple[CaseEvidence, Marker, Specimen]]:
    from cloud.lis.results.model import Result

    rows = session.execute(
        select(CaseEvidence, Marker, Specimen)
        .join(Marker, Marker.id == CaseEvidence.marker_id)
        .join(Result, Result.id == CaseEvidence.result_id)
        .join(Specimen, Specimen.id == Result.specimen_id)
        .where(CaseEvidence.case_id == case_id)
        .order_by(CaseEvidence.released_at)
    )
    return [(evidence, marker, specimen) for evidence, marker, specimen in rows]


def card_draft(found: Whole) -> dict[str, str]:
    """What of the card is known already; the rest is the doctor's."""
    person = found.person
    return {
        **{each.key: "" for each in rules.CARD_FIELDS},
        "patient_name": person.name or "",
        "sex": {"M": "男", "F": "女"}.get(person.sex, ""),
        "birth_date": person.birth_date.isoformat() if person.birth_date else "",
        "diagnosed_at": clock.local(found.case.found_at).strftime("%Y-%m-%dT%H:%M"),
        "certainty": "",
    }


def overdue_count(session: Session) -> int:
    """For the home page's card: open cases, the urgent ones among them are all."""
    return counts(session)["open"]
