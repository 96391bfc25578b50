"""A doctor's leave: whatever he would hold on these days is stopped, with one reason."""

from __future__ import annotations

import uuid
from datetime import date, timedelta

from sqlalchemy.orm import Session

from cloud.hospital import schedules, timetable
from cloud.hospital.model import ClinicSession, SessionState
from cloud.kit import clock
from cloud.kit.errors import Conflict, Invalid
from cloud.web.i18n import mark as N_

LONGEST = timedelta(days=90)


def stop_all(
    session: Session, doctor_id: uuid.UUID, *, day_from: date, day_to: date, by: str, why: str
) -> list[ClinicSession]:
    """Stop the sessions in which he would really sit; those over or given to a colleague stay as they are.

    Raises `Invalid` (days, no reason), `Conflict` (there is nothing to stop).
    """
    if not day_from <= day_to <= day_from + LONGEST:
        raise Invalid("hospital.leave_days", N_("停诊的日期应从早到晚，且不超过 90 天。"))
    now = clock.now()
    held = [
        each
        for each in timetable.sessions_of(session, doctor_id, day_from=day_from, day_to=day_to)
        if each.acting_id == doctor_id and each.state != SessionState.STOPPED and each.ends_at > now
    ]
    if not held:
        raise Conflict("hospital.nothing_held", N_("这些天没有可停的出诊。"))
    for each in sorted(held, key=lambda each: each.id):
        schedules.stop(session, each.id, by=by, why=why)
    return held
