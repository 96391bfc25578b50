"""Which critical values are not called again: those whose limits say so, of a person the ward was called about."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.lis.catalog.model import CriticalLimit, Test
from cloud.lis.critical.model import CriticalCase, CriticalState
from cloud.lis.orders.model import Order
from cloud.lis.results.model import Result
from cloud.lis.specimens.model import Specimen
from cloud.people.identity import lineage

EPISODE = timedelta(days=30)
"""Where the orders name no visit: "first in an episode" means first in so many days. A default of ours."""


def quiet(limit: CriticalLimit | None, *, last_told: datetime | None, same_visit: bool, now: datetime) -> bool:
    """Whether a critical value need not be called. Pure.

    `last_told`: when an earlier value of this person and test on the same side of the limits was read back;
    `same_visit`: of the same visit, or of the last 30 days where no visit is named.
    """
    if limit is None or last_told is None:
        return False
    if limit.repeat_after_hours is not None:
        return now - last_told < timedelta(hours=limit.repeat_after_hours)
    return limit.first_only and same_visit


def known_from(session: Session, specimen: Specimen, critical: Sequence[Result]) -> CriticalCase | None:
    """The earlier case from which the ward knows every one of these values; None when one of them must be called."""
    limits = _limits(session, critical)
    if not all(each.test_id in limits and _may_be_quiet(limits[each.test_id]) for each in critical):
        return None
    earlier = _told_cases(session, specimen)
    visit = session.get_one(Order, specimen.order_id).visit_number
    codes = {
        each.id: each.code for each in session.scalars(select(Test).where(Test.id.in_([r.test_id for r in critical])))
    }
    found: CriticalCase | None = None
    for result in critical:
        case = _same(earlier, codes[result.test_id], result.flag)
        if case is None or not quiet(
            limits[result.test_id],
            last_told=case[0].read_back_at,
            same_visit=_same_visit(visit, case[1], case[0]),
            now=clock.now(),
        ):
            return None
        found = found or case[0]
    return found


def _may_be_quiet(limit: CriticalLimit) -> bool:
    return limit.first_only or limit.repeat_after_hours is not None


def _limits(session: Session, critical: Sequence[Result]) -> dict[uuid.UUID, CriticalLimit]:
    """The limits that the verdicts used, by test."""
    used: dict[uuid.UUID, uuid.UUID] = {}
    for each in critical:
        version = each.decision.get("versions", {}).get("critical")
        if version:
            used[each.test_id] = uuid.UUID(version["id"])
    rows = {each.id: each for each in session.scalars(select(CriticalLimit).where(CriticalLimit.id.in_(used.values())))}
    return {test_id: rows[limit_id] for test_id, limit_id in used.items() if limit_id in rows}


def _told_cases(session: Session, specimen: Specimen) -> list[tuple[CriticalCase, str | None]]:
    """What the ward read back of this person lately, newest first, with the visit it was ordered in."""
    rows = session.execute(
        select(CriticalCase, Order.visit_number)
        .join(Order, Order.id == CriticalCase.order_id)
        .where(
            CriticalCase.person_id.in_(lineage(session, specimen.person_id).person_ids),
            CriticalCase.state == CriticalState.READ_BACK,
            CriticalCase.detected_at > clock.now() - timedelta(days=365),
        )
        .order_by(CriticalCase.read_back_at.desc())
        .limit(100)
    )
    return [(case, visit) for case, visit in rows]


def _same(
    earlier: Sequence[tuple[CriticalCase, str | None]], code: str, flag: str
) -> tuple[CriticalCase, str | None] | None:
    """The newest earlier case with this test on the same side."""
    for case, visit in earlier:
        if any(value["code"] == code and value["flag"] == flag for value in case.values):
            return case, visit
    return None


def _same_visit(visit: str | None, before: str | None, case: CriticalCase) -> bool:
    if visit and before:
        return visit == before
    return case.read_back_at is not None and clock.now() - case.read_back_at <= EPISODE
