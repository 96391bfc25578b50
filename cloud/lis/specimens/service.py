"""The verbs of a specimen's road: collect, send, receive, done. They never commit.

A claim is one conditional UPDATE: of two people who scan the same tube, one succeeds and the other is told when it was.
Every step appends a `SpecimenEvent`. Labels: `tubing`; the bedside: `collecting`; reject: `refusal`; steps back:
`undoing`; aliquots: `aliquots`; tests added: `adding`; what the other slices of the laboratory call stands here too.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.specimens import charging, rules
from cloud.lis.specimens.events import SpecimenCollected, SpecimenReceived, SpecimenSent
from cloud.lis.specimens.lookup import (
    OPEN_STATES,
    aliquots_of,
    by_barcode,
    find,
    live_items,
    open_specimens,
    timeline,
)
from cloud.lis.specimens.model import (
    ClockSource,
    Specimen,
    SpecimenBarcode,
    SpecimenState,
    TubeFill,
    Whereabouts,
    may_become,
)
from cloud.lis.specimens.record import append, claim, done_before, not_there, tell_pages, tests_changed, told, why_not
from cloud.lis.specimens.tubing import give_tubes, join, make, print_labels
from cloud.web.i18n import mark as N_

__all__ = [
    "OPEN_STATES",
    "aliquots_of",
    "append",
    "bind",
    "by_barcode",
    "claim",
    "collect",
    "find",
    "give_tubes",
    "join",
    "live_items",
    "make",
    "mark_done",
    "on_instrument",
    "open_specimens",
    "print_labels",
    "receive",
    "send",
    "tests_changed",
    "timeline",
]

CLOCKS_MAY_DIFFER = timedelta(minutes=5)
"""A collection may be said to lie this far in the future (a trolley's clock); more is a mistake."""


def collect(
    session: Session,
    barcode: str,
    *,
    by: str,
    at: datetime | None = None,
    place: str = "",
    preprinted: str | None = None,
    device: str = "",
    clock_source: str = ClockSource.SERVER,
    submission: uuid.UUID | None = None,
    reason: str = "",
    detail: dict[str, object] | None = None,
) -> Specimen:
    """The tube was drawn (now, or `at`). `preprinted`: the barcode that stands on the tube and is bound to it.

    The same `submission` again changes nothing and is no error. Raises `NotFound` for an unknown barcode, `Conflict`
    for a tube that is past this step or a barcode in use.
    """
    specimen = by_barcode(session, barcode)
    if done_before(session, specimen, submission):
        return specimen
    moment = at or clock.now()
    if moment > clock.now() + CLOCKS_MAY_DIFFER:
        raise Invalid("collected_in_future", N_("采集时间不能晚于现在。"))
    try:
        if preprinted:
            bind(session, specimen, preprinted, by=by)
        claimed = claim(session, specimen, SpecimenState.COLLECTED, collected_at=moment, collected_by=by)
    except Conflict:
        if done_before(session, specimen, submission):  # the same act, sent twice at once
            return specimen
        raise
    _move_items(session, claimed, (ItemState.ORDERED,), ItemState.COLLECTED)
    append(
        session,
        claimed.id,
        "collected",
        by=by,
        at=moment,
        place=place,
        device=device,
        clock_source=clock_source,
        submission=submission,
        reason=reason,
        detail=detail,
    )
    publish(session, SpecimenCollected(aggregate_id=claimed.id, **told(claimed)))
    tell_pages(session, claimed)
    return claimed


def send(
    session: Session, specimen: Specimen, *, by: str, place: str = "", batch: str = "", device: str = ""
) -> Specimen:
    """The tube is on its way to the laboratory, with a batch that has this number."""
    if specimen.whereabouts == Whereabouts.LOST:
        raise not_there(specimen)
    claimed = claim(session, specimen, SpecimenState.IN_TRANSIT)
    append(session, claimed.id, "sent", by=by, place=place, device=device, detail={"batch": batch} if batch else None)
    publish(session, SpecimenSent(aggregate_id=claimed.id, batch=batch, **told(claimed)))
    tell_pages(session, claimed)
    return claimed


def receive(
    session: Session,
    barcode: str,
    *,
    by: str,
    place: str = "",
    device: str = "",
    submission: uuid.UUID | None = None,
    detail: dict[str, object] | None = None,
) -> Specimen:
    """The tube is in the laboratory. Also straight from the printed label, where nobody scans at the bedside.

    One that was lost on its way is found by this. What it costs is executed with it (`charging`): raises `Conflict` for
    what is being refunded, and for what is not paid where the hospital refuses that.
    """
    specimen = by_barcode(session, barcode)
    if done_before(session, specimen, submission):
        return specimen
    was = specimen.state
    try:
        claimed = claim(session, specimen, SpecimenState.RECEIVED, received_at=clock.now(), received_by=by)
    except Conflict:
        if done_before(session, specimen, submission):
            return specimen
        raise
    # A cancellation that came first leaves nothing to move: then the reception is undone with this transaction.
    moved = _move_items(session, claimed, (ItemState.ORDERED, ItemState.COLLECTED), ItemState.RECEIVED)
    unpaid = charging.received(session, claimed, moved, by=by)
    if claimed.whereabouts == Whereabouts.LOST:
        claimed.whereabouts = Whereabouts.RETRIEVED
        session.flush()
        append(session, claimed.id, "found", by=by, place=place, device=device)
    append(
        session,
        claimed.id,
        "received",
        by=by,
        place=place,
        device=device,
        submission=submission,
        detail={"from": was, **({"unpaid": unpaid} if unpaid else {}), **(detail or {})},
    )
    publish(session, SpecimenReceived(aggregate_id=claimed.id, **told(claimed)))
    tell_pages(session, claimed)
    return claimed


def bind(session: Session, specimen: Specimen, preprinted: str, *, by: str) -> None:
    """From now on the tube carries this pre-printed barcode (预制条码); its own label's barcode still finds it."""
    barcode = rules.clean_barcode(preprinted)
    if not rules.can_be_preprinted(barcode):
        raise Invalid("barcode_not_usable", N_("预制条码只能由 3 至 32 位字母、数字及 . _ / - 组成。"))
    fill = session.get(TubeFill, specimen.tube_id)
    if fill is not None and fill.preprinted_prefix and not barcode.startswith(fill.preprinted_prefix):
        raise Conflict("wrong_tube", N_("条码 {barcode} 不是该标本要求的试管，请核对试管颜色后重扫。"), barcode=barcode)
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
        raise why_not(session, specimen)
    append(session, specimen.id, "bound", by=by, detail={"barcode": barcode})


def on_instrument(session: Session, specimen_id: uuid.UUID, *, device: str, at: datetime | None = None) -> bool:
    """The tube stood on this analyzer: one line of its history for each analyzer; says whether it was new.

    For who takes results in; `at` is the instrument's own moment, where it has one.
    """
    written = session.execute(
        _ON_INSTRUMENT,
        {
            "id": new_id(),
            "specimen_id": specimen_id,
            "device": device[:64],
            "at": at or clock.now(),
            "clock_source": ClockSource.LINE if at else ClockSource.SERVER,
            "recorded_at": clock.now(),
        },
    )
    return bool(written.rowcount)  # type: ignore[attr-defined]


_ON_INSTRUMENT = text(
    """
    INSERT INTO lab_specimen_event (id, specimen_id, type, at, by, place, detail, device, clock_source, recorded_at)
    SELECT CAST(:id AS uuid), CAST(:specimen_id AS uuid), 'on_instrument', CAST(:at AS timestamptz), 'system', '', '{}',
           CAST(:device AS varchar), CAST(:clock_source AS varchar), CAST(:recorded_at AS timestamptz)
    WHERE NOT EXISTS (
        SELECT FROM lab_specimen_event
        WHERE specimen_id = CAST(:specimen_id AS uuid) AND type = 'on_instrument' AND device = CAST(:device AS varchar)
    )
    """
)
"""One statement, since results come by the thousand."""


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
