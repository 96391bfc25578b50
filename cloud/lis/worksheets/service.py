"""The verbs of worksheets: what waits, make, add a tube, type into a cell (once or twice), close. They never commit."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ARRAY, Select, Text, cast, func, select, update
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.lis.catalog.model import Test
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.results.double_entry import DoubleEntry, FirstEntry, first_of_two
from cloud.lis.results.model import Result
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.lis.results.typed import TypedValue
from cloud.lis.results.value_entry import enter_value
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.worksheets.model import Worksheet, WorksheetRow, worksheet_numbers
from cloud.people.access import Subject, visible_to
from cloud.web.i18n import mark as N_

MOST_ROWS = 100
MOST_TESTS = 12


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of a typed cell: a result, or the first of two entries."""

    result: Result | None
    first: FirstEntry | None = None
    differs: bool = False
    """The second entry was not like the first: it is the first of a new pair."""


def waiting_specimens(
    session: Session, subject: Subject, test_ids: Collection[uuid.UUID], *, limit: int = MOST_ROWS
) -> list[Specimen]:
    """Received tubes on which one of the tests waits for its value, on no open worksheet of these tests; the oldest
    first."""
    waits = (
        select(OrderItem.specimen_id)
        .where(OrderItem.test_id.in_(test_ids), OrderItem.state == ItemState.RECEIVED)
        .where(OrderItem.specimen_id.is_not(None))
    )
    found = (
        select(Specimen)
        .where(
            Specimen.id.in_(waits),
            Specimen.state == SpecimenState.RECEIVED,
            Specimen.person_id.in_(visible_to(subject)),
            Specimen.id.not_in(_taken(test_ids)),
        )
        .order_by(Specimen.received_at, Specimen.accession)
        .limit(limit)
    )
    return list(session.scalars(found))


def _taken(test_ids: Collection[uuid.UUID]) -> Select[uuid.UUID]:
    """Specimens that stand on an open worksheet with one of these tests."""
    wanted = cast([str(each) for each in test_ids], ARRAY(Text))
    return (
        select(WorksheetRow.specimen_id)
        .join(Worksheet, Worksheet.id == WorksheetRow.worksheet_id)
        .where(Worksheet.closed_at.is_(None), func.jsonb_exists_any(Worksheet.test_ids, wanted))
    )


def tests_of_codes(session: Session, codes: Sequence[str]) -> list[Test]:
    """The tests of these codes (a panel gives its tests), for the columns. Raises `Invalid`."""
    wanted = orders.wanted_tests(session, codes)
    if len(wanted) > MOST_TESTS:
        raise Invalid("worksheet.wide", N_("一张工作单最多 {count} 个项目。"), count=MOST_TESTS)
    by_id = {each.id: each for each in session.scalars(select(Test).where(Test.id.in_([w.test_id for w in wanted])))}
    return [by_id[each.test_id] for each in wanted]


def make(
    session: Session, subject: Subject, tests: Sequence[Test], *, by: Signatory, title: str = "", rows: int = MOST_ROWS
) -> Worksheet:
    """A worksheet of what waits for these tests, the oldest tubes first."""
    authorise(by, "result.review")
    found = waiting_specimens(session, subject, [each.id for each in tests], limit=min(rows, MOST_ROWS))
    worksheet = Worksheet(
        number=f"W{session.scalars(select(worksheet_numbers.next_value())).one()}",
        title=title.strip()[:60] or "、".join(each.short_name for each in tests),
        test_ids=[str(each.id) for each in tests],
        made_by=by.id,
        made_by_name=by.name,
    )
    session.add(worksheet)
    session.flush()
    session.add_all(
        WorksheetRow(worksheet_id=worksheet.id, specimen_id=each.id, position=at) for at, each in enumerate(found, 1)
    )
    session.flush()
    _record(session, worksheet, "worksheet.make", by, {"tests": worksheet.test_ids, "specimens": len(found)})
    return worksheet


