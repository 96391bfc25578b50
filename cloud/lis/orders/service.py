"""The verbs of orders: place (once for one placer number), add tests, cancel. They never commit.

A state of an item is written only by an UPDATE whose WHERE names the states it may come from, so that a cancellation
and a reception of the same tube exclude each other whoever comes first.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog.content import LAST_WEEK
from cloud.lis.catalog.model import ApprovalState, Phase
from cloud.lis.orders.events import OrderCancelled, OrderPlaced, TestsAdded
from cloud.lis.orders.model import ItemState, Order, OrderItem, OrderSource, OrderState, Priority, order_numbers
from cloud.lis.orders.numbers import with_check_digit
from cloud.lis.orders.rules import Wanted, each_test_once
from cloud.lis.orders.timing import split_code
from cloud.people import service as people
from cloud.web.i18n import mark as N_

BEFORE_RECEIPT = (ItemState.ORDERED, ItemState.COLLECTED)
CANCELLABLE_IN_LAB = (*BEFORE_RECEIPT, ItemState.RECEIVED)


def place_order(
    session: Session,
    *,
    person_id: uuid.UUID,
    department_id: uuid.UUID,
    items: Sequence[str],
    priority: str = Priority.ROUTINE,
    source: str,
    placer_number: str | None = None,
    ordered_at: datetime | None = None,
    ordered_by: str,
    by: str | None = None,
    visit_number: str | None = None,
    bed: str | None = None,
    diagnosis: str | None = None,
    collect_at: datetime | None = None,
    cycle_phase: str = "",
    gestation_weeks: int | None = None,
) -> Order:
    """A new order, or the one that this placer number of this source already made (a HIS sends twice).

    `ordered_by` is who asked, as the report names them; `by` is who acted here, as the audit trail names them (``his``
    for an order that came by wire; None: the same). `items` are codes of panels or tests, each with the time it is to
    be drawn where it has one of its own (`timing`: ``CORT@08:00``). No placer number: our own number is it. Raises
    `Invalid` for an unknown code, department or priority, `NotFound` for an unknown person, `Conflict` when the number
    was used for somebody else.
    """
    person = people.get(session, person_id)
    department = session.get(Department, department_id)
    if department is None:
        raise Invalid("department_unknown", N_("没有这个科室，请重新选择。"))
    if priority not in set(Priority) or source not in set(OrderSource):
        raise Invalid("priority_unknown", N_("优先级或来源不正确。"))
    _check_facts(person.sex, cycle_phase, gestation_weeks)
    wanted = wanted_tests(session, items)
    number = f"L{with_check_digit(session.scalars(select(order_numbers.next_value())).one())}"
    placed: Order | None = session.scalar(
        insert(Order)
        .values(
            id=new_id(),
            created_at=clock.now(),
            number=number,
            person_id=person.id,
            department_id=department.id,
            campus_id=department.campus_id,
            source=source,
            placer_number=placer_number or number,
            priority=priority,
            state=OrderState.PLACED,
            ordered_at=ordered_at or clock.now(),
            ordered_by=ordered_by,
            visit_number=visit_number,
            bed=bed,
            diagnosis=diagnosis,
            collect_at=collect_at,
            cycle_phase=cycle_phase,
            gestation_weeks=gestation_weeks,
        )
        .on_conflict_do_nothing(constraint="uq_lab_order_placer")
        .returning(Order)
    )
    if placed is None:
        return _placed_before(session, source, placer_number or number, person.id)
    _add_items(session, placed.id, wanted, first_position=1)
    publish(
        session,
        OrderPlaced(
            aggregate_id=placed.id,
            person_id=person.id,
            source=source,
            placer_number=placed.placer_number,
            priority=priority,
        ),
    )
    _record(session, placed, "order.place", by or ordered_by, after={"number": number, "items": list(items)})
    return placed


def _check_facts(sex: str, cycle_phase: str, gestation_weeks: int | None) -> None:
    """What chooses a reference range may be left out, but not be wrong."""
    if cycle_phase not in ("", *Phase):
        raise Invalid("phase_unknown", N_("没有这个月经周期阶段。"))
    if gestation_weeks is not None and not 0 <= gestation_weeks <= LAST_WEEK:
        raise Invalid("weeks_wrong", N_("孕周须是 0～45 的整数。"))
    if gestation_weeks is not None and cycle_phase not in ("", Phase.PREGNANT):
        raise Invalid("phase_and_weeks", N_("填了孕周，月经周期只能是妊娠期或留空。"))
    if sex == "M" and (cycle_phase or gestation_weeks is not None):
        raise Invalid("phase_of_a_man", N_("男性患者不填月经周期与孕周。"))


def _placed_before(session: Session, source: str, placer_number: str, person_id: uuid.UUID) -> Order:
    order = order_by_placer(session, source, placer_number)
    if order is None:
        raise Conflict("order_vanished", N_("医嘱正在处理中，请稍后重试。"))
    if people.surviving_id(session, order.person_id) != person_id:
        raise Conflict(
            "placer_number_of_another", N_("申请单号 {number} 已用于另一位患者，请核对。"), number=placer_number
        )
    return order


def wanted_tests(session: Session, codes: Sequence[str]) -> list[Wanted]:
    """The tests that these codes of panels and tests mean, each once a time. Raises `Invalid` naming the unknown."""
    groups: list[tuple[uuid.UUID | None, list[uuid.UUID], str]] = []
    unknown: list[str] = []
    for code, when in (split_code(each.strip()) for each in codes):
        panel = catalog.panel_by_code(session, code)
        if panel is not None and panel.state != ApprovalState.RETIRED:
            groups.append((panel.id, [each.id for each in catalog.panel_tests(session, panel.id)], when))
            continue
        test = catalog.test_by_code(session, code)
        if test is None or test.state == ApprovalState.RETIRED or not test.orderable:
            unknown.append(code)
            continue
        groups.append((None, [test.id], when))
    if unknown:
        raise Invalid("test_unknown", N_("没有这些检验项目：{codes}。"), codes="、".join(unknown))
    if not groups:
        raise Invalid("nothing_ordered", N_("请至少选择一个检验项目。"))
    return each_test_once(groups)


def _add_items(
    session: Session, order_id: uuid.UUID, wanted: Sequence[Wanted], *, first_position: int
) -> list[OrderItem]:
    items = [
        OrderItem(
            order_id=order_id, test_id=each.test_id, panel_id=each.panel_id, timing=each.timing, position=position
        )
        for position, each in enumerate(wanted, first_position)
    ]
    session.add_all(items)
    session.flush()
    return items


def add_tests(session: Session, order_id: uuid.UUID, codes: Sequence[str], *, by: str) -> list[OrderItem]:
    """Add tests to an order (加做); those it has already are left out. Raises `Conflict` for a cancelled order."""
    order = locked(session, order_id)
    if order.state == OrderState.CANCELLED:
        raise Conflict("order_cancelled", N_("医嘱已取消，不能加做；请另开医嘱。"))
    present = {(each.test_id, each.timing) for each in items_of(session, order_id) if each.state != ItemState.CANCELLED}
    last = session.scalar(select(func.max(OrderItem.position)).where(OrderItem.order_id == order_id)) or 0
    wanted = [each for each in wanted_tests(session, codes) if (each.test_id, each.timing) not in present]
    added = _add_items(session, order_id, wanted, first_position=last + 1)
    if added:
        publish(session, TestsAdded(aggregate_id=order_id, item_ids=tuple(each.id for each in added)))
        _record(session, order, "order.add", by, after={"items": list(codes)})
    return added


def cancel_order(
    session: Session,
    order_id: uuid.UUID,
    *,
    reason: str,
    by: str,
    item_ids: Sequence[uuid.UUID] | None = None,
    after_receipt: bool = False,
    with_values: bool = False,
) -> list[OrderItem]:
    """Cancel the order, or only `item_ids` of it. A second cancellation changes nothing and is no error.

    Refused with `Conflict` when one of them was received by the laboratory already (`after_receipt`: the laboratory
    itself may cancel until there is a result; `with_values`: also then, because their tube was rejected and none of
    its values is ever released).
    """
    order = locked(session, order_id)
    if not reason.strip():
        raise Invalid("reason_missing", N_("请填写取消原因。"))
    chosen = OrderItem.order_id == order_id
    if item_ids is not None:
        chosen &= OrderItem.id.in_(item_ids)
    allowed: tuple[ItemState, ...] = CANCELLABLE_IN_LAB if after_receipt else BEFORE_RECEIPT
    if with_values:
        allowed = (*CANCELLABLE_IN_LAB, ItemState.RESULTED)
    cancelled = list(
        session.scalars(
            update(OrderItem)
            .where(chosen, OrderItem.state.in_(allowed))
            .values(state=ItemState.CANCELLED, cancelled_at=clock.now(), cancel_reason=reason)
            .returning(OrderItem)
        )
    )
    too_late = session.scalar(select(func.count()).where(chosen, OrderItem.state != ItemState.CANCELLED))
    if too_late:
        raise Conflict(
            "received_already", N_("有 {count} 个项目的标本已由检验科接收，不能取消；请联系检验科。"), count=too_late
        )
    if not cancelled:
        return []
    left = session.scalar(
        select(func.count()).where(OrderItem.order_id == order_id, OrderItem.state != ItemState.CANCELLED)
    )
    if not left:
        order.state, order.cancelled_at, order.cancel_reason = OrderState.CANCELLED, clock.now(), reason
    publish(
        session,
        OrderCancelled(
            aggregate_id=order_id,
            item_ids=tuple(each.id for each in cancelled),
            specimen_ids=tuple(sorted({each.specimen_id for each in cancelled if each.specimen_id})),
            whole=not left,
            reason=reason,
        ),
    )
    _record(session, order, "order.cancel", by, after={"items": len(cancelled), "whole": not left}, reason=reason)
    return cancelled


def locked(session: Session, order_id: uuid.UUID) -> Order:
    """The order, its row locked until the transaction ends; raises `NotFound`."""
    order = session.get(Order, order_id, with_for_update=True, populate_existing=True)
    if order is None:
        raise NotFound("order_unknown", N_("没有这个医嘱。"))
    return order


def order_by_placer(session: Session, source: str, placer_number: str) -> Order | None:
    return session.scalar(select(Order).where(Order.source == source, Order.placer_number == placer_number))


def items_of(session: Session, order_id: uuid.UUID) -> list[OrderItem]:
    """Every item, cancelled ones too, in their order."""
    found = select(OrderItem).where(OrderItem.order_id == order_id).order_by(OrderItem.position)
    return list(session.scalars(found))


def _record(
    session: Session, order: Order, action: str, by: str, *, after: dict[str, object], reason: str | None = None
) -> None:
    audit.record(
        session, actor=by, action=action, aggregate=("order", str(order.id)), before=None, after=after, reason=reason
    )
