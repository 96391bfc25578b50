"""Verbs of the technical review: mark reviewed, take back, ask for a rerun, choose a run, type a value, comment.

Each takes the version of the sheet that the acting page was made from (409 when it moved on), checks the right, and
leaves an audit entry on the specimen. Medical release is `cloud.lis.reports.service.release`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.live import announce
from cloud.lis.authority.service import require_authority
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.results import calculating, entering, guards, judging, reflexes, sheets
from cloud.lis.results.diluting import Declared, declared
from cloud.lis.results.double_entry import Pending, first_of_two
from cloud.lis.results.entry import judge_row
from cloud.lis.results.matching import Match, items_of, place
from cloud.lis.results.model import OPEN_STATES, Result, ResultState
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.lis.results.storing import announce_results, choose_newest, settle_choice
from cloud.lis.results.typed import TypedValue
from cloud.lis.specimens.model import Specimen
from cloud.web.i18n import mark as N_


def mark_reviewed(
    session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int, only: Collection[uuid.UUID] | None = None
) -> list[Result]:
    """Technical review of the chosen values that wait for it (of `only`, if given). A value under rerun is not
    reviewed.
    """
    authorise(by, "result.review")
    guards.not_held(sheets.claim(session, specimen_id, version))
    waiting = [
        each
        for each in _chosen_open(session, specimen_id)
        if each.state == ResultState.RECEIVED and each.rerun_requested_at is None and (only is None or each.id in only)
    ]
    if not waiting:
        raise Conflict("review.nothing", N_("没有等待初审的结果。"))
    guards.may(session, by, "result.review", waiting)
    for result in waiting:
        result.move_to(ResultState.REVIEWED)
        result.reviewed_by, result.reviewed_by_name, result.reviewed_at = by.id, by.name, clock.now()
    _recorded(session, by, "result.review", specimen_id, after={"results": _ids(waiting)})
    _follow(session, specimen_id)
    return waiting


def take_back(
    session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int, result_id: uuid.UUID, reason: str
) -> Result:
    """Undo a technical review before release."""
    authorise(by, "result.review")
    why = _reason(reason)
    sheets.claim(session, specimen_id, version)
    result = _result(session, specimen_id, result_id)
    guards.may(session, by, "result.review", [result])
    result.move_to(ResultState.RECEIVED)
    _recorded(session, by, "result.take_back", specimen_id, after={"results": _ids([result])}, reason=why)
    return result


def send_back(session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int, reason: str) -> list[Result]:
    """The medical reviewer gives everything reviewed back to the technical review, with the reason."""
    authorise(by, "result.release")
    why = _reason(reason)
    sheets.claim(session, specimen_id, version)
    reviewed = [each for each in _chosen_open(session, specimen_id) if each.state == ResultState.REVIEWED]
    if not reviewed:
        raise Conflict("send_back.nothing", N_("没有等待发布的结果。"))
    guards.may(session, by, "result.release", reviewed)
    for result in reviewed:
        result.move_to(ResultState.RECEIVED)
    _recorded(session, by, "result.send_back", specimen_id, after={"results": _ids(reviewed)}, reason=why)
    return reviewed


def request_rerun(
    session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int, result_id: uuid.UUID, reason: str = ""
) -> Result:
    """Ask for a new measurement: the value stays, is not reviewed nor released, until another run arrives."""
    authorise(by, "result.review")
    sheets.claim(session, specimen_id, version)
    result = _result(session, specimen_id, result_id)
    guards.may(session, by, "result.review", [result])
    if result.state not in OPEN_STATES or not result.chosen:
        raise Conflict("rerun.closed", N_("这条结果已经结束，不能要求复检。"))
    if result.state == ResultState.REVIEWED:
        result.move_to(ResultState.RECEIVED)
    result.rerun_requested_at = clock.now()
    _recorded(session, by, "result.rerun", specimen_id, after={"results": _ids([result])}, reason=reason or None)
    _follow(session, specimen_id)
    return result


def withdraw_rerun(
    session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int, result_id: uuid.UUID
) -> Result:
    """The value stands after all."""
    authorise(by, "result.review")
    sheets.claim(session, specimen_id, version)
    result = _result(session, specimen_id, result_id)
    guards.may(session, by, "result.review", [result])
    if result.rerun_requested_at is None:
        raise Conflict("rerun.none", N_("这条结果没有要求复检。"))
    result.rerun_requested_at = None
    _recorded(session, by, "result.rerun_withdrawn", specimen_id, after={"results": _ids([result])})
    _follow(session, specimen_id)
    return result


def second(session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int, result_id: uuid.UUID) -> Result:
    """A person's review of a value that came after the release: where two persons are wanted, another one amends."""
    authorise(by, "result.review")
    sheets.claim(session, specimen_id, version)
    result = _result(session, specimen_id, result_id)
    guards.may(session, by, "result.review", [result])
    if not result.after_release or result.state != ResultState.RECEIVED or result.reviewed_by is not None:
        raise Conflict("second.closed", N_("这条结果不需要复核，或已经复核。"))
    result.reviewed_by, result.reviewed_by_name, result.reviewed_at = by.id, by.name, clock.now()
    _recorded(session, by, "result.second", specimen_id, after={"results": _ids([result])})
    return result


