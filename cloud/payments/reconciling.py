"""Day by day against the channel's bill: what both know alike is ticked off, every difference is a ticket for a person.

The bill is evidence too: money that the channel lists and we did not settle is asked for at the channel and settled by
the same routine; what remains different is stored as a `BillDifference` and closed with a reason. Run again, a day
gives the same tickets and no new ones. A day is done when its bill was read and no difference of it is open.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.ids import new_id
from cloud.kit.jobs import Begin
from cloud.payments import arrivals, channels, service
from cloud.payments.contract import (
    BillFile,
    BillLine,
    Channel,
    LineKind,
    RefundStand,
    RefundStanding,
    Refused,
    Standing,
    Unknown,
)
from cloud.payments.model import BillDay, BillDifference, LedgerEntry, Payment, Refund
from cloud.web.i18n import mark as N_

log = structlog.get_logger()

READY_AT_HOUR = 10
"""WeChat's bill of a day is ready from nine to ten of the next morning."""
MIDNIGHT = timedelta(minutes=30)
"""What one side books before midnight the other may book behind it: waited for one more day."""


class Kind(StrEnum):
    """Classes of differences."""

    CHANNEL_ONLY = "channel_only"
    """Long: the channel has the payment, we have no such number or could not settle it."""
    OURS_ONLY = "ours_only"
    """Short: we have it settled, the channel's bills of that day and the next do not list it."""
    AMOUNT = "amount"
    REFUND_CHANNEL_ONLY = "refund_channel_only"
    REFUND_OURS_ONLY = "refund_ours_only"
    REFUND_AMOUNT = "refund_amount"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One day of one channel, in fen."""

    lines: int
    alike: int
    settled_now: int
    differences: int
    channel_fen: int
    ours_fen: int


def reconcile(begin: Begin, name: str, day: date) -> Outcome | None:
    """Fetch the day's bill and hold it against our ledger. None: the bill is not ready.

    Raises `Unknown` (no answer), `Refused` (the file is cut or another merchant's: nothing is booked from it).
    """
    channel = channels.of(name)
    before = clock.now()
    bill = channel.bill(day)
    if bill is None:
        with begin() as session:
            return _empty_day(session, channel, day, before)
    settled = sum(_settle_line(begin, channel, line) for line in bill.lines)
    with begin() as session:
        return _compare(session, channel, bill, settled, before)


def _empty_day(session: Session, channel: Channel, day: date, before: datetime) -> Outcome | None:
    """No bill: right for a day on which we booked nothing, else not ready yet."""
    if any(_entries(session, channel.name, day)):
        return None
    return _compare(session, channel, BillFile(day, b""), 0, before)


def _settle_line(begin: Begin, channel: Channel, line: BillLine) -> bool:
    """Whether this line told us something new. Money is settled on the channel's own word, asked for anew."""
    if line.kind == LineKind.PAID:
        with begin() as session:
            state = session.scalar(
                select(Payment.state).where(Payment.channel == channel.name, Payment.number == line.number)
            )
        if state is None or state == "paid":
            return False
        stand = channel.query(line.number)
        if stand.standing != Standing.PAID or stand.evidence is None:
            return False
        with begin() as session:
            return service.settle(session, channel.name, stand.evidence, by="bill") == service.Settled.NOW
    if not line.done:
        return False
    with begin() as session:
        state = session.scalar(select(Refund.state).where(Refund.number == line.refund_number))
        if state == "done":
            return False
        told = RefundStand(RefundStanding.DONE, line.fen, "", line.at)
        arrivals.settle_refund(session, channel.name, line.number, line.refund_number, told, by="bill")
        return True


# ---------------------------------------------------------------------- comparison


Key = tuple[str, str]
"""(payment number, refund number or "")."""


def _entries(
    session: Session, channel: str, day: date, margin: timedelta = timedelta()
) -> list[tuple[Key, int, Any, Any]]:
    """What our ledger has of a civil day (and `margin` around it): key, fen, moment, when it was booked."""
    rows = session.execute(
        select(Payment.number, Refund.number, LedgerEntry.fen, LedgerEntry.at, LedgerEntry.recorded_at)
        .join(Payment, Payment.id == LedgerEntry.payment_id)
        .outerjoin(Refund, Refund.id == LedgerEntry.refund_id)
        .where(
            LedgerEntry.channel == channel,
            LedgerEntry.at >= clock.day_begins(day) - margin,
            LedgerEntry.at < clock.day_begins(day + timedelta(days=1)) + margin,
        )
    )
    return [((number, refund or ""), fen, at, recorded) for number, refund, fen, at, recorded in rows]


def _compare(session: Session, channel: Channel, bill: BillFile, settled: int, before: datetime) -> Outcome:
    """`before`: what we booked later may have moved behind the bill, when a day is read that is not over."""
    theirs = {
        (each.number, each.refund_number): each.fen if each.kind == LineKind.PAID else -each.fen for each in bill.lines
    }
    begins, ends = clock.day_begins(bill.day), clock.day_begins(bill.day + timedelta(days=1))
    entries = _entries(session, channel.name, bill.day, MIDNIGHT)
    around = {key: (fen, at) for key, fen, at, _recorded in entries}
    newer = {key for key, _fen, _at, recorded in entries if recorded >= before}
    ours = {key: fen for key, (fen, at) in around.items() if begins <= at < ends}
    found: list[tuple[Kind, Key, int | None, int | None]] = []
    alike = 0
    for key, fen in theirs.items():
        own = around[key][0] if key in around else _booked(session, channel.name, key)
        if own is None:
            found.append((Kind.REFUND_CHANNEL_ONLY if key[1] else Kind.CHANNEL_ONLY, key, fen, None))
        elif own != fen:
            found.append((Kind.REFUND_AMOUNT if key[1] else Kind.AMOUNT, key, fen, own))
        else:
            alike += 1
    listed_before = _listed(session, channel.name, bill.day - timedelta(days=1))
    for key, fen in ours.items():
        near_midnight = around[key][1] >= ends - MIDNIGHT
        too_new = key in newer
        if key not in theirs and key not in listed_before and not near_midnight and not too_new:
            found.append((Kind.REFUND_OURS_ONLY if key[1] else Kind.OURS_ONLY, key, None, fen))
    found += _left_from_yesterday(session, channel.name, bill.day, theirs)
    for kind, key, theirs_fen, own_fen in found:
        _ticket(session, channel.name, bill.day, kind, key, theirs_fen, own_fen)
    outcome = Outcome(len(bill.lines), alike, settled, len(found), sum(theirs.values()), sum(ours.values()))
    _keep(session, channel.name, bill, outcome)
    return outcome


def _booked(session: Session, channel: str, key: Key) -> int | None:
    """What our ledger has under this key, whenever."""
    number, refund_number = key
    wanted = (
        select(LedgerEntry.fen)
        .join(Payment, Payment.id == LedgerEntry.payment_id)
        .outerjoin(Refund, Refund.id == LedgerEntry.refund_id)
        .where(LedgerEntry.channel == channel, Payment.number == number)
        .where(Refund.number == refund_number if refund_number else LedgerEntry.refund_id.is_(None))
    )
    return session.scalar(wanted)


def _listed(session: Session, channel: str, day: date) -> set[Key]:
    """Keys of a day's bill, as far as it was read."""
    row = session.scalar(select(BillDay).where(BillDay.channel == channel, BillDay.day == day))
    return set() if row is None else {(number, refund) for number, refund in row.keys}


def _left_from_yesterday(
    session: Session, channel: str, day: date, theirs: Iterable[Key]
) -> list[tuple[Kind, Key, int | None, int | None]]:
    """What we booked in yesterday's last minutes, and neither yesterday's bill nor this one lists."""
    begins = clock.day_begins(day)
    listed = set(theirs) | _listed(session, channel, day - timedelta(days=1))
    return [
        (Kind.REFUND_OURS_ONLY if key[1] else Kind.OURS_ONLY, key, None, fen)
        for key, fen, at, _recorded in _entries(session, channel, day - timedelta(days=1))
        if at >= begins - MIDNIGHT and key not in listed
    ]


def _ticket(
    session: Session, channel: str, day: date, kind: Kind, key: Key, fen: int | None, own_fen: int | None
) -> None:
    """Once for each difference; seen again it is the same ticket, closed or not."""
    session.execute(
        insert(BillDifference)
        .values(
            id=new_id(),
            created_at=clock.now(),
            channel=channel,
            day=day,
            kind=kind,
            number=key[0],
            refund_number=key[1],
            channel_fen=fen,
            our_fen=own_fen,
        )
        .on_conflict_do_nothing(index_elements=["channel", "kind", "number", "refund_number"])
    )


def _keep(session: Session, channel: str, bill: BillFile, outcome: Outcome) -> None:
    values = {
        "read_at": clock.now(),
        "digest": hashlib.sha256(bill.raw).hexdigest(),
        "lines": outcome.lines,
        "alike": outcome.alike,
        "channel_fen": outcome.channel_fen,
        "our_fen": outcome.ours_fen,
        "keys": [[each.number, each.refund_number] for each in bill.lines],
    }
    session.execute(
        insert(BillDay)
        .values(id=new_id(), channel=channel, day=bill.day, **values)
        .on_conflict_do_update(index_elements=["channel", "day"], set_=values)
    )
    log.info(
        "channel's bill read", channel=channel, day=str(bill.day), lines=outcome.lines, differences=outcome.differences
    )


# ---------------------------------------------------------------------- people and days


def close(session: Session, difference_id: uuid.UUID, *, by: str, why: str) -> None:
    """A person has found out what it was. Raises `Invalid` (no reason), `Conflict` (closed already)."""
    if not why.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    done = session.scalar(
        update(BillDifference)
        .where(BillDifference.id == difference_id, BillDifference.closed_at.is_(None))
        .values(closed_at=clock.now(), closed_by=by, closed_why=why.strip())
        .returning(BillDifference.id)
    )
    if done is None:
        raise Conflict("payment.case_closed", N_("已由他人处理，请刷新页面。"))
    record(
        session, actor=by, action="payment.difference", aggregate=("bill_difference", difference_id), reason=why.strip()
    )


def open_differences(session: Session, channel: str | None = None) -> list[BillDifference]:
    wanted = (
        select(BillDifference).where(BillDifference.closed_at.is_(None)).order_by(BillDifference.day, BillDifference.id)
    )
    if channel is not None:
        wanted = wanted.where(BillDifference.channel == channel)
    return list(session.scalars(wanted))


def days_to_read(session: Session, name: str, *, today: date, most: int = 31) -> list[date]:
    """Days behind us whose bill was not read, the oldest first; yesterday's only once it can be there."""
    first = session.scalar(select(func.min(Payment.created_at)).where(Payment.channel == name))
    if first is None:
        return []
    begins = max(clock.local(first).date(), today - timedelta(days=most))
    read = set(session.scalars(select(BillDay.day).where(BillDay.channel == name, BillDay.day >= begins)))
    last = today - timedelta(days=1 if clock.local(clock.now()).hour >= READY_AT_HOUR else 2)
    count = (last - begins).days + 1
    return [day for day in (begins + timedelta(days=each) for each in range(max(0, count))) if day not in read]


def catch_up(begin: Begin) -> None:
    """Read every bill that is due, of every channel; one that fails is tried again at the next round."""
    for name in channels.offered():
        with begin() as session:
            days = days_to_read(session, name, today=clock.today())
        for day in days:
            try:
                reconcile(begin, name, day)
            except (Unknown, Refused) as error:
                log.error("channel's bill could not be read", channel=name, day=str(day), code=error.code)
