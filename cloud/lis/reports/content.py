"""What a version of a report says, gathered once at release from order, person, specimen and released results."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.hospital.model import Campus, Department
from cloud.kit import clock
from cloud.lis.catalog.model import Panel, Test
from cloud.lis.instruments.model import Instrument
from cloud.lis.orders.model import ItemState, Order, OrderItem
from cloud.lis.reports import beside, form_store
from cloud.lis.reports.changes import changes
from cloud.lis.reports.forms import Asked, Form, FormSettings, choose
from cloud.lis.reports.model import ReportState
from cloud.lis.reports.view import ReportContent, ReportItem, SignatureUsed
from cloud.lis.results.model import Result, ResultState
from cloud.lis.specimens.model import Specimen
from cloud.people.model import PersonIdentifier
from cloud.people.service import get as person_of
from cloud.people.service import person_ids


@dataclass(frozen=True, slots=True)
class Edition:
    """What the release itself decides about a version."""

    version: int
    kind: str
    released_at: datetime
    released_by: str
    comment: str | None
    reason: str | None = None
    corrected: Mapping[uuid.UUID, str] | None = None
    """Value before, by test id, of what an amendment changed."""
    released_by_id: uuid.UUID | None = None
    before: ReportContent | None = None
    """The version that an amendment replaces."""


def gather(session: Session, specimen: Specimen, edition: Edition) -> ReportContent:
    """The content to freeze. Patient fields are those of the person's file at this moment."""
    order = session.get_one(Order, specimen.order_id)
    person = person_of(session, order.person_id)
    department = session.get_one(Department, order.department_id)
    lines = _lines(session, specimen.id)
    released = [(item, test, result) for item, test, result in lines if result is not None]
    taken = clock.local(specimen.collected_at or specimen.received_at or order.ordered_at).date()
    corrected = edition.corrected or {}
    form = _form(session, specimen, lines)
    look = form.settings
    results = [result for _, _, result in released]
    recalled = beside.recalled_previous(session, results)
    found = beside.past(session, specimen, results, _looked_back(look) or (1 if recalled else 0))
    analyzers = _analyzers(session, results) if look.instruments else {}
    made = ReportContent(
        hospital=settings().hospital_name,
        campus=session.get_one(Campus, specimen.campus_id).name,
        title=_title(session, [item for item, _, _ in lines]),
        report_number=specimen.accession if edition.version == 1 else f"{specimen.accession}-{edition.version}",
        accession=specimen.accession,
        barcode=specimen.barcode,
        patient_name=person.name,
        sex=person.sex,
        age_text=age_text(person.birth_date, taken),
        birth_date=person.birth_date.isoformat() if person.birth_date else None,
        mrn=_mrn(session, person.id),
        department=department.name,
        ordered_by=order.ordered_by,
        visit_number=order.visit_number,
        diagnosis=order.diagnosis,
        order_number=order.number,
        placer_number=order.placer_number,
        priority=order.priority,
        specimen_type=specimen.specimen_type,
        ordered_at=order.ordered_at.isoformat(),
        collected_at=_iso(specimen.collected_at),
        received_at=_iso(specimen.received_at),
        released_at=edition.released_at.isoformat(),
        reviewed_by="、".join(dict.fromkeys(result.reviewed_by_name or "" for _, _, result in released)).strip("、"),
        released_by=edition.released_by,
        kind=edition.kind,
        version=edition.version,
        comment=edition.comment,
        reason=edition.reason,
        draft=any(result.draft for _, _, result in released),
        items=tuple(
            replace(
                _item(test, result, corrected.get(test.id)),
                **beside.before(result, found.get(test.id, ()), recalled, look.previous),
                instrument=analyzers.get(result.instrument_id, ""),
                referral=dict(look.referrals).get(test.code, ""),
            )
            for _, test, result in released
        ),
        missing=tuple(test.name for _, test, result in lines if result is None),
        images=beside.images(session, specimen.id, look.pictures),
        remarks=beside.remarks(session, specimen),
        trends=beside.trends([(test, result) for _, test, result in released], found, look.trends),
        signatures=_signatures(session, results, edition) if look.signatures else (),
        bed=order.bed,
        form=form_store.keep(session, form),
    )
    if edition.before is None or edition.kind != ReportState.AMENDED:
        return made
    return replace(made, changes=changes(edition.before, made), supersedes_at=edition.before.released_at)


