"""Whether the HIS has booked what the ledger says: its books of a day asked for, and held against ours line by line.

A number that the HIS acknowledged and has not booked can be told again: it books a number once. Nothing here moves
money or changes the ledger.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.his import differences, outbox
from cloud.his.differences import AMOUNT, MISSING, OTHER_DAY, STRANGE
from cloud.his.model import HisMoneyDay, HisOutbox, OutgoingState
from cloud.his.port import MoneyLine, Refused, Unknown, port
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.db import among
from cloud.kit.ids import new_id
from cloud.kit.jobs import Begin
from cloud.kit.live import announce
from cloud.payments.model import LedgerEntry, Payment, Refund

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ours:
    """One line of the ledger, and how its report stands (None: not told yet)."""

    number: str
    fen: int
    at: datetime
    state: str | None


@dataclass(frozen=True, slots=True)
class DayRow:
    """A day on the page: the ledger's sums, what the HIS acknowledged of them, and what it has booked."""

    day: date
    count: int
    paid_fen: int
    refunded_fen: int
    acknowledged: int
    waiting: int
    refused: int
    books: HisMoneyDay | None


def compare(ours: list[Ours], theirs: tuple[MoneyLine, ...]) -> list[dict[str, Any]]:
    """What is not alike, by number. Pure."""
    here = {each.number: each for each in ours}
    there: dict[str, int] = {}
    for line in theirs:
        there[line.number] = there.get(line.number, 0) + line.fen  # booked twice is another amount
    found = [
        {"what": MISSING, "number": each.number, "his_fen": None, "our_fen": each.fen, "state": each.state}
        for each in ours
        if each.number not in there
    ]
    for number, fen in there.items():
        mine = here.get(number)
        if mine is None or mine.fen != fen:
            what = STRANGE if mine is None else AMOUNT
            our_fen = None if mine is None else mine.fen
            state = None if mine is None else mine.state
            found.append({"what": what, "number": number, "his_fen": fen, "our_fen": our_fen, "state": state})
    return sorted(found, key=lambda each: (str(each["what"]), str(each["number"])))


def read_day(begin: Begin, day: date) -> HisMoneyDay | None:
    """Ask the HIS for its books of `day` and keep what they say; None where it did not tell."""
    try:
        theirs = port().money_of(day)
    except (Refused, Unknown) as error:
        log.warning("his_books_not_read", day=str(day), code=error.code)
        return None
    with begin() as session:
        ours = ledger_of(session, day)
        found = compare(ours, theirs)
        for each in found:
            if each["what"] == STRANGE and _known_elsewhere(session, str(each["number"])):
                each["what"] = OTHER_DAY
        values = {
            "read_at": clock.now(),
            "his_count": len(theirs),
            "his_paid_fen": sum(each.fen for each in theirs if each.fen > 0),
            "his_refunded_fen": -sum(each.fen for each in theirs if each.fen < 0),
            "our_count": len(ours),
            "our_paid_fen": sum(each.fen for each in ours if each.fen > 0),
            "our_refunded_fen": -sum(each.fen for each in ours if each.fen < 0),
            "differences": found,
        }
        differences.keep(session, day, found, over=day < clock.today())
        statement = insert(HisMoneyDay).values(id=new_id(), day=day, **values)
        row = session.scalars(
            statement.on_conflict_do_update(index_elements=["day"], set_=values).returning(HisMoneyDay),
            execution_options={"populate_existing": True},
        ).one()
        announce(session, "his")
    if found:
        log.error("his_books_differ", day=str(day), differences=len(found))
    return row


def ledger_of(session: Session, day: date) -> list[Ours]:
    """Our lines of a civil day of the hospital, by the channel's clock, and how their reports stand."""
    found = session.execute(
        select(Payment.number, Refund.number, LedgerEntry.fen, LedgerEntry.at, HisOutbox.state)
        .select_from(LedgerEntry)
        .join(Payment, Payment.id == LedgerEntry.payment_id)
        .outerjoin(Refund, Refund.id == LedgerEntry.refund_id)
        .outerjoin(HisOutbox, HisOutbox.ledger_id == LedgerEntry.id)
        .where(LedgerEntry.at >= clock.day_begins(day), LedgerEntry.at < clock.day_begins(day + timedelta(days=1)))
        .order_by(LedgerEntry.at)
    )
    return [Ours(refund or payment, fen, at, state) for payment, refund, fen, at, state in found]