def choose(
    session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int, result_id: uuid.UUID, reason: str
) -> Result:
    """Take another run of the same test as the one to report (before release; afterwards only an amendment does)."""
    authorise(by, "result.review")
    why = _reason(reason)
    sheets.claim(session, specimen_id, version)
    result = _result(session, specimen_id, result_id)
    guards.may(session, by, "result.review", [result])
    item = session.get_one(OrderItem, result.order_item_id, populate_existing=True)
    if result.after_release or item.state == ItemState.RELEASED or result.state != ResultState.SUPERSEDED:
        raise Conflict("choose.closed", N_("这条结果不能选用；报告已发布的只能通过修订更改。"))
    before = session.scalar(select(Result).where(Result.order_item_id == item.id, Result.chosen))
    if before is not None:
        before.chosen = False
        before.move_to(ResultState.SUPERSEDED)
        session.flush()
    result.move_to(ResultState.RECEIVED)
    result.chosen = True
    was = {"results": _ids([before])} if before is not None else None
    _recorded(session, by, "result.choose", specimen_id, before=was, after={"results": _ids([result])}, reason=why)
    _follow(session, specimen_id)
    return result


def enter(
    session: Session,
    specimen_id: uuid.UUID,
    *,
    by: Signatory,
    version: int,
    test_id: uuid.UUID,
    value: str,
    reason: str = "",
) -> Result | Pending:
    """A value typed by hand, in the catalogue's unit: a new run. Over a value that is there it needs a reason.

    A test that is typed twice: `Pending` until a second entry is like the first.

    After release only where two persons are wanted: it is kept beside the released one, for another person's amendment.
    """
    authorise(by, "result.review")
    text = value.strip()
    if not text or len(text) > 200:
        raise Invalid("value.empty", N_("请输入结果（不超过 200 字）。"))
    if sheets.version_of(session, specimen_id) == 0 and version == 0:
        sheets.touch(session, [specimen_id])
        version = 1
    sheets.claim(session, specimen_id, version)
    specimen = session.get_one(Specimen, specimen_id, populate_existing=True)
    test = session.get(Test, test_id)
    if test is None:
        raise NotFound("test.unknown", N_("没有这个检验项目。"))
    require_authority(session, by, "result.enter", [test.code])
    match = place(specimen, items_of(session, [specimen_id]).get((specimen_id, test_id)), test, None)
    if not isinstance(match, Match):
        raise Conflict("enter.not_ordered", N_("这份标本没有申请该项目，或项目已取消。"))
    if match.item.state == ItemState.RELEASED and not guards.two_person_tests(session, [test]):
        raise Conflict("enter.released", N_("该项目已发布；更正请使用报告修订。"))
    earlier = session.scalars(select(Result).where(Result.order_item_id == match.item.id).order_by(Result.run)).all()
    why = _reason(reason) if earlier else reason.strip()
    pending = first_of_two(session, specimen, test, TypedValue(text), by=by, strict=False)
    if pending is not None:
        return pending
    result = typed_result(session, specimen, match, text, by, declared(earlier))
    choose_newest(result, match.item, earlier)
    settle_choice(session, [result])
    before = {"value": earlier[-1].value_text, "result": str(earlier[-1].id)} if earlier else None
    after = {"value": text, "result": str(result.id), "test": test.code}
    calculated = calculating.follow(session, specimen, changed={test.code})
    announce_results(session, specimen, [result, *calculated])
    reflexes.react(session, specimen, changed=[test.code, *calculating.codes(session, calculated)])
    record(
        session,
        actor=actor(by),
        action="result.enter",
        aggregate=("specimen", specimen_id),
        before=before,
        after=after,
        reason=why or None,
    )
    return result


