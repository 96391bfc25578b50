"""What every act on results asks before it changes anything: authority for just these tests, and no hold on them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.authority.service import require_authority
from cloud.lis.catalog.model import Test
from cloud.lis.results.model import Result, ResultSheet, ReviewPolicy
from cloud.lis.results.signatory import Signatory
from cloud.web.i18n import mark as N_


def may(session: Session, by: Signatory, act: str, results: Iterable[Result]) -> None:
    """`by` is authorised for `act` on the tests of these results today; else `Forbidden`, which is logged.

    A live rule set (`automatic`) reviews and releases by its own approval, which covers just the tests it names, not by
    a person's grant (ISO 15189:2022, 7.4.1.5).
    """
    if getattr(by, "automatic", False) and act in ("result.review", "result.release"):
        return
    ids = {each.test_id for each in results}
    codes = list(session.scalars(select(Test.code).where(Test.id.in_(ids)).order_by(Test.code))) if ids else []
    require_authority(session, by, act, codes)


def not_held(sheet: ResultSheet) -> None:
    """A specimen that somebody put on hold is neither reviewed nor released until the hold is lifted."""
    if sheet.hold_reason is not None:
        raise Conflict(
            "sheet.held",
            N_("这份标本已由{name}搁置（{reason}），取消搁置后才能审核或发布。"),
            name=sheet.hold_by_name or "",
            reason=sheet.hold_reason,
        )


def two_person_tests(session: Session, tests: Iterable[Test]) -> set[uuid.UUID]:
    """Those of `tests` that need two persons now: a decision on the test rules before one on its section, and that
    before one on the house; of one kind the newest that has begun.
    """
    wanted = list(tests)
    if not wanted:
        return set()
    sections = {each.section for each in wanted} | {""}
    codes = {each.code for each in wanted} | {""}
    rows = session.scalars(
        select(ReviewPolicy)
        .where(
            ReviewPolicy.section.in_(sections),
            ReviewPolicy.test_code.in_(codes),
            ReviewPolicy.valid_from <= clock.now(),
        )
        .order_by(ReviewPolicy.valid_from.desc(), ReviewPolicy.id.desc())
    ).all()
    newest: dict[tuple[str, str], bool] = {}
    for row in rows:
        newest.setdefault((row.section, row.test_code), row.two_persons)
    return {each.id for each in wanted if _rules(newest, each.section, each.code)}


def _rules(newest: dict[tuple[str, str], bool], section: str, code: str) -> bool:
    house = ("", "")
    for key in ([("", code)] if code else []) + [(section, ""), house]:
        if key in newest:
            return newest[key]
    return False


def two_persons(session: Session, section: str) -> bool:
    """What a section's tests without a decision of their own need."""
    return bool(two_person_tests(session, [Test(code="", section=section)]))


def set_two_persons(
    session: Session,
    *,
    section: str,
    value: bool,
    by: str,
    reason: str,
    test_code: str = "",
    valid_from: datetime | None = None,
) -> ReviewPolicy:
    """The director's decision for a section, one test (`test_code`, section "") or the house (both ""), from
    `valid_from` (now) on; earlier ones stay. Who may decide is checked by the caller.
    """
    if not reason.strip():
        raise Invalid("settings.reason", N_("请填写更改的原因。"))
    if test_code and session.scalar(select(Test.id).where(Test.code == test_code)) is None:
        raise Invalid("settings.test", N_("项目字典里没有“{test}”。"), test=test_code)
    before = test_code == "" and two_persons(session, section)
    row = ReviewPolicy(
        section="" if test_code else section,
        test_code=test_code,
        two_persons=value,
        set_by=by,
        reason=reason.strip(),
        valid_from=valid_from or clock.now(),
    )
    session.add(row)
    session.flush()
    record(
        session,
        actor=by,
        action="review.two_persons",
        aggregate=("review_policy", test_code or section or "all"),
        before=None if test_code else {"two_persons": before},
        after={"two_persons": value, **({} if valid_from is None else {"valid_from": valid_from})},
        reason=row.reason,
    )
    return row


def signed_by(result: Result) -> set[uuid.UUID]:
    """Who typed a value in or reviewed it."""
    return {each for each in (result.entered_by, result.reviewed_by) if each is not None}


def one_person_only(
    session: Session, by: Signatory, results: Sequence[Result], tests: dict[uuid.UUID, Test]
) -> list[Test]:
    """The two-person tests that `by` would sign a second time."""
    two = two_person_tests(session, [tests[each.test_id] for each in results])
    return [tests[each.test_id] for each in results if each.test_id in two and by.id in signed_by(each)]
