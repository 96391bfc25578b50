"""Doing what was paid: PAID → EXECUTED by one conditional statement; it and a refund's freeze exclude each other.

Who does it says so here in the transaction in which it is done: an executing department item by item, the laboratory by
receiving the order's specimen, the hospital's own system by its message.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from itertools import groupby

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.billing import policy, record
from cloud.billing.events import ExecutionUndone, ItemsExecuted
from cloud.billing.model import Charge, ChargeItem, ItemState
from cloud.billing.settling import ITEMS_UNPAID
from cloud.kit import audit, clock
from cloud.kit.db import among
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.events import Event, publish
from cloud.web.i18n import mark as N_

GOING_BACK = (ItemState.REFUNDING, ItemState.REFUNDED)


def execute(
    session: Session, item_ids: Collection[uuid.UUID], *, by: str, department_id: uuid.UUID | None = None
) -> list[ChargeItem]:
    """These items were done, all or none. Raises `NotFound`, `Conflict` (not paid, on its way back, done already)."""
    items = record.locked_items(session, item_ids)
    if not items or len(items) != len(set(item_ids)):
        raise NotFound("charge_item.unknown", N_("没有这个收费项目。"))
    moved = record.move_items(
        session,
        [each.id for each in items],
        (ItemState.PAID,),
        ItemState.EXECUTED,
        executed_at=clock.now(),
        executed_by=by,
        executed_in=department_id,
    )
    if len(moved) != len(items):
        done = {each.id for each in moved}
        raise record.why_not(next(each for each in items if each.id not in done))
    tell_done(session, moved, by=by)
    return moved


def execute_order(session: Session, order_keys: Collection[str], *, by: str) -> list[ChargeItem]:
    """The specimen of this order was received: its items are done, in the receiver's transaction.

    What is not paid yet is marked as done before it was paid (EXECUTED at once when the money comes), or the reception
    is refused: a setting. An item on its way back refuses the reception. Gives the items that were not paid.
    """
    keys = sorted(set(order_keys))
    record.take_turns(session, keys)
    items = list(
        session.scalars(
            select(ChargeItem)
            .where(ChargeItem.order_key.in_(keys), ChargeItem.state != ItemState.VOID)
            .order_by(ChargeItem.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    )
    if not items:
        return []
    for each in items:
        if each.state in GOING_BACK:
            raise Conflict(
                "charge_item.going_back",
                N_("项目“{name}”已申请退费，不能接收或执行。如患者仍要检查，请先重新开单缴费。"),
                name=each.name,
            )
    return _done(session, items, by=by, refuse_unpaid=policy.value(session, "refuse_unpaid_specimens") == 1)


def _done(
    session: Session, items: Sequence[ChargeItem], *, by: str, at: datetime | None = None, refuse_unpaid: bool = False
) -> list[ChargeItem]:
    unpaid = [each for each in items if each.state in ITEMS_UNPAID]
    if unpaid and refuse_unpaid:
        raise Conflict(
            "charge_item.unpaid", N_("项目“{name}”尚未缴费，按医院规定不能接收，请患者先缴费。"), name=unpaid[0].name
        )
    now = at or clock.now()
    moved = record.move_items(
        session, [each.id for each in items], (ItemState.PAID,), ItemState.EXECUTED, executed_at=now, executed_by=by
    )
    marked = session.scalars(
        update(ChargeItem)
        .where(among(ChargeItem.id, [each.id for each in unpaid]), ChargeItem.executed_at.is_(None))
        .values(executed_at=now, executed_by=by)
        .returning(ChargeItem)
        .execution_options(populate_existing=True)
    )
    tell_done(session, [*moved, *marked], by=by)
    return unpaid


def tell_done(session: Session, items: Sequence[ChargeItem], *, by: str) -> None:
    """The fact, also of items that are not paid yet: their source hears of it, and the record keeps who did it."""
    _tell(session, items, by, ItemsExecuted)


def note(session: Session, source: str, number: str, lines: Collection[str] | None, *, by: str, at: datetime) -> Charge:
    """Its source says that these lines (None: all of them) were done there. It is a fact, so it is never refused: an
    item whose money is on its way back stays there, and a case asks for a person.
    """
    known = record.by_number(session, source, number)
    if known is None:
        raise NotFound("charge.unknown", N_("没有这张账单。"))
    record.locked_charges(session, [known.id])
    wanted = [each.id for each in record.items_of(session, known.id) if lines is None or each.line in lines]
    items = record.locked_items(session, wanted)
    for each in items:
        if each.state in GOING_BACK:
            record.open_case(known, "executed_after_refund", line=each.line, fen=each.fen, by=by)
    _done(session, [each for each in items if each.state not in GOING_BACK], by=by, at=at)
    return known


def undo(session: Session, item_ids: Collection[uuid.UUID], *, by: str, reason: str) -> list[ChargeItem]:
    """They were not done after all, or their goods came back: the money may go back again.

    Raises `Invalid` (no reason), `Conflict` (not executed).
    """
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    items = record.locked_items(session, item_ids)
    if not items or len(items) != len(set(item_ids)):
        raise NotFound("charge_item.unknown", N_("没有这个收费项目。"))
    moved = _undone(session, [each.id for each in items])
    if len(moved) != len(items):
        done = {each.id for each in moved}
        raise record.why_not(next(each for each in items if each.id not in done))
    _tell(session, moved, by, ExecutionUndone, reason.strip())
    return moved


def undo_order(session: Session, order_keys: Collection[str], *, by: str, reason: str) -> None:
    """The reception of this order's specimen was taken back; what was done with it is to be done again."""
    keys = sorted(set(order_keys))
    record.take_turns(session, keys)
    ids = list(
        session.scalars(
            select(ChargeItem.id)
            .where(ChargeItem.order_key.in_(keys), ChargeItem.state.in_((ItemState.EXECUTED, *ITEMS_UNPAID)))
            .order_by(ChargeItem.id)
            .with_for_update()
        )
    )
    moved = _undone(session, ids)
    unmarked = session.scalars(
        update(ChargeItem)
        .where(among(ChargeItem.id, ids), ChargeItem.state.in_(ITEMS_UNPAID), ChargeItem.executed_at.is_not(None))
        .values(executed_at=None, executed_by=None, undone=ChargeItem.undone + 1)
        .returning(ChargeItem)
        .execution_options(populate_existing=True)
    )
    _tell(session, [*moved, *unmarked], by, ExecutionUndone, reason)


def _undone(session: Session, item_ids: Collection[uuid.UUID]) -> list[ChargeItem]:
    return record.move_items(
        session,
        item_ids,
        (ItemState.EXECUTED,),
        ItemState.PAID,
        undone=ChargeItem.undone + 1,
        executed_at=None,
        executed_by=None,
        executed_in=None,
    )


def _tell(
    session: Session,
    items: Sequence[ChargeItem],
    by: str,
    fact: Callable[..., Event],
    reason: str | None = None,
) -> None:
    action = "charge_item.execute" if fact is ItemsExecuted else "charge_item.undo"
    for charge_id, group in groupby(
        sorted(items, key=lambda each: (each.charge_id, each.position)), lambda each: each.charge_id
    ):
        charge = session.get_one(Charge, charge_id)
        mine = list(group)
        publish(
            session,
            fact(
                aggregate_id=charge_id,
                source=charge.source,
                number=charge.number,
                items=tuple(each.id for each in mine),
                lines=tuple(each.line for each in mine),
                by=by,
            ),
        )
        audit.record(
            session,
            actor=by,
            action=action,
            aggregate=("charge", charge_id),
            after={"lines": [each.line for each in mine]},
            reason=reason,
        )
        record.tell_pages(session, charge)
