"""Collection at the bedside: patient first, then tube. What is wrong is refused, what is doubtful is asked."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import Conflict, XinglinError
from cloud.lis.catalog import service as catalog
from cloud.lis.orders import timing
from cloud.lis.orders.model import ItemState, Order, OrderItem, OrderState
from cloud.lis.specimens import lookup, policy, record, service, timed
from cloud.lis.specimens.model import ClockSource, Specimen, SpecimenState, TestCollection, Whereabouts
from cloud.people.identity import person_ids, surviving_id
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Question:
    """What the collector must answer for before this tube counts as drawn."""

    code: str
    sentence: str
    fields: dict[str, Any] = field(default_factory=dict)
    needs_reason: bool = False
    """A yes is not enough: the collector says why."""


def waiting_for(session: Session, person_id: uuid.UUID) -> list[Specimen]:
    """The tubes to be drawn from this person, in the order of draw (labels that are printed)."""
    tubes = catalog.tubes_by_id(session)
    ids = person_ids(session, person_id)
    found = session.scalars(
        select(Specimen).where(Specimen.person_id.in_(ids), Specimen.state == SpecimenState.PRINTED)
    )
    listed = list(found)
    due = timed.due_of(session, listed)
    return sorted(
        listed,
        key=lambda each: (
            timing.draw_rank(due.get(each.id, timed.NOTHING).timing),
            tubes[each.tube_id].position,
            each.accession,
        ),
    )


def refusal_of(session: Session, specimen: Specimen, person_id: uuid.UUID | None) -> XinglinError | None:
    """Why this tube may not be drawn now from this person; None when it may."""
    if person_id is not None and surviving_id(session, specimen.person_id) != surviving_id(session, person_id):
        return Conflict(
            "wrong_patient", N_("这支试管不属于该患者：{barcode}。请停止，核对腕带与试管。"), barcode=specimen.barcode
        )
    if specimen.state != SpecimenState.PRINTED:
        return record.why_not(session, specimen)
    order = session.get_one(Order, specimen.order_id)
    if order.state == OrderState.CANCELLED:
        return Conflict("specimen_cancelled", N_("标本 {barcode} 的医嘱已取消。"), barcode=specimen.barcode)
    days = policy.value(session, "order_days")
    if days is not None and clock.now() - order.ordered_at > timedelta(days=days):
        return Conflict(
            "order_expired",
            N_("申请开立于 {moment}，已超过有效期 {days} 天，请联系医生重新开立。"),
            moment=clock.local(order.ordered_at).strftime("%Y-%m-%d"),
            days=days,
        )
    if specimen.whereabouts == Whereabouts.DISCARDED:
        return record.not_there(specimen)
    return None


def questions(session: Session, specimen: Specimen, at: datetime) -> list[Question]:
    """What to ask about a tube that may be drawn: fasting, a time it was ordered for, words for the collector."""
    rows = session.execute(
        select(TestCollection, OrderItem.test_id)
        .join(OrderItem, OrderItem.test_id == TestCollection.test_id)
        .where(OrderItem.specimen_id == specimen.id, OrderItem.state != ItemState.CANCELLED)
        .order_by(OrderItem.position)
    ).all()
    tests = catalog.tests_by_id(session, [test_id for _, test_id in rows])
    asked = []
    fasting = [tests[each.test_id].short_name for each, _ in rows if each.fasting]
    if fasting:
        said = N_("以下项目要求空腹：{tests}。请确认患者已空腹。")
        asked.append(Question("fasting", said, {"tests": "、".join(fasting)}))
    noted = dict.fromkeys(each.note for each, _ in rows if each.note)
    if noted:
        asked.append(Question("note", N_("采集要求：{note}"), {"note": "；".join(noted)}))
    off = timed.off_time(session, specimen, at)
    if off is not None:
        asked.append(_off_question(off))
    return asked


OFF_SENTENCES = {
    "unknown": N_("尚未登记{start}时间，无法核对 {said} 的采集时间；请先登记，或写明原因。"),
    "early": N_("{said}应于 {moment} 采集，现在早 {minutes} 分钟。"),
    "late": N_("{said}应于 {moment} 采集，现在晚 {minutes} 分钟。"),
}


def _off_question(off: timed.Off) -> Question:
    if off.minutes is None or off.due.at is None:
        start = _(timing.START_NAMES[timing.Since(off.due.waits_for)])
        return Question("timed", OFF_SENTENCES["unknown"], {"start": start, "said": off.due.said}, needs_reason=True)
    said = {
        "said": off.due.said,
        "moment": clock.local(off.due.at).strftime("%m-%d %H:%M"),
        "minutes": abs(off.minutes),
    }
    return Question("timed", OFF_SENTENCES["late" if off.minutes > 0 else "early"], said, off.needs_reason)


def collect_at_bedside(
    session: Session,
    barcode: str,
    *,
    by: str,
    person_id: uuid.UUID,
    confirmed: Collection[str] = (),
    reason: str = "",
    submission: uuid.UUID | None = None,
    at: datetime | None = None,
    place: str = "",
    device: str = "",
    preprinted: str | None = None,
) -> tuple[Specimen, list[Question]]:
    """The tube was drawn from this person, whose wristband was scanned; or what must be answered first.

    Questions that are not among `confirmed`, or ask for a `reason` that is not there, are given back and nothing is
    written. `at`: the device's own moment,
    where it kept the scan while it had no network. The same `submission` again is no error.
    """
    specimen = lookup.by_barcode(session, barcode)
    if record.done_before(session, specimen, submission):
        return specimen, []
    refused = refusal_of(session, specimen, person_id)
    if refused is not None:
        raise refused
    moment = at or clock.now()
    asked = questions(session, specimen, moment)
    open_ = [each for each in asked if each.code not in confirmed or (each.needs_reason and not reason.strip())]
    if open_:
        return specimen, open_
    off = timed.off_time(session, specimen, moment)
    collected = service.collect(
        session,
        barcode,
        by=by,
        at=at,
        place=place,
        preprinted=preprinted,
        device=device,
        clock_source=ClockSource.DEVICE if at else ClockSource.SERVER,
        submission=submission,
        reason=reason.strip() if any(each.needs_reason for each in asked) else "",
        detail={"patient_scanned": True, "confirmed": sorted(confirmed), **timed.kept(off)},
    )
    return collected, []


def drawn(session: Session, person_id: uuid.UUID, states: Collection[str], *, limit: int = 20) -> list[Specimen]:
    """The person's tubes in these states, last drawn first."""
    found = select(Specimen).where(
        Specimen.person_id.in_(person_ids(session, person_id)), Specimen.state.in_(tuple(states))
    )
    return list(session.scalars(found.order_by(Specimen.collected_at.desc()).limit(limit)))
