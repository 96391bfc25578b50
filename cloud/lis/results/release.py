"""The results' part of a release: every guard, and the states. Called in one transaction by
`cloud.lis.reports.service`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import clock
from cloud.kit.errors import Conflict, Forbidden
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.results import guards, sheets
from cloud.lis.results.guards import set_two_persons, two_persons
from cloud.lis.results.model import Result, ResultSheet, ResultState
from cloud.lis.results.signatory import Signatory, authorise
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.web.i18n import mark as N_

__all__ = ["ReleasedResults", "check_release", "release_results", "set_two_persons", "two_persons"]


@dataclass(frozen=True, slots=True)
class ReleasedResults:
    """What one release released, and what of the order is still missing."""

    specimen: Specimen
    comment: str | None
    results: tuple[Result, ...]
    """Released just now."""
    missing: tuple[Test, ...]


def release_results(
    session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int, confirm_critical: bool, partial: bool
) -> ReleasedResults:
    """Release the reviewed values of a specimen; refuses with the first reason that forbids it.

    `partial` allows a preliminary report while tests are missing or under rerun. `confirm_critical` says that the
    person saw and confirmed the critical values.
    """
    authorise(by, "result.release")
    sheet = sheets.claim(session, specimen_id, version)
    specimen, ready, missing = _guarded(session, sheet, by=by, confirm_critical=confirm_critical, partial=partial)
    now = clock.now()
    for result in ready:
        result.move_to(ResultState.RELEASED)
        result.released_by, result.released_by_name, result.released_at = by.id, by.name, now
    session.flush()
    _release_items(session, [result.order_item_id for result in ready])
    return ReleasedResults(specimen, sheet.comment, tuple(ready), missing)


def check_release(session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int) -> None:
    """Raise what `release_results` would refuse with now (a whole report, nothing critical), changing nothing."""
    authorise(by, "result.release")
    sheet = session.get(ResultSheet, specimen_id, populate_existing=True)
    if sheet is None or sheet.version != version:
        raise Conflict("sheet.stale", sheets.STALE)
    _guarded(session, sheet, by=by, confirm_critical=False, partial=False)


def _guarded(
    session: Session, sheet: ResultSheet, *, by: Signatory, confirm_critical: bool, partial: bool
) -> tuple[Specimen, list[Result], tuple[Test, ...]]:
    """The specimen, what is ready and what is missing, after every guard."""
    guards.not_held(sheet)
    specimen = session.get_one(Specimen, sheet.specimen_id, populate_existing=True)
    if specimen.state not in (SpecimenState.RECEIVED, SpecimenState.DONE):
        raise Conflict("release.not_received", N_("标本尚未签收，不能发布；请先扫码签收。"))
    lines = _lines(session, specimen.id)
    ready = [result for _, _, result in lines if result is not None and result.state == ResultState.REVIEWED]
    missing = tuple(test for item, test, result in lines if item.state != ItemState.RELEASED and result not in ready)
    _refuse_unready(ready, [result for _, _, result in lines if result is not None], missing, partial)
    guards.may(session, by, "result.release", ready)
    _refuse_unfit(session, by, ready, {test.id: test for _, test, _ in lines}, confirm_critical)
    return specimen, ready, missing


def _lines(session: Session, specimen_id: uuid.UUID) -> list[tuple[OrderItem, Test, Result | None]]:
    """Every live ordered test of the specimen with its chosen value, never that of a rejected tube before it."""
    rows = session.execute(
        select(OrderItem, Test, Result)
        .join(Test, Test.id == OrderItem.test_id)
        .outerjoin(
            Result,
            (Result.order_item_id == OrderItem.id) & (Result.specimen_id == OrderItem.specimen_id) & Result.chosen,
        )
        .where(OrderItem.specimen_id == specimen_id, OrderItem.state != ItemState.CANCELLED)
        .order_by(OrderItem.position, Test.position)
        .execution_options(populate_existing=True)
    )
    return [(item, test, result) for item, test, result in rows]


def _refuse_unready(ready: Sequence[Result], chosen: Sequence[Result], missing: Sequence[Test], partial: bool) -> None:
    unreviewed = [each for each in chosen if each.state == ResultState.RECEIVED and each.rerun_requested_at is None]
    if unreviewed:
        raise Conflict("release.unreviewed", N_("还有 {count} 项结果未初审，请先初审。"), count=len(unreviewed))
    if not ready:
        raise Conflict("release.nothing", N_("没有可以发布的结果。"))
    if missing and not partial:
        raise Conflict(
            "release.incomplete",
            N_("还有 {count} 项没有结果或正在复检；确需先发部分结果，请选择“发布初步报告”。"),
            count=len(missing),
        )


def _refuse_unfit(
    session: Session, by: Signatory, ready: Sequence[Result], tests: dict[uuid.UUID, Test], confirm_critical: bool
) -> None:
    if any(not each.value_text for each in ready):
        raise Conflict("release.no_value", N_("有结果没有数值，不能发布；请复检或手工录入。"))
    if settings().environment == "production" and any(each.draft for each in ready):
        raise Conflict("release.draft", N_("参考区间或危急值界限仍是草案，须经主任批准后才能发布。"))
    if again := guards.one_person_only(session, by, ready, tests):
        raise Forbidden(
            "release.second_person",
            N_("{tests}要求两人审核：初审或录入者不能发布同一结果。"),
            tests="、".join(each.name for each in again[:3]),
        )
    if any(each.critical for each in ready) and not confirm_critical:
        raise Conflict("release.critical", N_("含有危急值，请核对并勾选“已确认危急值”后再发布。"))
    if critical := [each for each in ready if each.critical]:
        guards.may(session, by, "critical.confirm", critical)


def _release_items(session: Session, item_ids: Sequence[uuid.UUID]) -> None:
    """Each step one conditional statement, along the road that orders allow."""
    for before, after in ((ItemState.RECEIVED, ItemState.RESULTED), (ItemState.RESULTED, ItemState.RELEASED)):
        session.execute(
            update(OrderItem)
            .where(OrderItem.id.in_(item_ids), OrderItem.state == before)
            .values(state=after)
            .execution_options(synchronize_session=False)
        )
    done = session.scalars(
        select(OrderItem.id)
        .where(OrderItem.id.in_(item_ids), OrderItem.state == ItemState.RELEASED)
        .execution_options(populate_existing=True)
    ).all()
    if len(done) != len(set(item_ids)):
        raise Conflict("release.item_moved", N_("申请项目刚刚被取消或退回，请刷新页面。"))
