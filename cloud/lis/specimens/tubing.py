"""From ordered tests to labelled tubes: which tubes an order needs, their labels, and labels printed again."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloud.kit.errors import Conflict
from cloud.lis.catalog import service as catalog
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, Order, OrderItem, OrderState
from cloud.lis.orders.numbers import with_check_digit
from cloud.lis.specimens import grouping
from cloud.lis.specimens.lookup import OPEN_STATES, live_items, open_specimens
from cloud.lis.specimens.model import (
    Specimen,
    SpecimenBarcode,
    SpecimenEvent,
    SpecimenState,
    TestCollection,
    TubeFill,
    Whereabouts,
    accession_numbers,
)
from cloud.lis.specimens.record import append, needs_reason, tests_changed
from cloud.web.i18n import mark as N_


def print_labels(
    session: Session, order_id: uuid.UUID, *, by: str, reason: str = "", device: str = ""
) -> list[Specimen]:
    """The order's tubes, in the order of draw: made on the first call, the same ones afterwards (a reprint).

    Tests without a tube join an open tube of their kind that has room, else get one. Raises `Conflict` when nothing
    is left to draw.
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
            _printed_again(session, each.id, by=by, reason=reason, device=device)
    return found


def reprint(session: Session, specimen: Specimen, *, by: str, reason: str, device: str = "") -> int:
    """One label again, with the reason (torn, printer out of paper); how many times it has been printed now."""
    return _printed_again(session, specimen.id, by=by, reason=needs_reason(reason), device=device)


def _printed_again(session: Session, specimen_id: uuid.UUID, *, by: str, reason: str, device: str) -> int:
    count = times_printed(session, [specimen_id]).get(specimen_id, 0) + 1
    append(session, specimen_id, "reprinted", by=by, reason=reason, device=device, detail={"count": count})
    return count


def times_printed(session: Session, specimen_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
    """How often each label was printed."""
    rows = session.execute(
        select(SpecimenEvent.specimen_id, func.count())
        .where(
            SpecimenEvent.specimen_id.in_(tuple(specimen_ids)),
            SpecimenEvent.type.in_(("printed", "reprinted", "aliquot_made")),
        )
        .group_by(SpecimenEvent.specimen_id)
    )
    return {row[0]: row[1] for row in rows}


def give_tubes(session: Session, order: Order, *, by: str) -> set[uuid.UUID]:
    """Give every item without a tube its tube; the ids of the tubes that are new. The order's row is locked."""
    waiting = [
        each
        for each in orders.items_of(session, order.id)
        if each.specimen_id is None and each.state == ItemState.ORDERED
    ]
    if not waiting:
        return set()
    usable = usable_volumes(session)
    made: set[uuid.UUID] = set()
    for plan in grouping.tubes_for(needs_of(session, waiting), usable, _tubes_there(session, order.id)):
        if plan.specimen_id is None:
            specimen = make(session, order, plan.tube_id, plan.specimen_type, by=by)
            made.add(specimen.id)
        else:
            specimen = session.get_one(Specimen, plan.specimen_id)
        join(session, specimen, plan.item_ids, by=by, new=specimen.id in made)
    return made


def needs_of(session: Session, items: Sequence[OrderItem]) -> list[grouping.Need]:
    """What these items ask of tubes."""
    test_ids = [each.test_id for each in items]
    tests, tubes = catalog.tests_by_id(session, test_ids), catalog.tubes_by_id(session)
    asked = {
        each.test_id: each
        for each in session.scalars(select(TestCollection).where(TestCollection.test_id.in_(test_ids)))
    }
    needs = []
    for item in items:
        test, wanted = tests[item.test_id], asked.get(item.test_id)
        needs.append(
            grouping.Need(
                item_id=item.id,
                tube_id=test.tube_id,
                specimen_type=test.specimen_type,
                draw_order=tubes[test.tube_id].position,
                volume_ul=(wanted.volume_ul or 0) if wanted else 0,
                line=wanted.line if wanted else "",
                panel_id=item.panel_id,
                timing=timing_of(item, wanted),
            )
        )
    return needs


def timing_of(item: OrderItem, wanted: TestCollection | None) -> str:
    """When it is drawn: as ordered, else as the test always asks."""
    return item.timing or (wanted.timing if wanted else "")


def usable_volumes(session: Session) -> dict[uuid.UUID, int | None]:
    """What of each kind of tube can be measured, microlitres; None where nobody said."""
    return {
        each.tube_id: grouping.usable_ul(each.max_fill_ul, each.dead_volume_ul, each.yield_percent)
        for each in session.scalars(select(TubeFill))
    }


def _tubes_there(session: Session, order_id: uuid.UUID) -> list[grouping.OpenTube]:
    """Open tubes of the order that can take tests: no aliquot, none that is gone. Their rows are locked."""
    found = session.scalars(
        select(Specimen)
        .where(
            Specimen.order_id == order_id,
            Specimen.state.in_(OPEN_STATES),
            Specimen.parent_id.is_(None),
            Specimen.whereabouts.not_in((Whereabouts.DISCARDED, Whereabouts.LOST)),
        )
        .order_by(Specimen.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    there = []
    for each in found:
        on_it = needs_of(session, live_items(session, each.id))
        there.append(
            grouping.OpenTube(
                each.id,
                each.tube_id,
                each.specimen_type,
                used_ul=sum(need.volume_ul for need in on_it),
                line=next((need.line for need in on_it if need.line), ""),
                timing=next((need.timing for need in on_it if need.timing), ""),
            )
        )
    return there


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
    specimen = new_row(session, order, tube_id, specimen_type, replaces_id=replaces_id)
    append(session, specimen.id, "printed", by=by)
    return specimen


def new_row(
    session: Session,
    order: Order,
    tube_id: uuid.UUID,
    specimen_type: str,
    *,
    replaces_id: uuid.UUID | None = None,
    parent_id: uuid.UUID | None = None,
) -> Specimen:
    """The row and its barcode; the caller writes the first line of its history."""
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
        parent_id=parent_id,
    )
    session.add(specimen)
    session.flush()
    session.add(SpecimenBarcode(barcode=accession, specimen_id=specimen.id))
    return specimen


def join(session: Session, specimen: Specimen, item_ids: Sequence[uuid.UUID], *, by: str, new: bool) -> None:
    """Put items into a tube; into one that is collected or received already they arrive in its state (加做)."""
    session.execute(
        update(OrderItem)
        .where(OrderItem.id.in_(item_ids), OrderItem.state == ItemState.ORDERED)
        .values(specimen_id=specimen.id, state=item_state_on(specimen))
    )
    if not new:
        append(session, specimen.id, "tests_added", by=by, detail={"tests": len(item_ids)})
        tests_changed(session, specimen)


def item_state_on(specimen: Specimen) -> ItemState:
    """The state of an unfinished test on a tube in its state."""
    if specimen.state == SpecimenState.RECEIVED:
        return ItemState.RECEIVED
    collected = specimen.state in (SpecimenState.COLLECTED, SpecimenState.IN_TRANSIT) and specimen.collected_at
    return ItemState.COLLECTED if collected else ItemState.ORDERED
