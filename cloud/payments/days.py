"""Closing the days of the channels' bills: a person signs that a day was read and nothing of it is open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.jobs import Begin
from cloud.payments import reconciling
from cloud.payments.model import BillDay, BillDifference, LedgerEntry
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Day:
    """One day of one channel; `bill` is None as long as nothing was read."""

    channel: str
    day: date
    bill: BillDay | None
    differences: int
    open: int

    @property
    def state(self) -> str:
        if self.bill is None:
            return "unread"
        if self.bill.closed_at is not None:
            return "closed"
        return "open" if self.open else "ready"


def listed(session: Session, names: list[str], *, first: date, last: date) -> list[Day]:
    """Every day of each channel on which there was a bill or something in our ledger, the newest first."""
    bills = {
        (each.channel, each.day): each
        for each in session.scalars(select(BillDay).where(BillDay.day >= first, BillDay.day <= last))
    }
    told = {
        (channel, day): (int(all_of), int(left))
        for channel, day, all_of, left in session.execute(
            select(
                BillDifference.channel,
                BillDifference.day,
                func.count(),
                func.count().filter(BillDifference.closed_at.is_(None)),
            )
            .where(BillDifference.day >= first, BillDifference.day <= last)
            .group_by(BillDifference.channel, BillDifference.day)
        )
    }
    moved = _days_with_money(session, names, first, last)
    keys = set(bills) | set(told) | moved
    found = [Day(channel, day, bills.get((channel, day)), *told.get((channel, day), (0, 0))) for channel, day in keys]
    return sorted(found, key=lambda each: (-each.day.toordinal(), each.channel))


def _days_with_money(session: Session, names: list[str], first: date, last: date) -> set[tuple[str, date]]:
    found: set[tuple[str, date]] = set()
    for back in range((last - first).days + 1):
        day = first + timedelta(days=back)
        begins, ends = clock.day_begins(day), clock.day_begins(day + timedelta(days=1))
        for name in names:
            some = exists().where(LedgerEntry.channel == name, LedgerEntry.at >= begins, LedgerEntry.at < ends)
            if session.scalar(select(some)):
                found.add((name, day))
    return found


def close(session: Session, channel: str, day: date, *, by: str) -> None:
    """Nothing of this day is open. Raises `Conflict` (not read, closed already, a difference is open)."""
    open_one = exists().where(
        BillDifference.channel == channel, BillDifference.day == day, BillDifference.closed_at.is_(None)
    )
    done = session.scalar(
        update(BillDay)
        .where(BillDay.channel == channel, BillDay.day == day, BillDay.closed_at.is_(None), ~open_one)
        .values(closed_at=clock.now(), closed_by=by)
        .returning(BillDay.id)
    )
    if done is None:
        raise Conflict("bill_day.not_closable", N_("账单未读取、仍有未处理的差异或已关账，不能关账。"))
    record(session, actor=by, action="bill_day.close", aggregate=("bill_day", done))


def reopen(session: Session, channel: str, day: date, *, by: str, why: str) -> None:
    """Raises `Invalid` (no reason), `Conflict` (not closed)."""
    if not why.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    done = session.scalar(
        update(BillDay)
        .where(BillDay.channel == channel, BillDay.day == day, BillDay.closed_at.is_not(None))
        .values(closed_at=None, closed_by=None)
        .returning(BillDay.id)
    )
    if done is None:
        raise Conflict("bill_day.not_closed", N_("这一天尚未关账，请刷新页面。"))
    record(session, actor=by, action="bill_day.reopen", aggregate=("bill_day", done), reason=why.strip())


def read(begin: Begin, channel: str, day: date) -> reconciling.Outcome | None:
    """Fetch the day's bill (again). Raises `Conflict` (closed), and what `reconciling.reconcile` raises."""
    with begin() as session:
        closed = select(BillDay.id).where(
            BillDay.channel == channel, BillDay.day == day, BillDay.closed_at.is_not(None)
        )
        if session.scalar(closed) is not None:
            raise Conflict("bill_day.closed", N_("这一天已关账；需要重新读取时请先撤销关账。"))
    return reconciling.reconcile(begin, channel, day)
