"""Writing down what became another on a box, when it describes itself and when it falls silent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from cloud.gateways.model import Gateway
from cloud.gateways.watch import rules
from cloud.gateways.watch.model import BOX, GatewayChange, SilenceAlarm


def note_state(session: Session, gateway: Gateway, said: dict[str, Any], said_at: datetime, now: datetime) -> None:
    """The box described itself: what changed since the last time, how far its clock is from ours, its silence is over.

    `gateway` still carries the description before. The distance of the clocks includes the way of the message.
    """
    gateway.clock_ahead_ms = round((said_at - now) / timedelta(milliseconds=1))
    for each in rules.changes(gateway.last_state, said):
        note(session, gateway.id, each, now)
    box_heard(session, gateway.id, now)


def note(session: Session, gateway_id: str, change: rules.Change, now: datetime) -> None:
    session.add(
        GatewayChange(
            gateway=gateway_id,
            link=change.link,
            what=change.what,
            before=change.before,
            after=change.after,
            detail=change.detail,
            at=now,
        )
    )


def box_heard(session: Session, gateway_id: str, heard_at: datetime, now: datetime | None = None) -> bool:
    """A box that was silent speaks: its alarm ends. False where there was none."""
    ended = session.execute(
        update(SilenceAlarm)
        .where(SilenceAlarm.gateway == gateway_id, SilenceAlarm.link == BOX, SilenceAlarm.ended_at.is_(None))
        .values(heard_at=heard_at, ended_at=now or heard_at)
        .returning(SilenceAlarm.id),
        execution_options={"synchronize_session": False},
    ).first()
    if ended is None:
        return False
    note(session, gateway_id, rules.Change("contact", rules.OFF, rules.ON), now or heard_at)
    return True
