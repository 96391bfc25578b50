"""A department's whole day, or half of it, stopped in one act: all of its sessions or none."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital import schedules
from cloud.hospital.booked import booked
from cloud.hospital.model import ClinicSession, SessionState
from cloud.hospital.schedule_model import Owner
from cloud.kit import clock
from cloud.kit.errors import Conflict
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class DayOff:
    """What stopping would mean. `theirs`: sessions of the HIS's, which only the HIS stops."""

    sessions: tuple[ClinicSession, ...]
    theirs: tuple[ClinicSession, ...]
    given: dict[uuid.UUID, int]
    """How many patients have a number, by session."""

    @property
    def patients(self) -> int:
        return sum(self.given.values())


def plan(session: Session, department_id: uuid.UUID, day: date, half: str = "") -> DayOff:
    """The sessions that still take place that day (`half` empty: all of it)."""
    statement = select(ClinicSession).where(
        ClinicSession.department_id == department_id,
        ClinicSession.day == day,
        ClinicSession.state != SessionState.STOPPED,
        ClinicSession.ends_at > clock.now(),
    )
    if half:
        statement = statement.where(ClinicSession.half == half)
    found = session.scalars(statement.order_by(ClinicSession.starts_at, ClinicSession.id)).unique().all()
    mine = tuple(each for each in found if each.owner == Owner.OURS)
    stand = booked(session, [each.id for each in mine])
    return DayOff(
        mine,
        tuple(each for each in found if each.owner != Owner.OURS),
        {each.id: stand[each.id].given if each.id in stand else 0 for each in mine},
    )


def stop(
    session: Session, department_id: uuid.UUID, day: date, *, half: str, seen: Sequence[uuid.UUID], by: str, why: str
) -> int:
    """Stop every session that was shown (`seen`); how many. Patients are told and choose as after any stop.

    Raises `Invalid` (no reason), `Conflict` (nothing to stop, or the day looks different by now).
    """
    mine = {each.id for each in plan(session, department_id, day, half).sessions}
    if not mine:
        raise Conflict("hospital.nothing_to_stop", N_("当天没有可以停诊的出诊。"))
    if mine != set(seen):
        raise Conflict("hospital.day_changed", N_("当天的出诊刚有变动，请核对后再停诊。"))
    for session_id in sorted(mine):
        schedules.stop(session, session_id, by=by, why=why)
    return len(mine)