Line = tuple[OrderItem, Test, Result | None]


def _form(session: Session, specimen: Specimen, lines: Sequence[Line]) -> Form:
    """By what was ordered on the tube, so that a preliminary report and the final one look the same."""
    panels = {item.panel_id for item, _, _ in lines if item.panel_id is not None}
    codes = session.scalars(select(Panel.code).where(Panel.id.in_(panels))) if panels else ()
    asked = Asked(
        sections=frozenset(test.section for _, test, _ in lines),
        specimen_type=specimen.specimen_type,
        value_types=frozenset(test.value_type for _, test, _ in lines),
        panels=frozenset(codes),
    )
    return choose(form_store.current(session), asked)


def _looked_back(look: FormSettings) -> int:
    """How many earlier values of each test are read: none where the result's own previous one is enough."""
    if look.trends:
        return beside.LONGEST_TREND - 1
    return look.previous if look.previous > 1 else 0


def _analyzers(session: Session, results: Sequence[Result]) -> dict[uuid.UUID | None, str]:
    ids = {each.instrument_id for each in results if each.instrument_id is not None}
    rows = session.execute(select(Instrument.id, Instrument.name).where(Instrument.id.in_(ids)))
    return {row.id: row.name for row in rows}


def _signatures(session: Session, results: Sequence[Result], edition: Edition) -> tuple[SignatureUsed, ...]:
    """Images on file of the one technical reviewer and of who released; several reviewers stand as names."""
    reviewers = {(each.reviewed_by, each.reviewed_by_name or "") for each in results if each.reviewed_by is not None}
    signers = [("review", *each) for each in reviewers if len(reviewers) == 1]
    if edition.released_by_id is not None:
        signers.append(("release", edition.released_by_id, edition.released_by))
    on_file = form_store.signatures_of(session, [staff_id for _, staff_id, _ in signers if staff_id is not None])
    return tuple(SignatureUsed(act, name, on_file[each]) for act, each, name in signers if each in on_file)


def _lines(session: Session, specimen_id: uuid.UUID) -> list[Line]:
    rows = session.execute(
        select(OrderItem, Test, Result)
        .join(Test, Test.id == OrderItem.test_id)
        .outerjoin(
            Result,
            (Result.order_item_id == OrderItem.id)
            & (Result.specimen_id == OrderItem.specimen_id)
            & Result.chosen
            & (Result.state == ResultState.RELEASED),
        )
        .where(OrderItem.specimen_id == specimen_id, OrderItem.state != ItemState.CANCELLED)
        .order_by(OrderItem.position, Test.position, Test.code)
        .execution_options(populate_existing=True)
    )
    return [(item, test, result) for item, test, result in rows]


def _title(session: Session, items: Sequence[OrderItem]) -> str:
    """The ordered panels' names; nothing where tests were ordered one by one."""
    panels = {item.panel_id for item in items if item.panel_id is not None}
    if not panels:
        return ""
    rows = session.scalars(select(Panel).where(Panel.id.in_(panels)).order_by(Panel.position))
    return "、".join(each.name for each in rows)


def _mrn(session: Session, person_id: uuid.UUID) -> str | None:
    return session.scalar(
        select(PersonIdentifier.value)
        .where(PersonIdentifier.person_id.in_(person_ids(session, person_id)), PersonIdentifier.system == "mrn")
        .order_by(PersonIdentifier.created_at)
        .limit(1)
    )


def _item(test: Test, result: Result, corrected_from: str | None) -> ReportItem:
    return ReportItem(
        code=test.code,
        name=test.name,
        name_en=test.name_en,
        short_name=test.short_name,
        value=result.value_text,
        unit=result.unit or "",
        flag=result.flag,
        range_text=result.range_text or "",
        method=test.method,
        loinc=test.loinc,
        draft=result.draft,
        critical=result.critical,
        sensitive=result.sensitive,
        observed_at=_iso(result.observed_at),
        corrected_from=corrected_from,
        value_type=test.value_type,
    )


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def age_text(birth_date: date | None, on: date) -> str:
    """Age on the day of collection as a report prints it: days below a month, months below three years, else years."""
    if birth_date is None or birth_date > on:
        return ""
    months = (on.year - birth_date.year) * 12 + on.month - birth_date.month - (on.day < birth_date.day)
    if months < 1:
        return f"{(on - birth_date).days}天"
    if months < 36:
        return f"{months}个月"
    return f"{months // 12}岁"
