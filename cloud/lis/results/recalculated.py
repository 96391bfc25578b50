"""Released calculated values whose operands were corrected since: listed until somebody amends the report or says why
it stays.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.live import announce
from cloud.lis.catalog.model import Test
from cloud.lis.results import sheets
from cloud.lis.results.calculating import CALCULATED
from cloud.lis.results.model import Result, ResultState
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Changed:
    """A released value and what the formula gives now."""

    specimen: Specimen
    person: Person
    test: Test
    released: Result
    now: Result


_WAITS = (Result.source == CALCULATED, Result.after_release, Result.state == ResultState.RECEIVED)


def waiting(session: Session, subject: Subject, *, limit: int = 200) -> list[Changed]:
    """The list, the oldest first. A value that the amendment took, or that is the released one again, is not on it."""
    released = aliased(Result)
    rows = session.execute(
        select(Specimen, Person, Test, released, Result)
        .join(Specimen, Specimen.id == Result.specimen_id)
        .join(Person, Person.id == Specimen.person_id)
        .join(Test, Test.id == Result.test_id)
        .join(released, (released.order_item_id == Result.order_item_id) & released.chosen)
        .where(*_WAITS, released.value_text != Result.value_text, Specimen.person_id.in_(visible_to(subject)))
        .order_by(Result.received_at)
        .limit(limit)
    )
    return [Changed(*row) for row in rows]


def waiting_count(session: Session) -> int:
    released = aliased(Result)
    found = (
        select(func.count())
        .select_from(Result)
        .join(released, (released.order_item_id == Result.order_item_id) & released.chosen)
        .where(*_WAITS, released.value_text != Result.value_text)
    )
    return session.scalar(found) or 0


def dismiss(session: Session, result_id: uuid.UUID, *, by: Signatory, reason: str) -> None:
    """The released value stays; the new one is kept, judged not to be reported."""
    authorise(by, "result.review")
    if not reason.strip():
        raise Invalid("recalculated.reason", N_("请填写不修订的原因。"))
    found = session.get(Result, result_id)
    if found is None:
        raise NotFound("result.unknown", N_("没有这条结果。"))
    sheets.touch(session, [found.specimen_id])
    session.refresh(found)
    if not (found.source == CALCULATED and found.after_release and found.state == ResultState.RECEIVED):
        raise Conflict("recalculated.handled", N_("这一条已被处理，请刷新列表。"))
    found.move_to(ResultState.REJECTED)
    session.flush()
    announce(session, "results", {"specimen": str(found.specimen_id)})
    record(
        session,
        actor=actor(by),
        action="result.recalculated_dismissed",
        aggregate=("specimen", found.specimen_id),
        before={"result": str(found.id), "value": found.value_text},
        reason=reason.strip(),
    )