def judge_again(session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int) -> list[Result]:
    """Verdicts anew with the ranges and limits of now (the director approved a draft): they wait for review again.

    Only values that wait or are reviewed; what is released keeps the verdict it was released with.
    """
    authorise(by, "result.review")
    sheets.claim(session, specimen_id, version)
    specimen = session.get_one(Specimen, specimen_id, populate_existing=True)
    results = list(_chosen_open(session, specimen_id))
    guards.may(session, by, "result.review", results)
    tests = {each.id: each for each in session.scalars(select(Test).where(Test.id.in_({r.test_id for r in results})))}
    means = judging.means_of(session, results)
    known = judging.background(session, specimen, list(tests.values()), means=means)
    was = {str(each.id): each.flag for each in results}
    for result in results:
        if result.state == ResultState.REVIEWED:
            result.move_to(ResultState.RECEIVED)
        judge_row(result, tests[result.test_id], known)
    now = {str(each.id): each.flag for each in results}
    _recorded(session, by, "result.judge_again", specimen_id, before={"flags": was}, after={"flags": now})
    return results


def typed_result(
    session: Session, specimen: Specimen, match: Match, text: str, by: Signatory, hand: Declared | None = None
) -> Result:
    """A judged row for a typed value; not added to the session yet."""
    return entering.typed_row(session, specimen, match, text, by_id=by.id, strict=False, hand=hand)


def comment(session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int, text: str) -> None:
    """The laboratory's comment on the report; empty takes it away."""
    authorise(by, "result.review")
    sheet = sheets.claim(session, specimen_id, version)
    if len(text) > 1000:
        raise Invalid("comment.long", N_("备注不超过 1000 字。"))
    before, sheet.comment = sheet.comment, text.strip() or None
    _recorded(session, by, "result.comment", specimen_id, before={"comment": before}, after={"comment": sheet.comment})


def _follow(session: Session, specimen_id: uuid.UUID) -> None:
    """The calculated tests after a change of choice: another value, none while an operand is measured again, or the
    same one whose operand a person has seen now."""
    specimen = session.get_one(Specimen, specimen_id)
    announce_results(session, specimen, calculating.follow(session, specimen))


def _chosen_open(session: Session, specimen_id: uuid.UUID) -> Sequence[Result]:
    return session.scalars(
        select(Result)
        .where(
            Result.specimen_id == specimen_id,
            Result.chosen,
            ~Result.after_release,
            Result.state.in_(OPEN_STATES),
        )
        .execution_options(populate_existing=True)
    ).all()


def _result(session: Session, specimen_id: uuid.UUID, result_id: uuid.UUID) -> Result:
    found = session.get(Result, result_id, populate_existing=True)
    if found is None or found.specimen_id != specimen_id:
        raise NotFound("result.unknown", N_("没有这条结果。"))
    return found


def _reason(text: str) -> str:
    if not text.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    return text.strip()


def _ids(results: Sequence[Result]) -> list[str]:
    return [str(each.id) for each in results]


def _recorded(
    session: Session,
    by: Signatory,
    action: str,
    specimen_id: uuid.UUID,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str | None = None,
) -> None:
    session.flush()
    announce(session, "results", {"specimen": str(specimen_id)})
    record(
        session,
        actor=actor(by),
        action=action,
        aggregate=("specimen", specimen_id),
        before=before,
        after=after,
        reason=reason,
    )
