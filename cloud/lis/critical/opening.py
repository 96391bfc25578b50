"""Storing a new case: the same for values of a release and for values that came after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.events import publish
from cloud.kit.live import announce
from cloud.lis.catalog.model import Test
from cloud.lis.critical.events import CriticalOpened
from cloud.lis.critical.model import CriticalCase, CriticalState
from cloud.lis.orders.model import Order
from cloud.lis.results.model import Result
from cloud.lis.specimens.model import Specimen


def add_case(session: Session, specimen: Specimen, critical: Sequence[Result], opened: CriticalCase) -> CriticalCase:
    """Store `opened` with what it is about: whose values, which, and since when; tell the desks and whoever listens."""
    tests = {test.id: test for test in session.scalars(select(Test).where(Test.id.in_({r.test_id for r in critical})))}
    order = session.get_one(Order, specimen.order_id)
    opened.specimen_id, opened.order_id, opened.person_id = specimen.id, order.id, specimen.person_id
    opened.department_id = order.department_id
    opened.values = [_snapshot(tests[each.test_id], each) for each in critical]
    opened.detected_at = min(each.received_at for each in critical)
    session.add(opened)
    session.flush()
    if opened.state == CriticalState.KNOWN:  # nobody is told: the ward has it from the earlier case
        return opened
    publish(
        session,
        CriticalOpened(
            aggregate_id=opened.id,
            specimen_id=specimen.id,
            order_id=order.id,
            person_id=specimen.person_id,
            department_id=order.department_id,
        ),
    )
    announce(session, "critical", {"case": str(opened.id)})
    return opened


def _snapshot(test: Test, result: Result) -> dict[str, Any]:
    reasons: list[dict[str, Any]] = result.decision.get("reasons", [])
    limit: dict[str, Any] = next((each["fields"] for each in reasons if each["code"] == "critical"), {})
    return {
        "code": test.code,
        "name": test.name,
        "value": result.value_text,
        "unit": result.unit or "",
        "flag": result.flag,
        "side": limit.get("side"),
        "limit": limit.get("limit"),
    }
