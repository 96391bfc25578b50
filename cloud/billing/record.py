"""Writing of bills: rows held in one order, items moved on one condition, sentences why not. No other writes a state.

Rows are always taken in this order, so that no two people wait for each other: a bill payment, charges by id, items by
id, at last the payment below.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloud.billing.model import Charge, ChargeItem, ChargeState, ItemState
from cloud.kit.db import among, begin
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.live import announce
from cloud.payments import service as payments
from cloud.web.i18n import mark as N_

ORDER_LOCK = 620_445
"""The advisory lock (with the order key's hash) on which a bill that arises and a received specimen take turns."""


def charge(session: Session, charge_id: uuid.UUID) -> Charge:
    """Raises `NotFound`."""
    found = session.get(Charge, charge_id, populate_existing=True)
    if found is None:
        raise NotFound("charge.unknown", N_("没有这张账单。"))
    return found


def by_number(session: Session, source: str, number: str) -> Charge | None:
    return session.scalar(select(Charge).where(Charge.source == source, Charge.number == number))


def locked_charges(session: Session, charge_ids: Collection[uuid.UUID]) -> list[Charge]:
    """These charges as they stand now, held until the transaction ends. Raises `NotFound` unless all are there."""
    found = list(
        session.scalars(
            select(Charge)
            .where(among(Charge.id, charge_ids))
            .order_by(Charge.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    )
    if len(found) != len(set(charge_ids)):
        raise NotFound("charge.unknown", N_("没有这张账单。"))
    return found


def locked_items(session: Session, item_ids: Collection[uuid.UUID]) -> list[ChargeItem]:
    return list(
        session.scalars(
            select(ChargeItem)
            .where(among(ChargeItem.id, item_ids))
            .order_by(ChargeItem.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    )


def items_of(session: Session, charge_id: uuid.UUID) -> list[ChargeItem]:
    """The items of its present content, in its source's order."""
    return list(
        session.scalars(
            select(ChargeItem)
            .join(Charge, (Charge.id == ChargeItem.charge_id) & (Charge.version == ChargeItem.version))
            .where(Charge.id == charge_id)
            .order_by(ChargeItem.position)
            .execution_options(populate_existing=True)
        )
    )


def move_items(
    session: Session,
    item_ids: Collection[uuid.UUID],
    come_from: Sequence[ItemState],
    goes_to: ItemState,
    **values: Any,
) -> list[ChargeItem]:
    """The one conditional statement by which items change their state: those that were in `come_from`, moved."""
    return list(
        session.scalars(
            update(ChargeItem)
            .where(among(ChargeItem.id, item_ids), ChargeItem.state.in_(come_from))
            .values(state=goes_to, **values)
            .returning(ChargeItem)
            .execution_options(populate_existing=True)
        )
    )


def move_charge(
    session: Session, charge_id: uuid.UUID, come_from: Sequence[ChargeState], goes_to: ChargeState, **values: Any
) -> Charge | None:
    """The charge, moved; None when it was in another state."""
    return session.scalar(
        update(Charge)
        .where(Charge.id == charge_id, Charge.state.in_(come_from))
        .values(state=goes_to, **values)
        .returning(Charge)
        .execution_options(populate_existing=True)
    )


def take_turns(session: Session, order_keys: Collection[str]) -> None:
    """Until the transaction ends, who takes in a bill for these orders and who executes them go one by one."""
    for key in sorted({each.partition("/")[0] for each in order_keys}):
        session.execute(select(func.pg_advisory_xact_lock(ORDER_LOCK, func.hashtext(key))))


def open_case(known: Charge, kind: str, **facts: object) -> None:
    """Ask for a person, in a unit of work of its own: what was refused is rolled back, the question is not."""
    key = ":".join((kind, known.source, known.number, str(facts.get("fen", ""))))
    with begin() as session:
        payments.open_case(session, kind, key, "", known.payment_id, charge=str(known.id), number=known.number, **facts)


def tell_pages(session: Session, charge_: Charge) -> None:
    announce(session, "bills", {"charge": str(charge_.id), "person": str(charge_.person_id), "state": charge_.state})


def why_not(item: ChargeItem) -> Conflict:
    """Why this item can't be taken a step, for who asked."""
    sentence = {
        ItemState.PAYABLE: N_("项目“{name}”尚未缴费。"),
        ItemState.PAYING: N_("项目“{name}”正在缴费，请稍后再试。"),
        ItemState.PAID: N_("项目“{name}”已缴费、未执行。"),
        ItemState.EXECUTED: N_("项目“{name}”已执行。"),
        ItemState.REFUNDING: N_("项目“{name}”正在退费，不能再执行或重复退费。"),
        ItemState.REFUNDED: N_("项目“{name}”已退费。"),
        ItemState.VOID: N_("项目“{name}”已作废，请核对最新的账单。"),
    }[ItemState(item.state)]
    return Conflict(f"charge_item.{item.state}", sentence, name=item.name)
