"""Verbs of the environment: take in readings, and deal with alarms.

A reading that comes out of its turn (declared lost and arrived after all) is recorded and moves nothing that is newer;
an alarm in it that nobody heard of is kept as one that is over.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.bulk import insert_rows
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.kit.live import announce
from cloud.lis.environment.model import EnvironmentAlarm, EnvironmentPoint, EnvironmentReading
from cloud.web.i18n import mark as N_
from protocols.model import Reading

TOPIC = "environment"
ACKNOWLEDGE = "environment.acknowledge"


class Source(Protocol):
    """The message that carried them."""

    @property
    def inbox_id(self) -> uuid.UUID: ...
    @property
    def gateway(self) -> str: ...
    @property
    def link(self) -> str: ...
    @property
    def received_at(self) -> datetime: ...


class Person(Protocol):
    """Who deals with an alarm."""

    @property
    def id(self) -> uuid.UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def permissions(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A reading in the database's terms."""

    ordinal: int
    reading: Reading
    number: Decimal | None
    at: datetime


def store(session: Session, source: Source, readings: Sequence[tuple[int, Reading]]) -> int:
    """Record the readings of one message with their place in it; the caller makes sure that it is stored once.

    Gives how many alarms began.
    """
    began = 0
    rows: list[EnvironmentReading] = []
    for ordinal, reading in readings:
        quantity = reading.quantity
        at = clock.from_instrument(reading.observed_at) or source.received_at
        seen = Seen(ordinal, reading, quantity.number if quantity else None, at)
        point = _point(session, source, seen)
        rows.append(_row(point.id, source, seen))
        began += _follow(session, point, seen)
    insert_rows(session, rows)
    if readings:
        announce(session, TOPIC, {"link": source.link})
    return began


def _point(session: Session, source: Source, seen: Seen) -> EnvironmentPoint:
    """The point, locked; made by its first reading."""
    reading = seen.reading
    place = {"gateway": source.gateway, "link": source.link, "device": reading.device or source.link}
    session.execute(
        insert(EnvironmentPoint)
        .values(
            id=new_id(),
            created_at=clock.now(),
            name=reading.point,
            unit=reading.unit,
            alarms=[],
            observed_at=seen.at,
            **place,
        )
        .on_conflict_do_nothing()
    )
    return session.scalars(select(EnvironmentPoint).filter_by(name=reading.point, **place).with_for_update()).one()


def _row(point_id: uuid.UUID, source: Source, seen: Seen) -> EnvironmentReading:
    reading = seen.reading
    return EnvironmentReading(
        point_id=point_id,
        inbox_id=source.inbox_id,
        ordinal=seen.ordinal,
        value=reading.value,
        number=seen.number,
        unit=reading.unit,
        alarms=list(reading.alarms),
        observed_at=seen.at,
        received_at=source.received_at,
    )


def _follow(session: Session, point: EnvironmentPoint, seen: Seen) -> int:
    """The point's present state and its alarms after this reading; how many alarms began."""
    reading = seen.reading
    if seen.at < point.observed_at:
        return _remember(session, point, seen)
    point.value, point.number, point.unit = reading.value, seen.number, reading.unit
    point.alarms, point.observed_at = list(reading.alarms), seen.at
    standing = {
        each.alarm: each
        for each in session.scalars(
            select(EnvironmentAlarm).where(EnvironmentAlarm.point_id == point.id, EnvironmentAlarm.ended_at.is_(None))
        )
    }
    for name, alarm in standing.items():
        if name not in reading.alarms:
            alarm.ended_at = seen.at
        elif seen.number is not None and _is_worse(alarm, seen.number):
            alarm.worst_value, alarm.worst_number = reading.value, seen.number
    new = [each for each in dict.fromkeys(reading.alarms) if each not in standing]
    session.add_all(_begun(point, seen, each) for each in new)
    session.flush()
    return len(new)


def _remember(session: Session, point: EnvironmentPoint, seen: Seen) -> int:
    """What stood wrong then, where nothing that is recorded covers that moment."""
    covered = set(
        session.scalars(
            select(EnvironmentAlarm.alarm).where(
                EnvironmentAlarm.point_id == point.id,
                EnvironmentAlarm.began_at <= seen.at,
                EnvironmentAlarm.ended_at.is_(None) | (EnvironmentAlarm.ended_at >= seen.at),
            )
        )
    )
    missed = [each for each in dict.fromkeys(seen.reading.alarms) if each not in covered]
    for each in missed:
        alarm = _begun(point, seen, each)
        alarm.ended_at = seen.at
        session.add(alarm)
    session.flush()
    return len(missed)


def _begun(point: EnvironmentPoint, seen: Seen, name: str) -> EnvironmentAlarm:
    value = seen.reading.value
    return EnvironmentAlarm(
        point_id=point.id,
        alarm=name,
        began_at=seen.at,
        began_value=value,
        worst_value=value,
        worst_number=seen.number,
    )


def _is_worse(alarm: EnvironmentAlarm, number: Decimal) -> bool:
    if alarm.worst_number is None:
        return True
    if alarm.alarm == "high":
        return number > alarm.worst_number
    return alarm.alarm == "low" and number < alarm.worst_number


def acknowledge(session: Session, alarm_id: uuid.UUID, *, by: Person, reason: str) -> None:
    """Somebody has dealt with the alarm, once, and says what was found and done."""
    if ACKNOWLEDGE not in by.permissions:
        raise Forbidden("environment.acknowledge", N_("您没有处置环境报警的权限。"))
    said = reason.strip()
    if not said:
        raise Invalid("environment.reason", N_("请写明原因和处理措施。"))
    changed = session.execute(
        update(EnvironmentAlarm)
        .where(EnvironmentAlarm.id == alarm_id, EnvironmentAlarm.acknowledged_at.is_(None))
        .values(acknowledged_at=clock.now(), acknowledged_by=by.id, acknowledged_by_name=by.name, reason=said)
        .returning(EnvironmentAlarm.id)
    ).scalar()
    if changed is None:
        if session.get(EnvironmentAlarm, alarm_id) is None:
            raise NotFound("environment.alarm", N_("没有这条报警。"))
        raise Conflict("environment.acknowledged", N_("这条报警已有人处置，请刷新页面。"))
    announce(session, TOPIC, {"alarm": str(alarm_id)})
    record(
        session,
        actor=f"staff:{by.id}",
        action="environment.acknowledge",
        aggregate=("environment_alarm", alarm_id),
        reason=said,
    )