def days(session: Session, *, until: date, count: int = 14) -> list[DayRow]:
    """The last days with the sums of the ledger and what the HIS said, newest first; days without money are left out
    unless the HIS has some."""
    first = until - timedelta(days=count - 1)
    local = func.date(func.timezone(str(clock.hospital_zone()), LedgerEntry.at))
    told = HisOutbox.state
    rows = {
        each.day: each
        for each in session.execute(
            select(
                local.label("day"),
                func.count().label("lines"),
                func.coalesce(func.sum(LedgerEntry.fen).filter(LedgerEntry.fen > 0), 0).label("paid"),
                func.coalesce(-func.sum(LedgerEntry.fen).filter(LedgerEntry.fen < 0), 0).label("refunded"),
                func.count().filter(told == OutgoingState.ACCEPTED).label("acknowledged"),
                func.count().filter(told.in_(outbox.WAITING_FOR_A_PERSON)).label("refused"),
            )
            .select_from(LedgerEntry)
            .outerjoin(HisOutbox, HisOutbox.ledger_id == LedgerEntry.id)
            .where(LedgerEntry.at >= clock.day_begins(first), LedgerEntry.at < clock.day_begins(until + timedelta(1)))
            .group_by(local)
        )
    }
    books = {
        each.day: each
        for each in session.scalars(select(HisMoneyDay).where(HisMoneyDay.day >= first, HisMoneyDay.day <= until))
    }
    found = []
    for day in sorted({*rows, *books}, reverse=True):
        row = rows.get(day)
        count, acknowledged, refused = (row.lines, row.acknowledged, row.refused) if row is not None else (0, 0, 0)
        paid, refunded = (int(row.paid), int(row.refunded)) if row is not None else (0, 0)
        waiting = count - acknowledged - refused
        found.append(DayRow(day, count, paid, refunded, acknowledged, waiting, refused, books.get(day)))
    return found


def tell_again(session: Session, day: date, *, by: str) -> int:
    """Everything of the day that the HIS refused, or acknowledged and has not booked, goes out again under its own
    number. Gives how many."""
    books = session.scalar(select(HisMoneyDay).where(HisMoneyDay.day == day))
    missing = {str(each["number"]) for each in (books.differences if books else []) if each["what"] == MISSING}
    candidates = session.execute(
        select(HisOutbox.id, HisOutbox.state, Payment.number, Refund.number)
        .join(LedgerEntry, LedgerEntry.id == HisOutbox.ledger_id)
        .join(Payment, Payment.id == LedgerEntry.payment_id)
        .outerjoin(Refund, Refund.id == LedgerEntry.refund_id)
        .where(
            HisOutbox.booked_at >= clock.day_begins(day),
            HisOutbox.booked_at < clock.day_begins(day + timedelta(days=1)),
            HisOutbox.state.in_((*outbox.WAITING_FOR_A_PERSON, OutgoingState.ACCEPTED)),
        )
    )
    wanted = [
        row_id
        for row_id, state, payment, refund in candidates
        if state != OutgoingState.ACCEPTED or (refund or payment) in missing
    ]
    rows = session.scalars(
        select(HisOutbox).where(among(HisOutbox.id, wanted)).order_by(HisOutbox.number).with_for_update()
    ).all()
    for row in rows:
        outbox.resend(session, row, by=by)
    if rows and books is not None:
        record(
            session,
            actor=by,
            action="his.tell_again",
            aggregate=("his_money_day", books.id),
            after={"lines": len(rows)},
        )
    return len(rows)


def read_lately(begin: Begin) -> None:
    """Today's and yesterday's books, and those of the last week that were not alike when they were read."""
    if not port().connected:
        return
    today = clock.today()
    with begin() as session:
        unlike = session.scalars(
            select(HisMoneyDay.day).where(
                HisMoneyDay.day >= today - timedelta(days=7), func.jsonb_array_length(HisMoneyDay.differences) > 0
            )
        ).all()
    for day in sorted({today - timedelta(days=1), today, *unlike}):
        if read_day(begin, day) is None:
            return


def _known_elsewhere(session: Session, number: str) -> bool:
    """Whether the ledger has this number, on whatever day."""
    payment = select(LedgerEntry.id).join(Payment, Payment.id == LedgerEntry.payment_id)
    refund = select(LedgerEntry.id).join(Refund, Refund.id == LedgerEntry.refund_id)
    mine = payment.where(Payment.number == number, LedgerEntry.refund_id.is_(None)).union_all(
        refund.where(Refund.number == number)
    )
    return session.scalar(mine.limit(1)) is not None


def payments_of(session: Session, numbers: Sequence[str]) -> dict[str, uuid.UUID]:
    """The payment behind each number, of a payment or of a refund; those that are not ours are left out."""
    refunds = select(Refund.number, Refund.payment_id).where(Refund.number.in_(numbers))
    mine = select(Payment.number, Payment.id).where(Payment.number.in_(numbers)).union_all(refunds)
    return {row.number: row.id for row in session.execute(mine)}
