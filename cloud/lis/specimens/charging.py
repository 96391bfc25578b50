"""The bill of what is done on a tube: receiving it executes its items in the same transaction, so that the laboratory
and a refund exclude each other on one conditional statement. See decisions/0003.

A test is found on a bill by its order's number, alone or with the code of the test or of the panel it was ordered with.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from cloud.billing import execution, intake
from cloud.billing.intake import Done
from cloud.billing.rules import order_key
from cloud.lis.catalog.model import Panel, Test
from cloud.lis.orders.model import ItemState, Order, OrderItem
from cloud.lis.specimens.model import Specimen

IN_THE_LABORATORY = (ItemState.RECEIVED, ItemState.RESULTED, ItemState.RELEASED)


def received(session: Session, specimen: Specimen, item_ids: Collection[uuid.UUID], *, by: str) -> list[str]:
    """These tests are in the laboratory now. Gives the names of what was not paid.

    Raises `Conflict` for what is on its way back to the patient, or not paid where the hospital refuses that.
    """
    order = session.get_one(Order, specimen.order_id)
    unpaid = execution.execute_order(session, _keys(session, order, OrderItem.id.in_(list(item_ids))), by=by)
    return [each.name for each in unpaid]


def given_back(session: Session, order_id: uuid.UUID, item_ids: Collection[uuid.UUID], *, by: str, reason: str) -> None:
    """These tests are not in the laboratory any more (a wrong scan, a refused tube that is not drawn again): what no
    other test of the order stands for can be refunded again. Behind the tests' own step.
    """
    order = session.get_one(Order, order_id)
    gone = _keys(session, order, OrderItem.id.in_(list(item_ids)))
    still = _keys(session, order, OrderItem.state.in_(IN_THE_LABORATORY))
    if gone - still:
        execution.undo_order(session, gone - still, by=by, reason=reason)


def _keys(session: Session, order: Order, which: object) -> set[str]:
    rows = session.execute(
        select(Test.code, Panel.code)
        .select_from(OrderItem)
        .join(Test, Test.id == OrderItem.test_id)
        .outerjoin(Panel, Panel.id == OrderItem.panel_id)
        .where(OrderItem.order_id == order.id, which)  # type: ignore[arg-type]
    ).all()
    return {key for test, panel in rows for key in _of(order, (test, panel))}


def _of(order: Order, codes: Iterable[str | None]) -> set[str]:
    named = {order_key(order.source, order.placer_number, code) for code in codes if code}
    return named | {order_key(order.source, order.placer_number)}


def done_before(session: Session, keys: Collection[str]) -> dict[str, Done]:
    """Of orders whose bill comes only now: which of them the laboratory has received already."""
    placers = {tuple(each.partition("/")[0].split(":", 1)) for each in keys if ":" in each}
    if not placers:
        return {}
    rows = session.execute(
        select(Order, Test.code, Panel.code, Specimen.received_at, Specimen.received_by)
        .join(OrderItem, OrderItem.order_id == Order.id)
        .join(Test, Test.id == OrderItem.test_id)
        .outerjoin(Panel, Panel.id == OrderItem.panel_id)
        .join(Specimen, Specimen.id == OrderItem.specimen_id)
        .where(
            tuple_(Order.source, Order.placer_number).in_(placers),
            OrderItem.state.in_(IN_THE_LABORATORY),
            Specimen.received_at.is_not(None),
        )
        .order_by(Specimen.received_at.desc())
    ).all()
    done: dict[str, Done] = {}
    for order, test, panel, at, who in rows:
        if at is not None:
            done |= {key: Done(at, who or "system") for key in _of(order, (test, panel)) & set(keys)}
    return done


intake.done_before.append(done_before)
