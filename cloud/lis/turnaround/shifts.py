"""The hours that working time counts; the director sets them, dated."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, time

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Forbidden, Invalid
from cloud.lis.results.signatory import Signatory, actor
from cloud.lis.turnaround.hours import DEFAULT, Hours
from cloud.lis.turnaround.model import WorkingHours
from cloud.lis.turnaround.targets import SET
from cloud.web.i18n import mark as N_


def hours(session: Session) -> Hours:
    """As last set; the default where nobody did."""
    row = session.scalars(
        select(WorkingHours).order_by(WorkingHours.set_at.desc(), WorkingHours.id.desc()).limit(1)
    ).first()
    if row is None:
        return DEFAULT
    closed = frozenset(date.fromisoformat(each) for each in row.closed)
    return Hours(row.opens, row.closes, frozenset(row.days), closed)


def set_hours(
    session: Session, *, opens: time, closes: time, days: Collection[int], closed: str, reason: str, by: Signatory
) -> None:
    """`closed`: holidays as ISO days, anything between them. Raises Forbidden, Invalid."""
    if SET not in by.permissions:
        raise Forbidden("turnaround.hours", N_("只有科室主任可以设置工作时间。"))
    if opens >= closes:
        raise Invalid("turnaround.hours_order", N_("上班时间应早于下班时间。"))
    if not days or not set(days) <= set(range(7)):
        raise Invalid("turnaround.hours_days", N_("请选择至少一个工作日。"))
    if not reason.strip():
        raise Invalid("turnaround.hours_reason", N_("请填写更改的原因。"))
    row = WorkingHours(
        opens=opens,
        closes=closes,
        days=sorted(set(days)),
        closed=[each.isoformat() for each in _days_of(closed)],
        set_at=clock.now(),
        set_by=actor(by),
        reason=reason.strip(),
    )
    session.add(row)
    session.flush()
    record(
        session,
        actor=actor(by),
        action="turnaround.hours",
        aggregate=("turnaround_hours", row.id),
        after={"opens": f"{opens:%H:%M}", "closes": f"{closes:%H:%M}", "days": row.days, "closed": row.closed},
        reason=row.reason,
    )


def _days_of(text: str) -> list[date]:
    found = []
    for each in text.replace(",", " ").replace("，", " ").replace("、", " ").split():
        try:
            found.append(date.fromisoformat(each))
        except ValueError:
            raise Invalid("turnaround.hours_closed", N_("“{day}”不是日期，请写成 2026-10-01。"), day=each) from None
    return sorted(set(found))
