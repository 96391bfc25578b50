"""What the HIS's books and the ledger do not have alike, as tickets: each closed by a person with a reason, or by a
later reading that finds it alike. Nothing is booked by closing one.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.his.model import HisMoneyDifference, OutgoingState
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.ids import new_id
from cloud.web.i18n import mark as N_

MISSING, AMOUNT, STRANGE, OTHER_DAY = "missing", "amount", "strange", "other_day"
"""Ours alone; another amount; the HIS's alone; the HIS booked it under another day."""
BY = "system"
ALIKE = "alike"
"""Why a ticket ended by itself."""


def keep(session: Session, day: date, found: Sequence[dict[str, Any]], *, over: bool) -> None:
    """One reading of a day's books. `over`: the day is behind us, so that what is missing is not merely on its way."""
    seen = [each for each in found if _wants_a_person(each, over)]
    alike = update(HisMoneyDifference).where(HisMoneyDifference.day == day, HisMoneyDifference.closed_at.is_(None))
    keys = [(each["what"], each["number"]) for each in seen]
    if keys:
        alike = alike.where(tuple_(HisMoneyDifference.kind, HisMoneyDifference.number).not_in(keys))
    session.execute(alike.values(closed_at=clock.now(), closed_by=BY, closed_why=ALIKE))
    for each in seen:
        fen = {"his_fen": each["his_fen"], "our_fen": each["our_fen"]}
        statement = insert(HisMoneyDifference).values(
            id=new_id(), created_at=clock.now(), day=day, kind=each["what"], number=each["number"], **fen
        )
        session.execute(
            statement.on_conflict_do_update(
                constraint="uq_his_money_difference",
                set_={**fen, "day": day, "closed_at": None, "closed_by": None, "closed_why": None},
                where=or_(HisMoneyDifference.closed_at.is_(None), HisMoneyDifference.closed_by == BY),
            )
        )


def _wants_a_person(each: dict[str, Any], over: bool) -> bool:
    if each["what"] == OTHER_DAY:
        return False  # the line that is missing on our own day tells of it
    return each["what"] != MISSING or over or each["state"] not in (None, OutgoingState.WAITING)


def close(session: Session, difference_id: uuid.UUID, *, by: str, why: str) -> None:
    """A person has found out what it was. Raises `Invalid` (no reason), `Conflict` (closed already)."""
    if not why.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    closed = session.scalar(
        update(HisMoneyDifference)
        .where(HisMoneyDifference.id == difference_id, HisMoneyDifference.closed_at.is_(None))
        .values(closed_at=clock.now(), closed_by=by, closed_why=why.strip())
        .returning(HisMoneyDifference.number)
    )
    if closed is None:
        raise Conflict("his.difference_closed", N_("已由他人处理，请刷新页面。"))
    record(
        session,
        actor=by,
        action="his.difference",
        aggregate=("his_money_difference", difference_id),
        after={"number": closed},
        reason=why.strip(),
    )


def of_day(session: Session, day: date) -> list[HisMoneyDifference]:
    """Open ones first."""
    return list(
        session.scalars(
            select(HisMoneyDifference)
            .where(HisMoneyDifference.day == day)
            .order_by(HisMoneyDifference.closed_at.is_not(None), HisMoneyDifference.kind, HisMoneyDifference.number)
        )
    )


def open_of_days(session: Session, days: Sequence[date]) -> dict[date, int]:
    """How many wait for a person, by day."""
    found = (
        select(HisMoneyDifference.day, func.count().label("waiting"))
        .where(HisMoneyDifference.day.in_(days), HisMoneyDifference.closed_at.is_(None))
        .group_by(HisMoneyDifference.day)
    )
    return {row.day: row.waiting for row in session.execute(found)}


def open_count(session: Session) -> int:
    waiting = select(func.count()).select_from(HisMoneyDifference).where(HisMoneyDifference.closed_at.is_(None))
    return session.scalar(waiting) or 0
