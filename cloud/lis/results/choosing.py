"""Which run of an order item is the one to report, and writing new rows so that there is never more than one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import ARRAY, Uuid, any_, bindparam, select, update
from sqlalchemy.orm import Session

from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.results.model import OPEN_STATES, Result, ResultState


def choose_newest(result: Result, item: OrderItem, earlier: Sequence[Result], *, late: bool = False) -> None:
    """The newest run of an unreleased item is the chosen one and waits for review; after release nothing moves by
    itself. A `late` value displaces nothing that the laboratory received after it.
    """
    result.run = len(earlier) + 1
    result.state, result.chosen, result.after_release = ResultState.RECEIVED, True, False
    if item.state == ItemState.RELEASED:
        result.after_release, result.chosen = True, False
        return
    if late and any(each.chosen and each.received_at > result.received_at for each in earlier):
        result.state, result.chosen = ResultState.SUPERSEDED, False
        return
    for before in earlier:
        if before.chosen:
            before.chosen = False
            if before.state in OPEN_STATES:
                before.move_to(ResultState.SUPERSEDED)


def settle_choice(session: Session, added: Sequence[Result]) -> None:
    """Write new rows after the choices they end: at most one is chosen at every moment. Items become resulted."""
    session.flush()
    session.add_all(added)
    session.flush()
    items_resulted(session, added)


def items_resulted(session: Session, added: Sequence[Result]) -> None:
    """The items of these values have one now."""
    ids = list({each.order_item_id for each in added if not each.after_release})
    session.execute(_RESULTED, {"items": ids}, execution_options={"synchronize_session": False})


_RESULTED = (
    update(OrderItem)
    .where(OrderItem.id == any_(bindparam("items", type_=ARRAY(Uuid(as_uuid=True)))))
    .where(OrderItem.state == ItemState.RECEIVED)
    .values(state=ItemState.RESULTED)
)


def withdraw(session: Session, result: Result) -> None:
    """No run of the item is chosen any more: it waits for a value again. Only before release."""
    result.chosen = False
    result.move_to(ResultState.SUPERSEDED)
    session.flush()
    session.execute(
        update(OrderItem)
        .where(OrderItem.id == result.order_item_id, OrderItem.state == ItemState.RESULTED)
        .values(state=ItemState.RECEIVED)
    )


def chosen_numbers(session: Session, specimen_id: uuid.UUID) -> dict[str, Result]:
    """The chosen results of a specimen by test code, in the catalogue's unit: what new values have to agree with."""
    rows = session.execute(
        select(Test.code, Result)
        .join(Result, Result.test_id == Test.id)
        .where(Result.specimen_id == specimen_id, Result.chosen, Result.unit == Test.unit)
    )
    return {row.code: row.Result for row in rows}
