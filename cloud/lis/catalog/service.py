"""The verbs of the catalogue: look up, search by keyboard, find the band that applies, approve a draft."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from cloud.lis.catalog import approving, content, rules
from cloud.lis.catalog.changes import CatalogChange
from cloud.lis.catalog.choice import Facts, choose_limit
from cloud.lis.catalog.kinds import Kind
from cloud.lis.catalog.model import (
    ApprovalState,
    CriticalLimit,
    Panel,
    PanelTest,
    QualityGoal,
    ReferenceRange,
    Test,
    Tube,
)

BANDS: dict[str, Kind] = {"range": content.RANGE, "critical": content.LIMIT}


def test_by_code(session: Session, code: str) -> Test | None:
    return session.scalar(select(Test).where(Test.code == code))


def tests_by_id(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Test]:
    return {each.id: each for each in session.scalars(select(Test).where(Test.id.in_(ids)))}


def tubes_by_id(session: Session) -> dict[uuid.UUID, Tube]:
    return {each.id: each for each in session.scalars(select(Tube))}


def panel_by_code(session: Session, code: str) -> Panel | None:
    return session.scalar(select(Panel).where(Panel.code == code))


def panel_tests(session: Session, panel_id: uuid.UUID) -> list[Test]:
    """Its tests, in the panel's order."""
    found = select(Test).join(PanelTest).where(PanelTest.panel_id == panel_id).order_by(PanelTest.position)
    return list(session.scalars(found))


@dataclass(frozen=True, slots=True)
class Choice:
    """One line offered while somebody types: a panel or a test."""

    kind: str
    """"panel" or "test"."""
    code: str
    name: str
    name_en: str
    short_name: str
    pinyin: str
    tests: int


def search(session: Session, text: str, *, limit: int = 12) -> list[Choice]:
    """Panels and tests whose code, short name, pinyin initials or name begin with (or hold) `text`.

    What equals the text comes before what begins with it, and that before what holds it; panels before tests.
    """
    wanted = text.strip().lower()
    if not wanted:
        return []
    size = select(func.count()).where(PanelTest.panel_id == Panel.id).scalar_subquery()
    panels = session.execute(select(Panel, size).where(_matches(Panel, wanted)).order_by(Panel.position)).all()
    tests = session.scalars(
        select(Test)
        .where(_matches(Test, wanted), Test.orderable, Test.state != ApprovalState.RETIRED)
        .order_by(Test.position)
    ).all()
    found = [
        Choice("panel", each.code, each.name, each.name_en, each.short_name, each.pinyin, count)
        for each, count in panels
    ] + [Choice("test", each.code, each.name, each.name_en, each.short_name, each.pinyin, 1) for each in tests]
    return sorted(found, key=lambda each: _rank(each, wanted))[:limit]


def _matches(table: type[Panel] | type[Test], wanted: str) -> ColumnElement[bool]:
    return or_(
        func.lower(table.code).startswith(wanted, autoescape=True),
        func.lower(table.short_name).startswith(wanted, autoescape=True),
        table.pinyin.startswith(wanted, autoescape=True),
        func.lower(table.name).contains(wanted, autoescape=True),
        func.lower(table.name_en).contains(wanted, autoescape=True),
    )


def _rank(choice: Choice, wanted: str) -> int:
    words = [each.lower() for each in (choice.code, choice.short_name, choice.pinyin, choice.name, choice.name_en)]
    if wanted in words[:2]:
        return 0
    if wanted in words:
        return 1
    return 2 if any(each.startswith(wanted) for each in words) else 3


def ranges(session: Session, test_id: uuid.UUID) -> list[ReferenceRange]:
    """Every version of every band, the newest version first."""
    found = select(ReferenceRange).where(ReferenceRange.test_id == test_id)
    return list(
        session.scalars(found.order_by(ReferenceRange.sex, ReferenceRange.age_min_days, ReferenceRange.version.desc()))
    )


def critical_limits(session: Session, test_id: uuid.UUID) -> list[CriticalLimit]:
    found = select(CriticalLimit).where(CriticalLimit.test_id == test_id)
    return list(
        session.scalars(found.order_by(CriticalLimit.sex, CriticalLimit.age_min_days, CriticalLimit.version.desc()))
    )


def goals(session: Session, test_id: uuid.UUID) -> list[QualityGoal]:
    """Every version, the newest first."""
    found = select(QualityGoal).where(QualityGoal.test_id == test_id)
    return list(session.scalars(found.order_by(QualityGoal.version.desc())))


def range_for(
    session: Session, test_id: uuid.UUID, *, sex: str, age_days: int | None, on: date, specimen_type: str | None = None
) -> ReferenceRange | None:
    """The reference range for such a person on that day, or None: nothing is guessed.

    `specimen_type`: only bands of that specimen or of every one. An approved band wins over a newer draft.
    """
    bands = [
        each for each in ranges(session, test_id) if not specimen_type or each.specimen_type in ("", specimen_type)
    ]
    return rules.applicable(bands, sex=sex, age=age_days, on=on)


def critical_for(session: Session, test_id: uuid.UUID, facts: Facts, *, on: date) -> CriticalLimit | None:
    """The critical limit for such a person, specimen, department and diagnosis on that day, or None."""
    return choose_limit(critical_limits(session, test_id), facts, on)


def history(session: Session, test_id: uuid.UUID) -> list[CatalogChange]:
    """Every change of a test and of its ranges, limits and channels, the newest first."""
    found = select(CatalogChange).where(CatalogChange.test_id == test_id)
    return list(session.scalars(found.order_by(CatalogChange.made_at.desc(), CatalogChange.id.desc())))


def approve(session: Session, kind: str, band_id: uuid.UUID, *, by: str) -> ReferenceRange | CriticalLimit:
    """Approve one draft range (`kind` "range") or critical limit ("critical"); its older versions end.

    Conflict when it is no draft any more. Who may do so is checked by the caller (catalog.approve).
    """
    approved: ReferenceRange | CriticalLimit = approving.approve(session, BANDS[kind], band_id, by=by)
    return approved
