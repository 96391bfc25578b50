"""What the page shows: devices with their points, alarms that are not over, the course of one point."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import NotFound
from cloud.lis.environment.model import EnvironmentAlarm, EnvironmentPoint, EnvironmentReading
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

STALE_AFTER = timedelta(minutes=30)
"""A box reports an unchanged point every ten minutes unless told otherwise: thrice that is the box's own silence."""
MOST_READINGS = 5000
ALARM_NAMES = {
    "high": N_("高于上限"),
    "low": N_("低于下限"),
    "no answer": N_("设备无应答"),
    "sensor fault": N_("传感器故障"),
    "out of range": N_("超出量程"),
    "door open": N_("门未关"),
    "door alarm": N_("门未关报警"),
    "device failure": N_("设备故障"),
    "device fault": N_("设备故障"),
    "power failure": N_("断电"),
}
"""The box's own words and common ones of devices; anything else is shown as the device's document names it."""


def alarm_name(alarm: str) -> str:
    return _(ALARM_NAMES[alarm]) if alarm in ALARM_NAMES else alarm


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device and its points in their order."""

    gateway: str
    link: str
    name: str
    points: Sequence[EnvironmentPoint]
    stale: bool

    @property
    def alarms(self) -> int:
        return sum(len(each.alarms) for each in self.points)

    @property
    def observed_at(self) -> datetime:
        return max(each.observed_at for each in self.points)


def devices(session: Session) -> list[DeviceView]:
    """All devices, those with alarms first."""
    grouped: dict[tuple[str, str, str], list[EnvironmentPoint]] = {}
    order = (EnvironmentPoint.gateway, EnvironmentPoint.link, EnvironmentPoint.device, EnvironmentPoint.created_at)
    for point in session.scalars(select(EnvironmentPoint).order_by(*order, EnvironmentPoint.id)):
        grouped.setdefault((point.gateway, point.link, point.device), []).append(point)
    oldest = clock.now() - STALE_AFTER
    found = [
        DeviceView(gateway, link, name, points, max(each.observed_at for each in points) < oldest)
        for (gateway, link, name), points in grouped.items()
    ]
    return sorted(found, key=lambda each: (not each.alarms, not each.stale))


def open_count(session: Session) -> int:
    """Alarms nobody has dealt with."""
    waiting = select(func.count()).where(EnvironmentAlarm.acknowledged_at.is_(None))
    return session.scalar(waiting) or 0


def open_alarms(session: Session, limit: int = 200) -> list[tuple[EnvironmentAlarm, EnvironmentPoint]]:
    """Those that stand or that nobody has dealt with, the newest first."""
    return _alarms(session, or_(EnvironmentAlarm.ended_at.is_(None), EnvironmentAlarm.acknowledged_at.is_(None)), limit)


def alarms_of(session: Session, point_id: uuid.UUID, limit: int = 100) -> list[EnvironmentAlarm]:
    return [alarm for alarm, _point in _alarms(session, EnvironmentAlarm.point_id == point_id, limit)]


def _alarms(session: Session, which: Any, limit: int) -> list[tuple[EnvironmentAlarm, EnvironmentPoint]]:
    rows = session.execute(
        select(EnvironmentAlarm, EnvironmentPoint)
        .join(EnvironmentPoint, EnvironmentPoint.id == EnvironmentAlarm.point_id)
        .where(which)
        .order_by(EnvironmentAlarm.began_at.desc(), EnvironmentAlarm.id)
        .limit(limit)
    )
    return [(alarm, point) for alarm, point in rows]


def point(session: Session, point_id: uuid.UUID) -> EnvironmentPoint:
    found = session.get(EnvironmentPoint, point_id)
    if found is None:
        raise NotFound("environment.point", N_("没有这个监测点。"))
    return found


def course(session: Session, point_id: uuid.UUID, since: datetime) -> list[EnvironmentReading]:
    """The readings since then and the one before (a value holds until the next), oldest first."""
    of_point = select(EnvironmentReading).where(EnvironmentReading.point_id == point_id)
    newest = EnvironmentReading.observed_at.desc()
    before = session.scalars(of_point.where(EnvironmentReading.observed_at < since).order_by(newest).limit(1)).all()
    recent = of_point.where(EnvironmentReading.observed_at >= since).order_by(newest).limit(MOST_READINGS)
    return [*before, *reversed(session.scalars(recent).all())]
