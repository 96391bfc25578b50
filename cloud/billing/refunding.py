"""Money of items going back: frozen first (PAID → REFUNDING, one conditional statement), asked for second.

Which way is decided here, never by the page: by phone only what the hospital's rule lets go by phone; the rest at the
window, whole or part, the way it came or in cash. Either way books against the same allocation, once for each item.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.billing import policy, record, rules
from cloud.billing.events import ItemsRefunded, RefundAsked, RefundDropped
from cloud.billing.model import (
    Allocation,
    BillRefund,
    BillRefundLine,
    BillRefundState,
    Charge,
    ChargeItem,
    ChargeState,
    ItemState,
)
from cloud.billing.rules import Route, Why
from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.payments import refunds
from cloud.payments.model import Payment, Refund, RefundState
from cloud.payments.service import CASH
from cloud.web.i18n import mark as N_

WHY = {
    Why.NOT_PAID: N_("这张账单尚未缴费。"),
    Why.ALL_RETURNED: N_("这张账单已全部退费。"),
    Why.EXECUTED: N_("已有项目执行，如需退费请到窗口办理。"),
    Why.GOODS: N_("药品或材料已发放，请先退回实物，再到窗口退费。"),
    Why.PART: N_("只退部分项目请到窗口办理。"),
    Why.LATE: N_("已超过手机退费期限，请到窗口办理。"),
    Why.INVOICED: N_("发票已打印，请带发票到窗口退费。"),
    Why.PAID_AT_WINDOW: N_("这张账单在窗口缴费，请到窗口退费。"),
    Why.PAID_ELSEWHERE: N_("这张账单不是在本平台缴费，请到原缴费窗口退费。"),
    Why.UNDER_WAY: N_("正在退费，请勿重复申请。"),
    Why.SWITCHED_OFF: N_("本院未开放手机退费，请到窗口办理。"),
}
"""What the patient is told."""


def route_of(session: Session, charge: Charge) -> Route:
    """By which way the whole charge's money may go back now; `WHY` says a reason in words."""
    return _route(session, charge, record.items_of(session, charge.id), part=False)


def _route(session: Session, charge: Charge, items: Sequence[ChargeItem], *, part: bool) -> Route:
    channel = session.scalar(select(Payment.channel).where(Payment.id == charge.payment_id))
    paid = rules.Paid(
        how=charge.paid_how,
        channel=channel,
        paid_on=clock.local(charge.paid_at).date() if charge.paid_at else None,
        today=clock.today(),
        days=policy.value(session, "refund_days"),
        invoiced=charge.invoice_number is not None,
    )
    return rules.route(paid, [rules.Line(each.state, each.goods) for each in items], part=part)


def refundable(session: Session, charge_id: uuid.UUID) -> list[ChargeItem]:
    """The items whose money can be asked back (at the window) this moment."""
    return [each for each in record.items_of(session, charge_id) if each.state == ItemState.PAID]


def ask(
    session: Session,
    charge_id: uuid.UUID,
    item_ids: Collection[uuid.UUID] | None = None,
    *,
    by: str,
    reason: str,
    at_window: bool = False,
    route: str = "channel",
) -> BillRefund:
    """Freeze the items (None: all that are PAID) and ask for their money back.

    By phone (`at_window` False) only the whole charge and only where `route_of` says electronic. The same items asked
    for again while they are on their way give the refund that is under way. Raises `Invalid` (no reason),
    `Conflict` (``refund.window`` and why; ``refund.cash_only``; ``charge_item.executed`` and the like: what happened to
    the first item that could not be frozen).
    """
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    if route not in ("channel", "cash") or (route == "cash" and not at_window):
        raise Invalid("refund.route", N_("现金退费只能在窗口办理。"))
    charge = record.locked_charges(session, [charge_id])[0]
    items = record.items_of(session, charge_id)
    wanted = _wanted(items, item_ids)
    known = _under_way(session, wanted)
    if known is not None:
        return known
    _allowed(session, charge, items, wanted, at_window)
    payment = session.get_one(Payment, charge.payment_id)
    if payment.channel == CASH and route != "cash":
        raise Conflict("refund.cash_only", N_("现金支付只能在窗口退现金。"))
    record.locked_items(session, [each.id for each in wanted])
    frozen = record.move_items(session, [each.id for each in wanted], (ItemState.PAID,), ItemState.REFUNDING)
    if len(frozen) != len(wanted):
        session.expire_all()
        done = {each.id for each in frozen}
        raise record.why_not(next(each for each in wanted if each.id not in done))
    return _ask(session, charge, payment, frozen, by=by, reason=reason.strip(), at_window=at_window, route=route)


