"""The verbs of specimens: label, collect, receive. (Reject, re-collect and cancel: `refusal`.) They never commit.

A claim is one conditional UPDATE: of two people who scan the same tube, one succeeds and the other is told when it was.
Every step appends a `SpecimenEvent`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.events import publish
from cloud.kit.live import announce
from cloud.lis.catalog import service as catalog
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, Order, OrderItem, OrderState
from cloud.lis.orders.numbers import with_check_digit
from cloud.lis.specimens import rules
from cloud.lis.specimens.events import SpecimenCollected, SpecimenReceived, SpecimenTestsChanged
from cloud.lis.specimens.model import (
    Specimen,
    SpecimenBarcode,
    SpecimenEvent,
    SpecimenState,
    accession_numbers,
    may_become,
)
from cloud.web.i18n import mark as N_

CLOCKS_MAY_DIFFER = timedelta(minutes=5)
"""A collection may be said to lie this far in the future (a trolley's clock); more is a mistake."""
OPEN_STATES = (SpecimenState.PRINTED, SpecimenState.COLLECTED, SpecimenState.RECEIVED)


def print_labels(session: Session, order_id: uuid.UUID, *, by: str) -> list[Specimen]:
    """The order's tubes, in the order of draw: made on the first call, the same ones afterwards (a reprint).

    Tests without a tube join an open tube of their kind, else get one. Raises `Conflict` when nothing is left to draw.
    """
    order = orders.locked(session, order_id)
    if order.state == OrderState.CANCELLED:
        raise Conflict("order_cancelled", N_("医嘱已取消，不能打印条码。"))
    made = give_tubes(session, order, by=by)
    found = open_specimens(session, order_id)
    if not found:
        raise Conflict("nothing_to_draw", N_("此医嘱没有待采集的标本。"))
    for each in found:
        if each.id not in made:
            append(session, each.id, "reprinted", by=by)
    return found


def give_tubes(session: Session, order: Order, *, by: str) -> set[uuid.UUID]:
    """Give every item without a tube its tube; the ids of the tubes that are new. The order's row is locked."""
    waiting = [
        each
        for each in orders.items_of(session, order.id)
        if each.specimen_id is None and each.state == ItemState.ORDERED
    ]
    tests = catalog.tests_by_id(session, [each.test_id for each in waiting])
    tubes = catalog.tubes_by_id(session)
    needs = [
        rules.Need(each.id, test.tube_id, test.specimen_type, tubes[test.tube_id].position)
        for each in waiting
        for test in [tests[each.test_id]]
    ]
    made: set[uuid.UUID] = set()
    for plan in rules.tubes_for(needs):
        specimen = _open_tube(session, order.id, plan.tube_id, plan.specimen_type)
        if specimen is None:
            specimen = make(session, order, plan.tube_id, plan.specimen_type, by=by)
            made.add(specimen.id)
        join(session, specimen, plan.item_ids, by=by, new=specimen.id in made)
    return made


def _open_tube(session: Session, order_id: uuid.UUID, tube_id: uuid.UUID, specimen_type: str) -> Specimen | None:
    found = select(Specimen).where(
        Specimen.order_id == order_id,
        Specimen.tube_id == tube_id,
        Specimen.specimen_type == specimen_type,
        Specimen.state.in_(OPEN_STATES),
    )
    return session.scalars(found.order_by(Specimen.id).with_for_update()).first()


def make(
    session: Session,
    order: Order,
    tube_id: uuid.UUID,
    specimen_type: str,
    *,
    by: str,
    replaces_id: uuid.UUID | None = None,
) -> Specimen:
    """A new tube with a new accession number, its label printed."""
    accession = with_check_digit(session.scalars(select(accession_numbers.next_value())).one())
    specimen = Specimen(
        accession=accession,
        barcode=accession,
        order_id=order.id,
        person_id=order.person_id,
        campus_id=order.campus_id,
        tube_id=tube_id,
        specimen_type=specimen_type,
        priority=order.priority,
        replaces_id=replaces_id,
    )
    session.add(specimen)
    session.flush()
    session.add(SpecimenBarcode(barcode=accession, specimen_id=specimen.id))
    append(session, specimen.id, "printed", by=by)
    return specimen


def join(session: Session, specimen: Specimen, item_ids: Sequence[uuid.UUID], *, by: str, new: bool) -> None:
    """Put items into a tube; into one that is collected or received already they arrive in its state (加做)."""
    state = ItemState.ORDERED
    if specimen.state in (SpecimenState.COLLECTED, SpecimenState.RECEIVED):
        state = ItemState(specimen.state)
    session.execute(
        update(OrderItem)
        .where(OrderItem.id.in_(item_ids), OrderItem.state == ItemState.ORDERED)
        .values(specimen_id=specimen.id, state=state)
    )
    if not new:
        append(session, specimen.id, "tests_added", by=by, detail={"tests": len(item_ids)})
        tests_changed(session, specimen)


def tests_changed(session: Session, specimen: Specimen) -> None:
    """Say that another set of tests is to be done on this tube."""
    publish(
        session,
        SpecimenTestsChanged(aggregate_id=specimen.id, order_id=specimen.order_id, accession=specimen.accession),
    )


def collect(
    session: Session,
    barcode: str,
    *,
    by: str,
    at: datetime | None = None,
    place: str = "",
    preprinted: str | None = None,
) -> Specimen:
    """The tube was drawn (now, or `at`). `preprinted`: the barcode that stands on the tube and is bound to it.

    Raises `NotFound` for an unknown barcode, `Conflict` for a tube that is past this step or a barcode in use.
    """
    specimen = by_barcode(session, barcode)
    moment = at or clock.now()
    if moment > clock.now() + CLOCKS_MAY_DIFFER:
        raise Invalid("collected_in_future", N_("采集时间不能晚于现在。"))
    if preprinted:
        bind(session, specimen, preprinted, by=by)
    claimed = claim(session, specimen, SpecimenState.COLLECTED, collected_at=moment, collected_by=by)
    _move_items(session, claimed, (ItemState.ORDERED,), ItemState.COLLECTED)
    append(session, claimed.id, "collected", by=by, at=moment, place=place)
    publish(session, SpecimenCollected(aggregate_id=claimed.id, **_told(claimed)))
    _announce(session, claimed)
    return claimed


def receive(session: Session, barcode: str, *, by: str, place: str = "") -> Specimen:
    """The tube is in the laboratory. Also straight from the printed label, where nobody scans at the bedside."""
    specimen = by_barcode(session, barcode)
    claimed = claim(session, specimen, SpecimenState.RECEIVED, received_at=clock.now(), received_by=by)
    # A cancellation that came first leaves nothing to move: then the reception is undone with this transaction.
    _move_items(session, claimed, (ItemState.ORDERED, ItemState.COLLECTED), ItemState.RECEIVED)
    append(session, claimed.id, "received", by=by, place=place)
    publish(session, SpecimenReceived(aggregate_id=claimed.id, **_told(claimed)))
    _announce(session, claimed)
    return claimed


def bind(session: Session, specimen: Specimen, preprinted: str, *, by: str) -> None:
    """From now on the tube carries this pre-printed barcode (预制条码); its own label's barcode still finds it."""
    barcode = rules.clean_barcode(preprinted)
    if not rules.can_be_preprinted(barcode):
        raise Invalid("barcode_not_usable", N_("预制条码只能由 3 至 32 位字母、数字及 . _ / - 组成。"))
    try:
        with session.begin_nested():
            session.add(SpecimenBarcode(barcode=barcode, specimen_id=specimen.id, preprinted=True))
    except IntegrityError:
        raise Conflict("barcode_in_use", N_("条码 {barcode} 已绑定其他标本，请换一支试管。"), barcode=barcode) from None
    bound = session.scalar(
        update(Specimen)
        .where(Specimen.id == specimen.id, Specimen.state == SpecimenState.PRINTED)
        .values(barcode=barcode)
        .returning(Specimen.id)
    )
    if bound is None:
        raise _refusal(session, specimen)
    append(session, specimen.id, "bound", by=by, detail={"barcode": barcode})


def find(session: Session, barcode: str) -> Specimen | None:
    """The specimen with this accession or pre-printed barcode, however it was padded; None when there is none."""
    known = session.get(SpecimenBarcode, rules.clean_barcode(barcode))
    return None if known is None else session.get(Specimen, known.specimen_id)


def by_barcode(session: Session, barcode: str) -> Specimen:
    """As `find`; raises `NotFound` with the barcode named."""
    specimen = find(session, barcode)
    if specimen is None:
        shown = rules.clean_barcode(barcode)[:40]
        raise NotFound("barcode_unknown", N_("没有条码为 {barcode} 的标本。请核对条码后重新扫描。"), barcode=shown)
    return specimen


def open_specimens(session: Session, order_id: uuid.UUID) -> list[Specimen]:
    """The tubes of an order that are neither rejected, cancelled nor done, in the order of draw."""
    tubes = catalog.tubes_by_id(session)
    found = session.scalars(select(Specimen).where(Specimen.order_id == order_id, Specimen.state.in_(OPEN_STATES)))
    return sorted(found, key=lambda each: (tubes[each.tube_id].position, each.accession))


def live_items(session: Session, specimen_id: uuid.UUID) -> list[OrderItem]:
    """What is to be done on this tube (cancelled items left out), in the order's order."""
    found = select(OrderItem).where(OrderItem.specimen_id == specimen_id, OrderItem.state != ItemState.CANCELLED)
    return list(session.scalars(found.order_by(OrderItem.position)))


def timeline(session: Session, specimen_id: uuid.UUID) -> list[SpecimenEvent]:
    """Everything that happened to it, oldest first."""
    found = select(SpecimenEvent).where(SpecimenEvent.specimen_id == specimen_id)
    return list(session.scalars(found.order_by(SpecimenEvent.at, SpecimenEvent.id)))


def mark_done(session: Session, specimen_id: uuid.UUID, *, by: str) -> bool:
    """Done once every item is released or cancelled; says whether this call made it so."""
    unfinished = select(OrderItem.id).where(
        OrderItem.specimen_id == specimen_id, OrderItem.state.not_in((ItemState.RELEASED, ItemState.CANCELLED))
    )
    done = session.scalar(
        update(Specimen)
        .where(Specimen.id == specimen_id, Specimen.state.in_(may_become(SpecimenState.DONE)), ~unfinished.exists())
        .values(state=SpecimenState.DONE)
        .returning(Specimen.id)
    )
    if done is not None:
        append(session, specimen_id, "done", by=by)
    return done is not None


def append(
    session: Session,
    specimen_id: uuid.UUID,
    type_: str,
    *,
    by: str,
    at: datetime | None = None,
    place: str = "",
    reason_code: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add one line to the specimen's history."""
    session.add(
        SpecimenEvent(
            specimen_id=specimen_id,
            type=type_,
            at=at or clock.now(),
            by=by,
            place=place,
            reason_code=reason_code,
            detail=detail or {},
        )
    )
    session.flush()


def claim(session: Session, specimen: Specimen, goes_to: SpecimenState, **values: Any) -> Specimen:
    """Move the specimen to a state that the table allows from its present one, or raise why not."""
    claimed = session.scalar(
        update(Specimen)
        .where(Specimen.id == specimen.id, Specimen.state.in_(may_become(goes_to)))
        .values(state=goes_to, **values)
        .returning(Specimen)
        .execution_options(populate_existing=True)
    )
    if claimed is None:
        raise _refusal(session, specimen)
    return claimed


def _refusal(session: Session, specimen: Specimen) -> Conflict:
    """Why the tube is past this step, with the moment, as a sentence for who scanned it."""
    session.refresh(specimen)
    when = specimen.received_at or specimen.collected_at
    moment = clock.local(when).strftime("%H:%M:%S") if when else ""
    sentence = {
        SpecimenState.COLLECTED: N_("标本 {barcode} 已于 {moment} 采集，不能重复采集。"),
        SpecimenState.RECEIVED: N_("标本 {barcode} 已于 {moment} 接收，不能重复操作。"),
        SpecimenState.REJECTED: N_("标本 {barcode} 已拒收，请使用重采的新标本。"),
        SpecimenState.CANCELLED: N_("标本 {barcode} 的医嘱已取消。"),
        SpecimenState.DONE: N_("标本 {barcode} 已完成检验。"),
    }.get(SpecimenState(specimen.state), N_("标本 {barcode} 的状态不允许此操作。"))
    return Conflict(f"specimen_{specimen.state}", sentence, barcode=specimen.barcode, moment=moment)


def _move_items(
    session: Session, specimen: Specimen, come_from: Sequence[ItemState], goes_to: ItemState
) -> list[uuid.UUID]:
    moved = list(
        session.scalars(
            update(OrderItem)
            .where(OrderItem.specimen_id == specimen.id, OrderItem.state.in_(come_from))
            .values(state=goes_to)
            .returning(OrderItem.id)
        )
    )
    if not moved:
        raise Conflict("all_cancelled", N_("标本 {barcode} 的医嘱已取消。"), barcode=specimen.barcode)
    return moved


def _told(specimen: Specimen) -> dict[str, Any]:
    return {
        "order_id": specimen.order_id,
        "person_id": specimen.person_id,
        "accession": specimen.accession,
        "priority": specimen.priority,
    }


def _announce(session: Session, specimen: Specimen) -> None:
    announce(session, "specimens", {"specimen": str(specimen.id), "state": specimen.state})
