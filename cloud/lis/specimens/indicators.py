"""Indicators 1 to 5 of 临床检验专业医疗质量控制指标 (国卫办医函〔2015〕252号) and rates of other defects.

The cohort is the tubes drawn from patients (no aliquots) that came to the laboratory in the period: received then, or
refused then without a reception. Numerator and denominator are both counted in it, so that a rate never exceeds one.
A defect counts whether the tube was refused or tested all the same; one that was undone does not.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from cloud.lis.catalog.model import Tube
from cloud.lis.orders.model import Order
from cloud.lis.specimens.model import Handling, Specimen, SpecimenDefect, TubeFill
from cloud.lis.specimens.rules import NATIONAL_INDICATOR, RejectionReason, is_anticoagulated
from cloud.web.i18n import mark as N_

BLOOD_CULTURE = "blood_culture"
NAMES = {
    1: N_("标本类型错误率"),
    2: N_("标本容器错误率"),
    3: N_("标本采集量错误率"),
    4: N_("血培养污染率"),
    5: N_("抗凝标本凝集率"),
}


@dataclass(frozen=True, slots=True)
class Cohort:
    """Which tubes are counted: those that came from `start` on and before `end`, of one department or of all."""

    start: datetime
    end: datetime
    department_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate as counted; `percent` is None where there is nothing to divide by."""

    reason: RejectionReason
    indicator: int | None
    numerator: int
    denominator: int

    @property
    def percent(self) -> float | None:
        return None if self.denominator == 0 else 100 * self.numerator / self.denominator


def rates(session: Session, cohort: Cohort) -> list[Rate]:
    """Every reason's rate in the cohort, the five national ones first."""
    found_by_reason = session.execute(
        select(SpecimenDefect.reason_code, func.count(func.distinct(SpecimenDefect.specimen_id)))
        .join(Specimen, Specimen.id == SpecimenDefect.specimen_id)
        .where(_within(cohort), SpecimenDefect.undone_at.is_(None))
        .group_by(SpecimenDefect.reason_code)
    )
    counted: dict[str, int] = {row[0]: row[1] for row in found_by_reason}
    whole = _count(session, _cohort(cohort))
    bottoms = {4: _count(session, denominator(session, cohort, 4)), 5: _count(session, denominator(session, cohort, 5))}
    found = []
    for reason in sorted(RejectionReason, key=lambda each: NATIONAL_INDICATOR.get(each, 99)):
        number = NATIONAL_INDICATOR.get(reason)
        top = counted.get(reason, 0)
        if number in (4, 5):
            top = _count(session, numerator(session, cohort, reason))
        found.append(Rate(reason, number, top, bottoms.get(number or 0, whole)))
    return found


def numerator(session: Session, cohort: Cohort, reason: RejectionReason) -> Select[uuid.UUID]:
    """Ids of the cohort's tubes with this defect."""
    defective = select(SpecimenDefect.specimen_id).where(
        SpecimenDefect.reason_code == reason, SpecimenDefect.undone_at.is_(None)
    )
    return denominator(session, cohort, NATIONAL_INDICATOR.get(reason)).where(Specimen.id.in_(defective))


def denominator(session: Session, cohort: Cohort, indicator: int | None) -> Select[uuid.UUID]:
    """Ids of the tubes that the indicator divides by: 4 blood cultures, 5 tubes with an anticoagulant, else all."""
    if indicator == 4:
        return _cohort(cohort).where(Specimen.specimen_type == BLOOD_CULTURE)
    if indicator == 5:
        return _cohort(cohort).where(Specimen.tube_id.in_(_anticoagulated(session)))
    return _cohort(cohort)


def rows(session: Session, ids: Select[uuid.UUID], *, page: int = 1, size: int = 50) -> Sequence[Specimen]:
    """One page of the tubes behind a number, newest first, so that it can be recounted by hand."""
    found = select(Specimen).where(Specimen.id.in_(ids)).order_by(Specimen.id.desc())
    return session.scalars(found.offset((page - 1) * size).limit(size)).all()


def _count(session: Session, ids: Select[uuid.UUID]) -> int:
    return session.scalar(select(func.count()).select_from(ids.subquery())) or 0


def _cohort(cohort: Cohort) -> Select[uuid.UUID]:
    return select(Specimen.id).where(_within(cohort))


def _within(cohort: Cohort) -> ColumnElement[bool]:
    refused_at_the_door = select(SpecimenDefect.specimen_id).where(
        SpecimenDefect.handling == Handling.REJECTED,
        SpecimenDefect.undone_at.is_(None),
        SpecimenDefect.at >= cohort.start,
        SpecimenDefect.at < cohort.end,
    )
    came = or_(
        and_(Specimen.received_at >= cohort.start, Specimen.received_at < cohort.end),
        and_(Specimen.received_at.is_(None), Specimen.id.in_(refused_at_the_door)),
    )
    conditions = [came, Specimen.parent_id.is_(None)]
    if cohort.department_id is not None:
        orders = select(Order.id).where(Order.department_id == cohort.department_id)
        conditions.append(Specimen.order_id.in_(orders))
    return and_(*conditions)


def _anticoagulated(session: Session) -> list[uuid.UUID]:
    pairs = session.execute(select(Tube, TubeFill.anticoagulated).outerjoin(TubeFill, TubeFill.tube_id == Tube.id))
    return [tube.id for tube, said in pairs if is_anticoagulated(tube.additive, said)]
