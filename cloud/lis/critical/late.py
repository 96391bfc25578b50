"""Critical values that came after their report was released: no release confirms them, so they are told by themselves.

Such a case waits for its read-back like any other. Amending or recalling the report does not close it, for the value
was measured all the same; only a release that tells the same tests takes its place.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit.audit import record
from cloud.lis.critical.model import CLOSED, CriticalCase, CriticalState
from cloud.lis.critical.opening import add_case
from cloud.lis.results.model import Result, ResultSheet
from cloud.lis.specimens.model import Specimen


def open_case(session: Session, specimen_id: uuid.UUID, result_ids: Sequence[uuid.UUID]) -> CriticalCase | None:
    """The case of the critical values among one message's `result_ids` that came after release; None without any.

    Once for one message. What an amendment has taken into the report in the meantime is told with the report.
    """
    # One at a time, and not beside an amendment; the version that guards open pages stays.
    session.get(ResultSheet, specimen_id, with_for_update=True)
    rows = session.scalars(
        select(Result)
        .where(Result.id.in_(result_ids), Result.critical, Result.after_release)
        .order_by(Result.received_at, Result.id)
        .execution_options(populate_existing=True)
    ).all()
    untold = [each for each in rows if not each.chosen]
    if not untold or session.scalar(select(CriticalCase.id).where(CriticalCase.late_result_id == rows[0].id)):
        return None
    opened = add_case(
        session,
        session.get_one(Specimen, specimen_id),
        untold,
        CriticalCase(state=CriticalState.DETECTED, late_result_id=rows[0].id),
    )
    record(
        session,
        actor="system",
        action="critical.detect_late",
        aggregate=("critical", opened.id),
        after={"specimen": str(specimen_id), "results": [str(each.id) for each in untold]},
    )
    return opened


def told_with_release(session: Session, released: CriticalCase, *, by: str) -> None:
    """Close open late cases whose tests are all among those of a new release's case: one call is enough."""
    codes = {each["code"] for each in released.values}
    waiting = session.scalars(
        select(CriticalCase).where(
            CriticalCase.specimen_id == released.specimen_id,
            CriticalCase.late_result_id.is_not(None),
            CriticalCase.state.not_in(CLOSED),
        )
    ).all()
    ended = [each.id for each in waiting if codes.issuperset(value["code"] for value in each.values)]
    session.execute(update(CriticalCase).where(CriticalCase.id.in_(ended)).values(state=CriticalState.CANCELLED))
    for case_id in ended:
        after = {"told_with": str(released.id), "report_version": released.report_version}
        record(session, actor=by, action="critical.told_with_release", aggregate=("critical", case_id), after=after)
