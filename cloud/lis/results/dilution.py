"""Diluted reruns: asked of the analyzer where its orders have a place for it, else made by hand and said so here; what
the factor then does is `diluting`'s.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.lis.catalog.model import Test, ValueType
from cloud.lis.instruments.model import Instrument
from cloud.lis.results import guards, sheets
from cloud.lis.results.diluting import ASKED, BY_HAND, SINCE, factor_of
from cloud.lis.results.model import Result, ResultState
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from cloud.lis.worklists import dilutions
from cloud.lis.worklists import service as worklists
from cloud.web.i18n import mark as N_


def asked(session: Session, specimen_id: uuid.UUID) -> Mapping[uuid.UUID, str]:
    """Factors by test that analyzers are to dilute by; not what a person has diluted."""
    rows = session.execute(
        select(Result.test_id, Result.details).where(
            Result.specimen_id == specimen_id,
            Result.chosen,
            Result.state == ResultState.RECEIVED,
            Result.rerun_requested_at.is_not(None),
        )
    )
    waiting = {test_id: details.get("rerun") or {} for test_id, details in rows}
    return {test_id: each[ASKED] for test_id, each in waiting.items() if each.get(ASKED) and not each.get(BY_HAND)}


dilutions.add(asked)


def ask(session: Session, result_id: uuid.UUID, factor: str, *, by: Signatory) -> Result:
    """The next run is to be diluted: by the analyzer where it can be told, else by hand. "" takes the wish back."""
    result, test = _waiting(session, result_id, by)
    wanted = factor_of(factor) if factor.strip() else ""
    if wanted:
        _diluted(test)
    return _say(session, result, "result.rerun_dilution", {ASKED: wanted, BY_HAND: None, SINCE: None}, by)


def declare(session: Session, result_id: uuid.UUID, factor: str, *, by: Signatory) -> Result:
    """This tube is diluted by hand now: what comes next is multiplied, once."""
    result, test = _waiting(session, result_id, by)
    _diluted(test)
    wanted = factor_of(factor)
    said = {ASKED: wanted, BY_HAND: wanted, SINCE: clock.now().isoformat()}
    return _say(session, result, "result.diluted_by_hand", said, by)


def _diluted(test: Test) -> None:
    if test.value_type != ValueType.NUMERIC:
        raise Invalid("rerun.no_dilution", N_("只有定量项目可以稀释复检；比值、滴度和定性项目不乘倍数。"))


def _waiting(session: Session, result_id: uuid.UUID, by: Signatory) -> tuple[Result, Test]:
    """The value that waits to be measured again, its sheet locked."""
    authorise(by, "result.review")
    found = session.get(Result, result_id)
    if found is None:
        raise NotFound("rerun.unknown", N_("没有这条结果。"))
    sheets.touch(session, [found.specimen_id])
    session.refresh(found)
    guards.may(session, by, "result.review", [found])
    if found.rerun_requested_at is None or not found.chosen or found.state != ResultState.RECEIVED:
        raise Conflict("rerun.not_waiting", N_("这条结果已不在等待复检，请刷新清单。"))
    return found, session.get_one(Test, found.test_id)


def _say(session: Session, result: Result, action: str, said: Mapping[str, str | None], by: Signatory) -> Result:
    before = dict(result.details.get("rerun") or {})
    now = {name: each for name, each in {**before, **said}.items() if each is not None}
    result.details = {**result.details, "rerun": now}
    session.flush()
    record(
        session,
        actor=actor(by),
        action=action,
        aggregate=("specimen", result.specimen_id),
        before={"rerun": before},
        after={"rerun": now, "result": str(result.id)},
    )
    specimens.tests_changed(session, session.get_one(Specimen, result.specimen_id))
    return result


def told_to(session: Session, test_id: uuid.UUID, factor: str) -> list[Instrument]:
    """Active analyzers of the test whose order can carry the dilution that is asked for."""
    return worklists.analyzers_that_dilute(session, test_id, factor) if factor else []
