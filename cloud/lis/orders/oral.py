"""Oral requests (口头医嘱): taken down and read back, then confirmed in writing by who asked, or refused by them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.live import announce
from cloud.lis.orders.model import OralRequest, OralState
from cloud.web.i18n import mark as N_

confirm_within: list[Callable[[Session], timedelta | None]] = []
"""Who knows how long a confirmation may take (the director's setting, kept by a slice above)."""


def due_at(session: Session) -> datetime | None:
    """By when a request taken now is to be confirmed; None: nobody set a limit."""
    allowed = confirm_within[-1](session) if confirm_within else None
    return None if allowed is None else clock.now() + allowed


def check(asked_by: str, read_back: bool) -> None:
    """Raises `Invalid` without a name, or when it was not read back."""
    if not asked_by.strip():
        raise Invalid("asked_by_missing", N_("请填写口头申请的医生。"))
    if not read_back:
        raise Invalid("not_read_back", N_("口头医嘱须复述核对后登记。"))


def take(
    session: Session,
    order_id: uuid.UUID,
    tests: Sequence[str],
    *,
    by: str,
    asked_by: str,
    read_back: bool,
) -> OralRequest:
    """Write down what was asked for and by whom, besides ordering it. Refused as `check` says."""
    check(asked_by, read_back)
    request = OralRequest(
        order_id=order_id,
        tests=list(tests),
        asked_by=asked_by.strip(),
        read_back=read_back,
        taken_by=by,
        due_at=due_at(session),
    )
    session.add(request)
    session.flush()
    announce(session, "orders", {"order": str(order_id)})
    _record(session, request, "order.oral", by)
    return request


def close(session: Session, request_id: uuid.UUID, *, by: str, confirmed: bool, evidence: str) -> OralRequest:
    """Confirmed in writing (`evidence`: order number or signature), or refused by who is said to have asked."""
    if not evidence.strip():
        raise Invalid("evidence_missing", N_("请填写补签依据（医嘱号或签名人）。"))
    closed = session.scalar(
        update(OralRequest)
        .where(OralRequest.id == request_id, OralRequest.state == OralState.OPEN)
        .values(
            state=OralState.CONFIRMED if confirmed else OralState.REFUSED,
            closed_at=clock.now(),
            closed_by=by,
            evidence=evidence.strip(),
        )
        .returning(OralRequest)
        .execution_options(populate_existing=True)
    )
    if closed is None:
        if session.get(OralRequest, request_id) is None:
            raise NotFound("oral_unknown", N_("没有这条口头医嘱。"))
        raise Conflict("oral_closed", N_("该口头医嘱已处理，请刷新页面。"))
    announce(session, "orders", {"order": str(closed.order_id)})
    _record(session, closed, f"order.oral_{closed.state}", by)
    return closed


def of_order(session: Session, order_id: uuid.UUID) -> list[OralRequest]:
    """An order's oral requests, oldest first."""
    return list(session.scalars(select(OralRequest).where(OralRequest.order_id == order_id).order_by(OralRequest.id)))


def waiting_count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(OralRequest).where(OralRequest.state == OralState.OPEN)) or 0


def _record(session: Session, request: OralRequest, action: str, by: str) -> None:
    audit.record(
        session,
        actor=by,
        action=action,
        aggregate=("order", str(request.order_id)),
        after={"oral": str(request.id), "tests": request.tests, "evidence": request.evidence},
    )
