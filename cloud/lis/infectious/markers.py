"""Which values open cases: set by who may decide, approved by another who may."""

from __future__ import annotations

import uuid
from decimal import Decimal, InvalidOperation

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog.model import ApprovalState, Test
from cloud.lis.infectious.model import Condition, Disease, Marker
from cloud.lis.infectious.service import DECIDE, authorise
from cloud.lis.results.signatory import Signatory, actor
from cloud.web.i18n import mark as N_

APPROVE = "catalog.approve"


def set_marker(
    session: Session,
    *,
    test_code: str,
    disease: str,
    condition: str,
    threshold: str = "",
    screening: bool = False,
    hint: str = "",
    source: str,
    active: bool = True,
    by: Signatory,
) -> Marker:
    """A new row for this test and disease, a draft until somebody else approves it.

    Raises Forbidden, NotFound (test, disease), Invalid (condition, threshold, source).
    """
    authorise(by, DECIDE)
    test = catalog.test_by_code(session, test_code.strip())
    if test is None:
        raise NotFound("infectious.test", N_("没有这个项目。"))
    if session.scalars(select(Disease.id).where(Disease.code == disease)).first() is None:
        raise NotFound("infectious.disease", N_("没有这个病种。"))
    if condition not in {str(each) for each in Condition}:
        raise Invalid("infectious.condition", N_("请选择判定条件。"))
    if not source.strip():
        raise Invalid("infectious.source", N_("请写明依据。"))
    row = Marker(
        test_id=test.id,
        disease=disease,
        condition=condition,
        threshold=_threshold(condition, threshold),
        screening=screening,
        hint=hint.strip(),
        source=source.strip(),
        state=ApprovalState.DRAFT,
        active=active,
        set_by=actor(by),
    )
    session.add(row)
    session.flush()
    record(
        session,
        actor=actor(by),
        action="infectious.marker",
        aggregate=("infectious_marker", row.id),
        after={"test": test.code, "disease": disease, "condition": condition, "active": active},
        reason=row.source,
    )
    return row


def _threshold(condition: str, text: str) -> Decimal | None:
    if condition not in (Condition.ABOVE, Condition.TITRE):
        return None
    try:
        found = Decimal(text.strip())
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or found <= 0:
        raise Invalid("infectious.threshold", N_("这个判定条件需要一个大于 0 的界值。"))
    return found


def approve(session: Session, marker_id: uuid.UUID, *, by: Signatory) -> Marker:
    """Raises Forbidden (no right, or one's own row), NotFound, Conflict (approved already)."""
    if APPROVE not in by.permissions:
        raise Forbidden("infectious.approve", N_("您没有批准的权限。"))
    row = session.get(Marker, marker_id, with_for_update=True)
    if row is None:
        raise NotFound("infectious.marker", N_("没有这条判定规则。"))
    if row.set_by == actor(by):
        raise Forbidden("infectious.own", N_("不能批准自己设置的规则，请由另一位批准。"))
    if row.state == ApprovalState.APPROVED:
        raise Conflict("infectious.approved", N_("这条规则已经批准。"))
    row.state = ApprovalState.APPROVED
    session.flush()
    record(session, actor=actor(by), action="infectious.marker_approved", aggregate=("infectious_marker", row.id))
    return row


def listed(session: Session) -> list[tuple[Marker, Test]]:
    """The newest row of each test and disease."""
    newest = (
        select(Marker.id)
        .ext(distinct_on(Marker.test_id, Marker.disease))
        .order_by(Marker.test_id, Marker.disease, Marker.created_at.desc(), Marker.id.desc())
    )
    rows = session.execute(
        select(Marker, Test)
        .join(Test, Test.id == Marker.test_id)
        .where(Marker.id.in_(newest))
        .order_by(Marker.disease, Test.code)
    )
    return [(marker, test) for marker, test in rows]
