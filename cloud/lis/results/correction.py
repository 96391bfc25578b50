"""Changing a released value, only for an amended report. The old row stays, superseded; the new one is released."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import clock
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.results import calculating, guards
from cloud.lis.results.matching import Match
from cloud.lis.results.model import Result, ResultState
from cloud.lis.results.review import typed_result
from cloud.lis.results.signatory import Signatory
from cloud.lis.specimens.model import Specimen
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Correction:
    """A new value for a released test: another stored result (`result_id`), or else a typed `value`."""

    test_id: uuid.UUID
    result_id: uuid.UUID | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Corrected:
    """One applied correction."""

    before: Result
    after: Result


def correct(
    session: Session, specimen: Specimen, corrections: Sequence[Correction], *, by: Signatory, confirm_critical: bool
) -> list[Corrected]:
    """Apply the corrections; the specimen's sheet and report are locked by the caller."""
    done: list[Corrected] = []
    for each in corrections:
        item, test, before = _released(session, specimen, each.test_id)
        if each.result_id is not None:
            after = _stored(session, item, each.result_id, before)
        elif each.value is not None and each.value.strip():
            after = typed_result(session, specimen, Match(specimen, item, test, None), each.value.strip(), by)
            after.run = 1 + len(session.scalars(select(Result.id).where(Result.order_item_id == item.id)).all())
            after.state = ResultState.RECEIVED
        else:
            raise Invalid("amend.nothing", N_("请填写更正后的结果，或选择一条已有结果。"))
        _refuse_unfit(after, confirm_critical)
        if after.critical:
            guards.may(session, by, "critical.confirm", [after])
        _refuse_alone(session, test, after, by)
        _replace(session, before, after, by)
        done.append(Corrected(before, after))
    # What is calculated from them and not corrected along stands beside its released value, listed for an amendment.
    calculating.follow(session, specimen)
    return done


def released_results(session: Session, specimen_id: uuid.UUID) -> list[Result]:
    """What is reported of the specimen now."""
    return list(
        session.scalars(
            select(Result).where(Result.specimen_id == specimen_id, Result.chosen, Result.state == ResultState.RELEASED)
        )
    )


def _released(session: Session, specimen: Specimen, test_id: uuid.UUID) -> tuple[OrderItem, Test, Result]:
    row = session.execute(
        select(OrderItem, Test, Result)
        .join(Test, Test.id == OrderItem.test_id)
        .join(Result, (Result.order_item_id == OrderItem.id) & Result.chosen)
        .where(
            OrderItem.specimen_id == specimen.id,
            OrderItem.test_id == test_id,
            OrderItem.state == ItemState.RELEASED,
        )
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        raise NotFound("amend.not_released", N_("该项目没有已发布的结果，不能修订。"))
    return row.OrderItem, row.Test, row.Result


def _stored(session: Session, item: OrderItem, result_id: uuid.UUID, before: Result) -> Result:
    after = session.get(Result, result_id, populate_existing=True)
    of_item = after is not None and (after.order_item_id, after.specimen_id) == (item.id, item.specimen_id)
    if after is None or not of_item or after.id == before.id:
        raise NotFound("amend.result_unknown", N_("没有这条可选用的结果。"))
    if after.state == ResultState.REJECTED:
        raise Conflict("amend.rejected", N_("这条结果已被判为无效，不能选用。"))
    return after


def _refuse_unfit(after: Result, confirm_critical: bool) -> None:
    if not after.value_text:
        raise Conflict("release.no_value", N_("有结果没有数值，不能发布；请复检或手工录入。"))
    if settings().environment == "production" and after.draft:
        raise Conflict("release.draft", N_("参考区间或危急值界限仍是草案，须经主任批准后才能发布。"))
    if after.critical and not confirm_critical:
        raise Conflict("release.critical", N_("含有危急值，请核对并勾选“已确认危急值”后再发布。"))


def _refuse_alone(session: Session, test: Test, after: Result, by: Signatory) -> None:
    """Where two persons are wanted, somebody else typed the new value in or reviewed it."""
    if guards.two_person_tests(session, [test]) and (
        after.entered_by == by.id or not guards.signed_by(after) - {by.id}
    ):
        raise Forbidden(
            "amend.second_person",
            N_("{test}要求两人审核：请另一人先在审核页录入或复核新结果，再由您选用并发布更正。"),
            test=test.name,
        )


def _replace(session: Session, before: Result, after: Result, by: Signatory) -> None:
    now = clock.now()
    before.move_to(ResultState.SUPERSEDED)
    before.chosen = False
    session.flush()
    if after.state == ResultState.RECEIVED:
        after.move_to(ResultState.REVIEWED)
    after.move_to(ResultState.RELEASED)
    after.chosen = True
    if after.reviewed_at is None:
        after.reviewed_by, after.reviewed_by_name, after.reviewed_at = by.id, by.name, now
    after.released_by, after.released_by_name, after.released_at = by.id, by.name, now
    session.add(after)
    session.flush()
