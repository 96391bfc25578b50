"""Which tests need to be told of cycle or pregnancy before a value can be judged: the order page asks for these."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.lis.catalog.model import ApprovalState, ReferenceRange, Test
from cloud.lis.catalog.rules import covers, is_valid


def phase_dependent(
    session: Session, test_ids: Collection[uuid.UUID], *, sex: str, age_days: int | None, on: date
) -> list[Test]:
    """Those of the tests with a range of a phase or of weeks of pregnancy that may be hers; none for a man."""
    if sex == "M" or not test_ids:
        return []
    bands = session.scalars(
        select(ReferenceRange).where(
            ReferenceRange.test_id.in_(tuple(test_ids)),
            ReferenceRange.state != ApprovalState.RETIRED,
            (ReferenceRange.phase != "")
            | ReferenceRange.gestation_min_weeks.is_not(None)
            | ReferenceRange.gestation_max_weeks.is_not(None),
        )
    )
    asking = {each.test_id for each in bands if is_valid(each, on) and covers(each, sex or "F", age_days)}
    return list(session.scalars(select(Test).where(Test.id.in_(asking)).order_by(Test.position))) if asking else []
