"""A cashier's drawer: opened with a float, moved by the ledger's cash entries alone, counted and handed over.

Nothing here takes or pays out money: `cash.take` and refunds by cash do, and name the shift in the same transaction.
Whoever moves cash without having opened a shift gets one with no float, so that no cash stands outside a drawer.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.ids import new_id
from cloud.payments.drawers_model import CashShift
from cloud.payments.model import LedgerEntry, Payment, Refund
from cloud.web.i18n import mark as N_

PIECES_FEN = (10000, 5000, 2000, 1000, 500, 100, 50, 10)
"""The notes and coins that are counted: 100, 50, 20, 10, 5 and 1 yuan, 5 and 1 jiao."""
MOST_PIECES = 100_000


def current(session: Session, cashier: str) -> uuid.UUID:
    """The open shift of `cashier`, held until the transaction ends; made, with no float, where there is none."""
    for _ in range(3):
        shift_id = _held(session, cashier)
        if shift_id is not None:
            return shift_id
        _insert(session, cashier, 0, "", by_hand=False)
    raise Conflict("drawer.busy", N_("正在交班，请稍后再试。"))


def _held(session: Session, cashier: str) -> uuid.UUID | None:
    return session.scalar(
        select(CashShift.id).where(CashShift.cashier == cashier, CashShift.closed_at.is_(None)).with_for_update()
    )


def _insert(session: Session, cashier: str, opening_fen: int, place: str, *, by_hand: bool) -> uuid.UUID | None:
    made = session.scalar(
        insert(CashShift)
        .values(
            id=new_id(), cashier=cashier, place=place, opening_fen=opening_fen, opened_at=clock.now(), by_hand=by_hand
        )
        .on_conflict_do_nothing(index_elements=["cashier"], index_where=CashShift.closed_at.is_(None))
        .returning(CashShift.id)
    )
    if made is not None:
        record(
            session,
            actor=cashier,
            action="drawer.open",
            aggregate=("cash_shift", made),
            after={"opening_fen": opening_fen, "place": place, "by_hand": by_hand},
        )
    return made


def open_shift(session: Session, *, by: str, opening_fen: int, place: str = "") -> uuid.UUID:
    """Begin with a float. Raises `Invalid` (amount), `Conflict` (a shift of theirs is open)."""
    if not 0 <= opening_fen <= 10_000_000:
        raise Invalid("drawer.opening", N_("备用金应为 0 至 10 万元。"))
    made = _insert(session, by, opening_fen, place.strip()[:40], by_hand=True)
    if made is None:
        raise Conflict("drawer.open", N_("您已有未交班的班次，请先交班。"))
    return made


@dataclass(frozen=True, slots=True)
class Standing:
    """What a drawer should hold: the float, what was taken, what was paid out (as a positive amount), in fen."""

    opening_fen: int
    taken: int
    taken_fen: int
    paid_out: int
    paid_out_fen: int

    @property
    def expected_fen(self) -> int:
        return self.opening_fen + self.taken_fen - self.paid_out_fen


def standing(session: Session, shift_id: uuid.UUID) -> Standing:
    opening = session.scalars(select(CashShift.opening_fen).where(CashShift.id == shift_id)).one()
    took = LedgerEntry.fen > 0
    row = session.execute(
        select(
            func.count().filter(took),
            func.coalesce(func.sum(LedgerEntry.fen).filter(took), 0),
            func.count().filter(~took),
            func.coalesce(func.sum(-LedgerEntry.fen).filter(~took), 0),
        ).where(LedgerEntry.shift_id == shift_id)
    ).one()
    return Standing(opening, int(row[0]), int(row[1]), int(row[2]), int(row[3]))


def entries(session: Session, shift_id: uuid.UUID) -> list[tuple[LedgerEntry, Payment, Refund | None]]:
    """What moved in a shift, the newest first."""
    rows = session.execute(
        select(LedgerEntry, Payment, Refund)
        .join(Payment, Payment.id == LedgerEntry.payment_id)
        .outerjoin(Refund, Refund.id == LedgerEntry.refund_id)
        .where(LedgerEntry.shift_id == shift_id)
        .order_by(LedgerEntry.recorded_at.desc(), LedgerEntry.id.desc())
    )
    return [(entry, payment, refund) for entry, payment, refund in rows]


def open_of(session: Session, cashier: str) -> CashShift | None:
    return session.scalar(select(CashShift).where(CashShift.cashier == cashier, CashShift.closed_at.is_(None)))


def hand_over(session: Session, *, by: str, pieces: Mapping[int, int], why: str = "") -> CashShift:
    """Count the drawer and close the shift; the next cash begins another.

    Raises `Invalid` (no such note, a count that can't be, a difference without its explanation), `Conflict` (no open
    shift).
    """
    if any(piece not in PIECES_FEN or not 0 <= count <= MOST_PIECES for piece, count in pieces.items()):
        raise Invalid("drawer.pieces", N_("清点张数应为 0 或正整数。"))
    shift_id = _held(session, by)
    if shift_id is None:
        raise Conflict("drawer.none", N_("没有未交班的班次。"))
    expected = standing(session, shift_id).expected_fen
    counted = sum(piece * count for piece, count in pieces.items())
    if counted != expected and not why.strip():
        raise Invalid("drawer.difference", N_("清点金额与应有金额不符，请先核对；确有长短款时填写原因。"))
    session.execute(
        update(CashShift)
        .where(CashShift.id == shift_id)
        .values(
            closed_at=clock.now(),
            expected_fen=expected,
            counted_fen=counted,
            pieces={str(piece): count for piece, count in pieces.items() if count},
            why=why.strip() or None,
        )
    )
    record(
        session,
        actor=by,
        action="drawer.hand_over",
        aggregate=("cash_shift", shift_id),
        after={"expected_fen": expected, "counted_fen": counted},
        reason=why.strip() or None,
    )
    return session.get_one(CashShift, shift_id, populate_existing=True)


def receive(session: Session, shift_id: uuid.UUID, *, by: str) -> None:
    """The accounts office has a closed shift's money. Raises `Invalid` (one's own), `Conflict` (open, received)."""
    cashier = session.scalar(select(CashShift.cashier).where(CashShift.id == shift_id))
    if cashier == by:
        raise Invalid("drawer.own", N_("不能由交款人本人确认收款。"))
    done = session.scalar(
        update(CashShift)
        .where(CashShift.id == shift_id, CashShift.closed_at.is_not(None), CashShift.received_at.is_(None))
        .values(received_at=clock.now(), received_by=by)
        .returning(CashShift.id)
    )
    if done is None:
        raise Conflict("drawer.not_closed", N_("该班次尚未交班，或已确认收款，请刷新页面。"))
    record(session, actor=by, action="drawer.receive", aggregate=("cash_shift", shift_id))


def listed(session: Session, *, since: datetime, until: datetime, cashier: str | None = None) -> list[CashShift]:
    """Shifts that were opened between two moments or are open, the newest first."""
    wanted = select(CashShift).where(
        (CashShift.opened_at >= since) & (CashShift.opened_at < until) | CashShift.closed_at.is_(None)
    )
    if cashier is not None:
        wanted = wanted.where(CashShift.cashier == cashier)
    return list(session.scalars(wanted.order_by(CashShift.opened_at.desc())))
