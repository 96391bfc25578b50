"""Verbs of critical values: open in the release transaction, record each contact, cancel if the value was an error."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.events import publish
from cloud.kit.live import announce
from cloud.lis.authority.service import require_authority
from cloud.lis.critical import late, repeats
from cloud.lis.critical.events import CriticalReadBack
from cloud.lis.critical.model import CLOSED, CriticalCase, CriticalContact, CriticalState
from cloud.lis.critical.opening import add_case
from cloud.lis.results.model import Result
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.lis.specimens.model import Specimen
from cloud.web.i18n import mark as N_

OUTCOMES = ("read_back", "no_read_back", "not_reached")


def open_case(
    session: Session, specimen: Specimen, results: Sequence[Result], *, report_version: int, by: Signatory
) -> CriticalCase | None:
    """The case of the critical values among `results`, confirmed by who releases them; None when there is none."""
    critical = [each for each in results if each.critical]
    if not critical:
        return None
    known = repeats.known_from(session, specimen, critical)
    opened = add_case(
        session,
        specimen,
        critical,
        CriticalCase(
            report_version=report_version,
            state=CriticalState.CONFIRMED if known is None else CriticalState.KNOWN,
            known_from_id=None if known is None else known.id,
            read_back_at=None if known is None else known.read_back_at,
            confirmed_at=clock.now(),
            confirmed_by=by.id,
            confirmed_by_name=by.name,
        ),
    )
    late.told_with_release(session, opened, by=actor(by))
    return opened


def record_contact(
    session: Session,
    case_id: uuid.UUID,
    *,
    by: Signatory,
    told: str,
    outcome: str,
    telephone: str | None = None,
    note: str | None = None,
) -> CriticalContact:
    """Append one attempt. `read_back` needs the name of who read back and closes the case."""
    authorise(by, "result.review")
    asked = session.get(CriticalCase, case_id)
    if asked is not None:
        require_authority(session, by, "critical.confirm", [value["code"] for value in asked.values])
    if outcome not in OUTCOMES:
        raise Invalid("critical.outcome", N_("请选择通知结果。"))
    if outcome != "not_reached" and not told.strip():
        raise Invalid("critical.told", N_("请填写接听人姓名和身份。"))
    now = clock.now()
    values: dict[str, Any] = {}
    if outcome == "read_back":
        values = {"state": CriticalState.READ_BACK, "read_back_at": now}
    elif outcome == "no_read_back":
        values = {"state": CriticalState.NOTIFIED}
    if outcome != "not_reached":
        values["told_at"] = func.coalesce(CriticalCase.told_at, now)
    found = session.execute(
        update(CriticalCase)
        .where(CriticalCase.id == case_id, CriticalCase.state.not_in(CLOSED))
        .values(**(values or {"state": CriticalCase.state}))
        .returning(CriticalCase.specimen_id)
    ).scalar()
    if found is None:
        if session.get(CriticalCase, case_id) is None:
            raise NotFound("critical.unknown", N_("没有这条危急值记录。"))
        raise Conflict("critical.closed", N_("这条危急值已经结束（已复述或已取消）。"))
    contact = CriticalContact(
        case_id=case_id,
        at=now,
        by=by.id,
        by_name=by.name,
        told=told.strip(),
        telephone=(telephone or "").strip() or None,
        outcome=outcome,
        note=(note or "").strip() or None,
    )
    session.add(contact)
    session.flush()
    if outcome == "read_back":
        publish(session, CriticalReadBack(aggregate_id=case_id, specimen_id=found))
    announce(session, "critical", {"case": str(case_id)})
    record(
        session,
        actor=actor(by),
        action=f"critical.{outcome}",
        aggregate=("critical", case_id),
        after={"contact": str(contact.id)},
    )
    return contact


def cancel_open(session: Session, specimen_id: uuid.UUID, *, by: Signatory, reason: str) -> int:
    """Close the open cases of releases because their values were amended or recalled; how many that were.

    Values that came after the release (`late`) were measured all the same and stay to be told.
    """
    cancelled = session.scalars(
        update(CriticalCase)
        .where(
            CriticalCase.specimen_id == specimen_id,
            CriticalCase.late_result_id.is_(None),
            CriticalCase.state.not_in(CLOSED),
        )
        .values(state=CriticalState.CANCELLED)
        .returning(CriticalCase.id)
    ).all()
    for case_id in cancelled:
        record(session, actor=actor(by), action="critical.cancel", aggregate=("critical", case_id), reason=reason)
    return len(cancelled)


def read_back_at(session: Session, specimen_id: uuid.UUID) -> datetime | None:
    """When the last case of the specimen's releases was read back; None while any is open or none ever was."""
    waiting, last = session.execute(
        select(
            func.count(case((CriticalCase.state.not_in(CLOSED), 1))),
            func.max(CriticalCase.read_back_at),
        ).where(CriticalCase.specimen_id == specimen_id, CriticalCase.late_result_id.is_(None))
    ).one()
    return None if waiting else last
