"""Tubes that are drawn at a time: when each is due, when the meal or the glucose was, and who drew it off its time.

How far off is allowed is the director's setting (`policy` timed_minutes): within it nothing is asked, beyond it a
reason is. Not set: any difference is shown to be confirmed, a reason is not asked.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.orders import timing
from cloud.lis.orders.model import ItemState, Order, OrderItem
from cloud.lis.specimens import policy
from cloud.lis.specimens.model import Specimen, SpecimenState, TestCollection, TimedStart
from cloud.lis.specimens.tubing import timing_of
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Due:
    """When a tube is to be drawn. `waits_for`: nobody knows before this is said (`timing.Since`)."""

    timing: str
    at: datetime | None
    waits_for: str = ""

    @property
    def said(self) -> str:
        return timing.said(self.timing) if self.timing else ""


NOTHING = Due("", None)


def due_of(session: Session, specimens: Collection[Specimen]) -> dict[uuid.UUID, Due]:
    """Of each tube that has a time; the others are left out."""
    order_ids = {each.order_id for each in specimens}
    orders = {each.id: each for each in session.scalars(select(Order).where(Order.id.in_(order_ids)))}
    timings = _timings(session, [each.id for each in specimens])
    starts = begun(session, order_ids)
    found = {}
    for each in specimens:
        text, order = timings.get(each.id, ""), orders[each.order_id]
        known = timing.parse(text)
        if known is None:
            if order.collect_at is not None:
                found[each.id] = Due("", order.collect_at)
            continue
        start = starts.get((each.order_id, known.since)) if known.since else None
        at = timing.due(
            text, ordered_at=order.collect_at or order.ordered_at, zone=clock.hospital_zone(), begun_at=start
        )
        found[each.id] = Due(text, at, str(known.since) if known.starts and start is None else "")
    return found


def _timings(session: Session, specimen_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    rows = session.execute(
        select(OrderItem, TestCollection)
        .outerjoin(TestCollection, TestCollection.test_id == OrderItem.test_id)
        .where(OrderItem.specimen_id.in_(tuple(specimen_ids)), OrderItem.state != ItemState.CANCELLED)
        .order_by(OrderItem.position)
    )
    found: dict[uuid.UUID, str] = {}
    for item, wanted in rows:
        text = timing_of(item, wanted)
        if text and item.specimen_id is not None:
            found.setdefault(item.specimen_id, text)
    return found


def begun(session: Session, order_ids: Collection[uuid.UUID]) -> dict[tuple[uuid.UUID, str], datetime]:
    """When the meal, load or dose of each order was, as said last."""
    rows = session.scalars(
        select(TimedStart).where(TimedStart.order_id.in_(tuple(order_ids))).order_by(TimedStart.recorded_at)
    )
    return {(each.order_id, each.since): each.at for each in rows}


def waits_for(session: Session, specimens: Collection[Specimen]) -> dict[tuple[uuid.UUID, str], datetime | None]:
    """What the tubes' times count from, by order and kind: when it was, None where nobody said."""
    texts = _timings(session, [each.id for each in specimens])
    times = {each.id: timing.parse(texts.get(each.id, "")) for each in specimens}
    since = {
        (each.order_id, str(known.since))
        for each in specimens
        if (known := times[each.id]) is not None and known.since in timing.STARTS
    }
    known_starts = begun(session, {order_id for order_id, _ in since})
    return {key: known_starts.get(key) for key in sorted(since, key=str)}


def begin(
    session: Session, order_id: uuid.UUID, since: str, *, by: str, at: datetime | None = None, reason: str = ""
) -> TimedStart:
    """The patient ate, drank the glucose or got the dose now (or `at`).

    Said again it corrects, with a reason; not once a tube was drawn by it: `Conflict`, the order is placed anew then.
    """
    if since not in timing.STARTS:
        raise Invalid("start_unknown", N_("请选择进餐、服糖或给药。"))
    moment = at or clock.now()
    if moment > clock.now() + timedelta(minutes=5):
        raise Invalid("start_in_future", N_("开始时间不能晚于现在。"))
    session.get_one(Order, order_id, with_for_update=True, populate_existing=True)
    before = begun(session, [order_id]).get((order_id, since))
    if before is not None:
        if not reason.strip():
            raise Invalid("start_known", N_("已登记开始时间；更正请写明原因。"))
        if _drawn_by(session, order_id, since):
            raise Conflict("start_used", N_("已有试管按此时间采集，不能更正；请重新申请。"))
    start = TimedStart(order_id=order_id, since=since, at=moment, by=by, reason=reason.strip())
    session.add(start)
    session.flush()
    audit.record(
        session,
        actor=by,
        action="specimen.timed_start",
        aggregate=("order", str(order_id)),
        before={"at": before.isoformat()} if before else None,
        after={"since": since, "at": moment.isoformat()},
        reason=reason.strip() or None,
    )
    return start


def _drawn_by(session: Session, order_id: uuid.UUID, since: str) -> bool:
    drawn = list(
        session.scalars(
            select(Specimen).where(
                Specimen.order_id == order_id,
                Specimen.state.not_in((SpecimenState.PRINTED, SpecimenState.CANCELLED)),
            )
        )
    )
    times = [timing.parse(each) for each in _timings(session, [each.id for each in drawn]).values()]
    return any(each is not None and each.since == since and each.starts for each in times)


@dataclass(frozen=True, slots=True)
class Off:
    """A tube drawn at another time than it was ordered for. `minutes`: late; negative: early; None: start unknown."""

    due: Due
    minutes: int | None
    needs_reason: bool


def off_time(session: Session, specimen: Specimen, at: datetime) -> Off | None:
    """Whether drawing this tube at `at` is off its time; None when it has none or it is kept."""
    due = due_of(session, [specimen]).get(specimen.id, NOTHING)
    if due.waits_for:
        return Off(due, None, needs_reason=True)
    if due.at is None:
        return None
    allowed = policy.value(session, "timed_minutes")
    if abs(at - due.at) <= timedelta(minutes=allowed or 0):
        return None
    late = round((at - due.at) / timedelta(minutes=1))
    return None if late == 0 else Off(due, late, needs_reason=allowed is not None)


def kept(off: Off | None) -> dict[str, object]:
    """What the specimen's history keeps of it."""
    if off is None:
        return {}
    due = off.due.at
    return {"timing": off.due.timing, "off_minutes": off.minutes, "due": due.isoformat() if due else None}


def refuse_off_time(session: Session, specimen: Specimen, at: datetime) -> None:
    """For collection without questions (the scanning desk): `Conflict` where a reason would be asked for."""
    off = off_time(session, specimen, at)
    if specimen.state == SpecimenState.PRINTED and off is not None and off.needs_reason:
        raise Conflict(
            "off_time",
            N_("标本 {barcode} 为定时采集（{said}），与要求时间不符；请在“床旁采集”登记并写明原因。"),
            barcode=specimen.barcode,
            said=off.due.said or (clock.local(off.due.at).strftime("%m-%d %H:%M") if off.due.at else ""),
        )


def remarks(session: Session, specimen: Specimen) -> tuple[str, ...]:
    """What the report says of the tube's time: as ordered, in Chinese as all of the paper. One tube, one time."""
    found = session.scalars(
        select(OrderItem.timing).where(
            OrderItem.specimen_id == specimen.id, OrderItem.timing != "", OrderItem.state != ItemState.CANCELLED
        )
    ).first()
    return (f"采集时点：{timing.said(found, str)}。",) if found else ()