def add_tube(session: Session, worksheet_id: uuid.UUID, barcode: str, *, by: Signatory) -> Specimen:
    """The scanned tube gets the next place. Refused: twice, not received, none of the sheet's tests ordered."""
    authorise(by, "result.review")
    worksheet = open_sheet(session, worksheet_id, lock=True)
    specimen = specimens.by_barcode(session, barcode)
    if specimen.state != SpecimenState.RECEIVED:
        raise Conflict("worksheet.not_received", N_("标本 {barcode} 未签收或已完成，不能加入工作单。"), barcode=barcode)
    tests = {uuid.UUID(each) for each in worksheet.test_ids}
    ordered = {each.test_id for each in specimens.live_items(session, specimen.id)}
    if not tests & ordered:
        raise Conflict("worksheet.not_ordered", N_("标本 {barcode} 没有申请本工作单的项目。"), barcode=barcode)
    if session.scalar(_taken(tests & ordered).where(WorksheetRow.specimen_id == specimen.id)) is not None:
        raise Conflict("worksheet.twice", N_("标本 {barcode} 已在未完成的工作单上，不能重复加入。"), barcode=barcode)
    last = session.scalar(select(func.max(WorksheetRow.position)).where(WorksheetRow.worksheet_id == worksheet.id))
    if (last or 0) >= MOST_ROWS:
        raise Conflict("worksheet.full", N_("工作单已满 {count} 行，请另建一张。"), count=MOST_ROWS)
    session.add(WorksheetRow(worksheet_id=worksheet.id, specimen_id=specimen.id, position=(last or 0) + 1))
    session.flush()
    _record(session, worksheet, "worksheet.add", by, {"specimen": specimen.accession})
    return specimen


def open_sheet(session: Session, worksheet_id: uuid.UUID, *, lock: bool = False) -> Worksheet:
    """The worksheet, if it is still worked on."""
    found = session.get(Worksheet, worksheet_id, populate_existing=True, with_for_update=lock or None)
    if found is None:
        raise NotFound("worksheet.unknown", N_("没有这张工作单。"))
    if found.closed_at is not None:
        raise Conflict("worksheet.closed", N_("工作单 {number} 已完成，不能再录入。"), number=found.number)
    return found


def enter_cell(
    session: Session,
    worksheet_id: uuid.UUID,
    specimen_id: uuid.UUID,
    test_id: uuid.UUID,
    value: TypedValue,
    *,
    by: Signatory,
    seen: uuid.UUID | None,
    reason: str = "",
) -> Entered:
    """Type into one cell. A test that is typed twice becomes a result when the second entry is like the first."""
    worksheet = open_sheet(session, worksheet_id)
    specimen = session.scalar(
        select(Specimen)
        .join(WorksheetRow, WorksheetRow.specimen_id == Specimen.id)
        .where(WorksheetRow.worksheet_id == worksheet.id, Specimen.id == specimen_id)
    )
    test = session.get(Test, test_id)
    if specimen is None or test is None or str(test_id) not in worksheet.test_ids:
        raise NotFound("worksheet.cell", N_("这一格不在工作单上，请刷新页面。"))
    pending = first_of_two(session, specimen, test, value, by=by)
    if pending is not None:
        return Entered(None, pending.first, pending.differs)
    return Entered(enter_value(session, specimen, test, value, by=by, seen=seen, reason=reason))


def close(session: Session, worksheet_id: uuid.UUID, *, by: Signatory) -> Worksheet:
    """Done: its tubes may stand on another worksheet again for what is still missing."""
    authorise(by, "result.review")
    done: Worksheet | None = session.scalar(
        update(Worksheet)
        .where(Worksheet.id == worksheet_id, Worksheet.closed_at.is_(None))
        .values(closed_at=clock.now(), closed_by_name=by.name)
        .returning(Worksheet)
    )
    if done is None:
        open_sheet(session, worksheet_id)
        raise Conflict("worksheet.closed", N_("工作单 {number} 已完成，不能再录入。"), number="")
    _record(session, done, "worksheet.close", by, {})
    return done


def set_double(session: Session, test_id: uuid.UUID, wanted: str, *, by: str) -> None:
    """``""`` once, ``same`` twice by anybody, ``other`` twice by two persons. Who may is checked by the route."""
    row = session.get(DoubleEntry, test_id)
    before = "" if row is None else ("other" if row.two_persons else "same")
    if wanted not in ("", "same", "other") or wanted == before:
        return
    if row is not None:
        session.delete(row)
        session.flush()
    if wanted:
        session.add(DoubleEntry(test_id=test_id, two_persons=wanted == "other", set_by=by, set_at=clock.now()))
    audit.record(
        session,
        actor=by,
        action="test.double_entry",
        aggregate=("test", str(test_id)),
        before={"double_entry": before},
        after={"double_entry": wanted},
    )


def _record(session: Session, worksheet: Worksheet, action: str, by: Signatory, after: dict[str, object]) -> None:
    audit.record(
        session, actor=actor(by), action=action, aggregate=("worksheet", str(worksheet.id)), before=None, after=after
    )
