"""The configuration check (配置检查): what in the catalogue would make a result wrong or unjudged."""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.lis.catalog import rules
from cloud.lis.catalog.model import ApprovalState, CriticalLimit, Panel, PanelTest, ReferenceRange, Test, ValueType
from cloud.lis.catalog.rules import Problem


def problems(session: Session, *, on: date) -> list[Problem]:
    """Every finding, by test. `code` is one of: unit_missing, decimals_missing, age_gap, age_overlap, bounds_reversed,
    critical_inside_normal, panel_empty."""
    tests = list(session.scalars(select(Test).where(Test.state != ApprovalState.RETIRED).order_by(Test.position)))
    bands: dict[uuid.UUID, list[ReferenceRange]] = defaultdict(list)
    for each in session.scalars(select(ReferenceRange)):
        bands[each.test_id].append(each)
    limits: dict[uuid.UUID, list[CriticalLimit]] = defaultdict(list)
    for limit in session.scalars(select(CriticalLimit)):
        limits[limit.test_id].append(limit)
    found: list[Problem] = []
    for test in tests:
        found += _of_test(test, bands[test.id], limits[test.id], on)
    filled = select(PanelTest.panel_id)
    empty = session.scalars(select(Panel).where(Panel.id.not_in(filled)))
    return found + [Problem(each.code, "panel_empty") for each in empty]


def _of_test(test: Test, bands: list[ReferenceRange], limits: list[CriticalLimit], on: date) -> list[Problem]:
    found: list[Problem] = []
    if not test.unit and not test.unitless:
        found.append(Problem(test.code, "unit_missing"))
    if test.value_type == ValueType.NUMERIC and test.decimals is None:
        found.append(Problem(test.code, "decimals_missing"))
    found += rules.band_problems(test.code, bands, on)
    found += rules.band_problems(test.code, limits, on)
    both: list[ReferenceRange | CriticalLimit] = [*bands, *limits]
    for each in both:
        wrong = rules.bounds_problem(test.code, each.low, each.high)
        if wrong is not None and rules.is_valid(each, on):
            found.append(wrong)
    for limit in limits:
        for band in bands:
            if (
                rules.is_valid(limit, on)
                and rules.is_valid(band, on)
                and rules.covers(band, limit.sex or band.sex, limit.age_min_days)
                and rules.inside_normal(band.low, band.high, limit.low, limit.high)
            ):
                found.append(Problem(test.code, "critical_inside_normal", f"{limit.low} / {limit.high}"))
    return list(dict.fromkeys(found))