def _wanted(items: Sequence[ChargeItem], item_ids: Collection[uuid.UUID] | None) -> list[ChargeItem]:
    if item_ids is None:
        paid = [each for each in items if each.state == ItemState.PAID]
        return paid or [each for each in items if each.state == ItemState.REFUNDING]
    chosen = [each for each in items if each.id in set(item_ids)]
    if not chosen or len(chosen) != len(set(item_ids)):
        raise Invalid("refund.no_items", N_("请选择要退费的项目。"))
    return chosen


def _under_way(session: Session, wanted: Sequence[ChargeItem]) -> BillRefund | None:
    """The refund that has exactly these items: somebody tapped twice."""
    if not wanted or any(each.state != ItemState.REFUNDING for each in wanted):
        return None
    lines = session.execute(
        select(BillRefundLine.bill_refund_id, BillRefundLine.item_id).where(
            BillRefundLine.item_id.in_([each.id for each in wanted]), ~BillRefundLine.dropped
        )
    ).all()
    holders = {each.bill_refund_id for each in lines}
    if len(holders) != 1 or len(lines) != len(wanted):
        return None
    found = session.get_one(BillRefund, holders.pop())
    whole = select(BillRefundLine.item_id).where(BillRefundLine.bill_refund_id == found.id)
    return found if set(session.scalars(whole)) == {each.id for each in wanted} else None


def _allowed(
    session: Session, charge: Charge, items: Sequence[ChargeItem], wanted: Sequence[ChargeItem], at_window: bool
) -> None:
    if charge.state != ChargeState.PAID or charge.payment_id is None:
        why = Why.PAID_ELSEWHERE if charge.state == ChargeState.PAID else Why.NOT_PAID
        raise Conflict("refund.not_ours", WHY[why])
    if at_window:
        if not wanted:
            raise Conflict("refund.nothing", N_("没有可退费的项目：已执行的请先由执行科室撤销或退回实物。"))
        return
    verdict = _route(session, charge, items, part=len(wanted) != len(items))
    if not verdict.electronic:
        raise Conflict("refund.window", WHY[verdict.why or Why.PART])


def _ask(
    session: Session,
    charge: Charge,
    payment: Payment,
    frozen: Sequence[ChargeItem],
    *,
    by: str,
    reason: str,
    at_window: bool,
    route: str,
) -> BillRefund:
    allocated = {
        each.item_id: each.fen
        for each in session.scalars(select(Allocation).where(Allocation.item_id.in_([item.id for item in frozen])))
    }
    fen = sum(allocated[each.id] for each in frozen)
    row = BillRefund(
        id=new_id(),
        charge_id=charge.id,
        payment_id=payment.id,
        fen=fen,
        route=route,
        at_window=at_window,
        by=by,
        reason=reason,
    )
    if fen:
        asked = refunds.ask_refund(
            session, payment.id, fen, key=f"bills:refund:{row.id}", reason=reason, by=by, route=route
        )
        row.refund_id = asked.id
    session.add(row)
    session.flush()
    session.add_all(BillRefundLine(bill_refund_id=row.id, item_id=each.id, fen=allocated[each.id]) for each in frozen)
    session.flush()
    lines = tuple(each.line for each in sorted(frozen, key=lambda each: each.position))
    publish(
        session,
        RefundAsked(
            aggregate_id=charge.id,
            person_id=charge.person_id,
            source=charge.source,
            number=charge.number,
            bill_refund_id=row.id,
            lines=lines,
            fen=fen,
        ),
    )
    audit.record(
        session,
        actor=by,
        action="charge.refund",
        aggregate=("charge", charge.id),
        after={"lines": list(lines), "fen": fen, "route": route, "at_window": at_window},
        reason=reason,
    )
    record.tell_pages(session, charge)
    if fen == 0 or route == "cash":
        arrived(session, row.id)
    return row


@dataclass(frozen=True, slots=True)
class RefundView:
    """One refund of a charge with how it stands below."""

    refund: BillRefund
    lines: tuple[uuid.UUID, ...]
    stage: str
    """``asked`` (taken in), ``channel`` (with the channel), ``arrived``, ``stuck`` (a person decides), ``dropped``."""


