"""What the pages of critical values show: values to confirm, open cases with their clocks, the ward's own list."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.lis.catalog.model import Test
from cloud.lis.critical import ladder
from cloud.lis.critical.model import (
    CLOSED,
    CriticalCase,
    CriticalContact,
    CriticalEscalation,
    CriticalState,
)
from cloud.lis.orders.model import Order
from cloud.lis.results.model import Result, ResultState
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person

SHOWN = 200
WARD_HOURS = 24
"""How long the ward's screen keeps a case that was read back and waits for the doctor's handling."""


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A specimen with critical values that nobody has released yet."""

    specimen: Specimen
    person: Person
    department: Department
    values: tuple[tuple[str, str, str, str], ...]
    """Test, value, unit, flag."""
    detected_at: datetime
    minutes: int
    overdue: bool


def unconfirmed(session: Session, subject: Subject, now: datetime | None = None) -> list[Unconfirmed]:
    """Detected and waiting for a person to confirm them, the oldest first."""
    moment = now or clock.now()
    limit = ladder.limits(session).confirm
    waiting = (ResultState.RECEIVED, ResultState.REVIEWED)
    rows = session.execute(
        select(Result, Test, Specimen, Person, Department)
        .join(Test, Test.id == Result.test_id)
        .join(Specimen, Specimen.id == Result.specimen_id)
        .join(Order, Order.id == Specimen.order_id)
        .join(Department, Department.id == Order.department_id)
        .join(Person, Person.id == Specimen.person_id)
        .where(
            Result.critical,
            Result.chosen,
            Result.state.in_(waiting),
            Specimen.person_id.in_(visible_to(subject)),
        )
        .order_by(Result.received_at)
        .limit(SHOWN)
    ).all()
    parts: dict[uuid.UUID, list[tuple[Result, Test, Specimen, Person, Department]]] = {}
    for row in rows:
        result, test, specimen, person, department = row
        parts.setdefault(specimen.id, []).append((result, test, specimen, person, department))
    found = []
    for each in parts.values():
        result, _test, specimen, person, department = each[0]
        minutes = int((moment - result.received_at).total_seconds() // 60)
        values = tuple((test.name, r.value_text, r.unit or "", r.flag) for r, test, *_rest in each)
        found.append(
            Unconfirmed(
                specimen,
                person,
                department,
                values,
                result.received_at,
                minutes,
                limit is not None and minutes > limit,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Open:
    """A case that nobody read back, with its clock."""

    case: CriticalCase
    specimen: Specimen
    person: Person
    department: Department
    contacts: Sequence[CriticalContact]
    escalations: Sequence[CriticalEscalation]
    minutes: int
    """Since the clock began: the confirmation, or the arrival of a late value."""
    overdue: bool
    next_step: ladder.Step | None


def open_ones(
    session: Session, subject: Subject, *, department_id: uuid.UUID | None = None, now: datetime | None = None
) -> list[Open]:
    """The longest waiting first."""
    moment = now or clock.now()
    query = (
        select(CriticalCase, Specimen, Person, Department)
        .join(Specimen, Specimen.id == CriticalCase.specimen_id)
        .join(Person, Person.id == CriticalCase.person_id)
        .join(Department, Department.id == CriticalCase.department_id)
        .where(CriticalCase.state.not_in(CLOSED), CriticalCase.person_id.in_(visible_to(subject)))
        .order_by(func.coalesce(CriticalCase.confirmed_at, CriticalCase.detected_at))
        .limit(SHOWN)
    )
    if department_id is not None:
        query = query.where(CriticalCase.department_id == department_id)
    rows = session.execute(query).all()
    ids = [row.CriticalCase.id for row in rows]
    contacts: dict[uuid.UUID, list[CriticalContact]] = {}
    for each in session.scalars(
        select(CriticalContact).where(CriticalContact.case_id.in_(ids)).order_by(CriticalContact.at)
    ):
        contacts.setdefault(each.case_id, []).append(each)
    taken: dict[uuid.UUID, list[CriticalEscalation]] = {}
    for step in session.scalars(
        select(CriticalEscalation).where(CriticalEscalation.case_id.in_(ids)).order_by(CriticalEscalation.position)
    ):
        taken.setdefault(step.case_id, []).append(step)
    limit, known = ladder.limits(session).tell, ladder.ladders(session)
    found = []
    for case, specimen, person, department in rows:
        minutes = int((moment - ladder.begins(case)).total_seconds() // 60)
        steps = ladder.steps_of(known, case.department_id)
        done = taken.get(case.id, [])
        found.append(
            Open(
                case,
                specimen,
                person,
                department,
                contacts.get(case.id, []),
                done,
                minutes,
                limit is not None and minutes > limit,
                steps[len(done)] if len(done) < len(steps) else None,
            )
        )
    return found


def closed_lately(
    session: Session, subject: Subject, *, department_id: uuid.UUID | None = None, now: datetime | None = None
) -> Sequence[tuple[CriticalCase, Specimen, Person, Department]]:
    """Read back (or known to the ward) within the last day, newest first."""
    since = (now or clock.now()) - timedelta(hours=WARD_HOURS)
    query = (
        select(CriticalCase, Specimen, Person, Department)
        .join(Specimen, Specimen.id == CriticalCase.specimen_id)
        .join(Person, Person.id == CriticalCase.person_id)
        .join(Department, Department.id == CriticalCase.department_id)
        .where(
            or_(
                and_(CriticalCase.state == CriticalState.READ_BACK, CriticalCase.read_back_at > since),
                and_(CriticalCase.state == CriticalState.KNOWN, CriticalCase.detected_at > since),
            ),
            CriticalCase.person_id.in_(visible_to(subject)),
        )
        .order_by(CriticalCase.read_back_at.desc())
        .limit(100)
    )
    if department_id is not None:
        query = query.where(CriticalCase.department_id == department_id)
    return [(case, specimen, person, place) for case, specimen, person, place in session.execute(query)]


def readers(session: Session, case_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, CriticalContact]:
    """The contact that ended each case."""
    rows = session.scalars(
        select(CriticalContact).where(CriticalContact.case_id.in_(case_ids), CriticalContact.outcome == "read_back")
    )
    return {each.case_id: each for each in rows}
