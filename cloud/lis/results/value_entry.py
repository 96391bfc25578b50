"""Typing one value of one test of one specimen: what a cell of a worksheet and any other form do.

The cell says what it showed when it was typed into (`seen`): somebody else's value that came meanwhile is never
written over unseen.
"""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.authority.service import require_authority
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import ItemState
from cloud.lis.results import calculating, entering, reflexes, sheets
from cloud.lis.results.choosing import choose_newest, settle_choice
from cloud.lis.results.diluting import declared
from cloud.lis.results.matching import Match, items_of, place
from cloud.lis.results.model import Result
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.lis.results.storing import announce_results
from cloud.lis.results.typed import TypedValue
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.web.i18n import mark as N_


def enter_value(
    session: Session,
    specimen: Specimen,
    test: Test,
    value: TypedValue,
    *,
    by: Signatory,
    seen: uuid.UUID | None,
    reason: str = "",
) -> Result:
    """A new run of the test. `seen`: the result that was shown; None: none was. Over a value it needs a reason.

    Raises `Conflict` where another value stands there by now, the test is not ordered, cancelled or released.
    """
    authorise(by, "result.review")
    require_authority(session, by, "result.enter", [test.code])
    sheets.touch(session, [specimen.id])
    match = _match(session, specimen, test)
    earlier = session.scalars(
        select(Result)
        .where(Result.order_item_id == match.item.id)
        .order_by(Result.run)
        .execution_options(populate_existing=True)
    ).all()
    before = next((each for each in earlier if each.chosen), None)
    if (before.id if before else None) != seen:
        shown = before.value_text if before else "—"
        raise Conflict("enter.stale", N_("这一格刚刚已有结果 {value}，请核对后再输入。"), value=shown)
    if before is not None and not reason.strip():
        raise Invalid("enter.reason", N_("已有结果 {value}，更正须填写原因。"), value=before.value_text)
    result = entering.typed_row(
        session,
        specimen,
        match,
        value.text,
        by_id=by.id,
        unit=value.unit,
        dilution=value.dilution,
        hand=declared(earlier),
    )
    choose_newest(result, match.item, earlier)
    settle_choice(session, [result])
    calculated = calculating.follow(session, specimen, changed={test.code})
    announce_results(session, specimen, [result, *calculated])
    reflexes.react(session, specimen, changed=[test.code, *calculating.codes(session, calculated)])
    record(
        session,
        actor=actor(by),
        action="result.enter",
        aggregate=("specimen", specimen.id),
        before={"value": before.value_text, "result": str(before.id)} if before else None,
        after={"value": result.value_text, "typed": value.text, "result": str(result.id), "test": test.code},
        reason=reason.strip() or None,
    )
    return result


def _match(session: Session, specimen: Specimen, test: Test) -> Match:
    session.refresh(specimen)
    if specimen.state not in (SpecimenState.RECEIVED, SpecimenState.DONE):
        raise Conflict("enter.not_received", N_("标本尚未签收或已拒收，不能录入结果。"))
    match = place(specimen, items_of(session, [specimen.id]).get((specimen.id, test.id)), test, None)
    if not isinstance(match, Match):
        raise Conflict("enter.not_ordered", N_("这份标本没有申请该项目，或项目已取消。"))
    if match.item.state == ItemState.RELEASED:
        raise Conflict("enter.released", N_("该项目已发布；更正请使用报告修订。"))
    return match