def refunds_of(session: Session, charge_id: uuid.UUID) -> list[RefundView]:
    """Oldest first."""
    found = session.execute(
        select(BillRefund, Refund)
        .outerjoin(Refund, Refund.id == BillRefund.refund_id)
        .where(BillRefund.charge_id == charge_id)
        .order_by(BillRefund.id)
    ).all()
    views = []
    for row, below in found:
        items = session.scalars(select(BillRefundLine.item_id).where(BillRefundLine.bill_refund_id == row.id))
        views.append(RefundView(row, tuple(items), _stage(row, below)))
    return views


def _stage(row: BillRefund, below: Refund | None) -> str:
    if row.state == BillRefundState.DROPPED or (below is not None and below.state == RefundState.DROPPED):
        return "dropped"
    if row.state == BillRefundState.DONE or below is None or below.state == RefundState.DONE:
        return "arrived"
    if below.state == RefundState.STUCK:
        return "stuck"
    return "channel" if below.state == RefundState.PROCESSING else "asked"


def of_refund(session: Session, refund_id: uuid.UUID) -> BillRefund | None:
    """Ours to which this refund of a payment belongs; None: money that went back by itself."""
    return session.scalar(select(BillRefund).where(BillRefund.refund_id == refund_id))


def arrived(session: Session, bill_refund_id: uuid.UUID) -> None:
    """Its money has gone back: its items are REFUNDED. Called twice it does nothing the second time."""
    items = _end(session, bill_refund_id, BillRefundState.DONE, ItemState.REFUNDED)
    if items is None:
        return
    row = session.get_one(BillRefund, bill_refund_id)
    charge = session.get_one(Charge, row.charge_id)
    publish(
        session,
        ItemsRefunded(
            aggregate_id=charge.id,
            person_id=charge.person_id,
            source=charge.source,
            number=charge.number,
            bill_refund_id=row.id,
            payment_id=row.payment_id,
            refund_id=row.refund_id,
            items=tuple(each.id for each in items),
            lines=tuple(each.line for each in items),
            fen=row.fen,
            route=session.scalar(select(Refund.route).where(Refund.id == row.refund_id)) or row.route,
        ),
    )
    record.tell_pages(session, charge)


def dropped(session: Session, bill_refund_id: uuid.UUID, *, by: str, reason: str) -> None:
    """The refund below was given up before any money had moved: its items are PAID again."""
    row = session.get_one(BillRefund, bill_refund_id, populate_existing=True)
    below = session.get(Refund, row.refund_id, populate_existing=True) if row.refund_id else None
    if below is None or below.state != RefundState.DROPPED:
        raise Conflict("refund.not_dropped", N_("这项退款尚未撤销，不能恢复收费项目。"))
    items = _end(session, bill_refund_id, BillRefundState.DROPPED, ItemState.PAID)
    if items is None:
        return
    session.execute(update(BillRefundLine).where(BillRefundLine.bill_refund_id == row.id).values(dropped=True))
    charge = session.get_one(Charge, row.charge_id)
    publish(
        session,
        RefundDropped(
            aggregate_id=charge.id,
            source=charge.source,
            number=charge.number,
            bill_refund_id=row.id,
            lines=tuple(each.line for each in items),
        ),
    )
    audit.record(session, actor=by, action="charge.refund_dropped", aggregate=("charge", charge.id), reason=reason)
    record.tell_pages(session, charge)


def _end(
    session: Session, bill_refund_id: uuid.UUID, state: BillRefundState, items_become: ItemState
) -> list[ChargeItem] | None:
    """The refund ends so, once; None: it had ended before."""
    item_ids = list(
        session.scalars(select(BillRefundLine.item_id).where(BillRefundLine.bill_refund_id == bill_refund_id))
    )
    record.locked_items(session, item_ids)
    ended = session.scalar(
        update(BillRefund)
        .where(BillRefund.id == bill_refund_id, BillRefund.state == BillRefundState.ASKED)
        .values(state=state, done_at=clock.now())
        .returning(BillRefund.id)
    )
    if ended is None:
        return None
    moved = record.move_items(session, item_ids, (ItemState.REFUNDING,), items_become)
    return sorted(moved, key=lambda each: each.position)
