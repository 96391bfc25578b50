"""Who has said nothing for too long: boxes by their descriptions, instruments by their messages; alarms begin and end.

Judged by the cloud's clock alone. While no ingest worker holds a box's partition nobody listens, so nobody is silent;
while a box is silent, or still has messages of a link to send, its instruments are not judged.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.gateways.arrivals import REUSED
from cloud.gateways.model import Gateway, GatewayStatus, PartitionLease
from cloud.gateways.overview import SILENT_AFTER
from cloud.gateways.watch import limits, rules
from cloud.gateways.watch.changes import box_heard, note
from cloud.gateways.watch.model import BOX, SilenceAlarm
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.kit.live import announce
from cloud.lis.instruments.model import Instrument, InstrumentState
from cloud.lis.results.signatory import Signatory, actor
from cloud.web.i18n import mark as N_

Place = tuple[str, str]
"""Gateway and link."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What one look changed."""

    opened: int = 0
    ended: int = 0


def look(session: Session, now: datetime) -> Watched:
    """Begin and end alarms as things stand at `now`. An alarm that is open is not opened again."""
    boxes = list(session.scalars(select(Gateway).order_by(Gateway.id).execution_options(populate_existing=True)))
    listening = _listening_since(session)
    silent = {each.id for each in boxes if _is_silent(each, listening.get(each.partition), now)}
    deaf = {each.id for each in boxes if each.partition not in listening}
    heard = last_heard(session)
    opened = ended = 0
    for box in boxes:
        if box.id in silent and box.last_seen_at is not None:
            if _open(session, box.id, BOX, None, box.last_seen_at, int(SILENT_AFTER.total_seconds()), now):
                note(session, box.id, rules.Change("contact", rules.ON, rules.OFF), now)
                opened += 1
        elif box.id not in deaf and box.last_seen_at is not None:
            ended += box_heard(session, box.id, box.last_seen_at, now)
    waiting = {(box.id, link) for box in boxes for link in _still_to_send(box)}
    unjudged = {each.id for each in boxes if not _is_heard(each, listening.get(each.partition), now)}
    for instrument, limit in limits.of_instruments(session):
        place = (instrument.gateway, instrument.link)
        if place in heard and instrument.gateway not in unjudged and place not in waiting:
            opened += _judge(session, instrument, limit, heard[place], now)
    ended += _end(session, heard, now)
    if opened or ended:
        announce(session, "gateways")
    return Watched(opened, ended)


def _listening_since(session: Session) -> dict[int, datetime]:
    """Partitions that an ingest worker holds, and since when: before that a box could not be heard."""
    rows = session.execute(
        select(PartitionLease.partition, PartitionLease.taken_at).where(
            PartitionLease.holder.is_not(None), PartitionLease.expires_at > text("clock_timestamp()")
        )
    )
    return {row.partition: row.taken_at for row in rows if row.taken_at is not None}


def _is_silent(box: Gateway, listening: datetime | None, now: datetime) -> bool:
    """A box that never spoke is being set up, one that is locked out may not speak."""
    if listening is None or box.last_seen_at is None or box.state != GatewayStatus.ACTIVE:
        return False
    return now - max(box.last_seen_at, listening) >= SILENT_AFTER


def _is_heard(box: Gateway, listening: datetime | None, now: datetime) -> bool:
    """It spoke a moment ago, and since somebody listens: what its instruments sent would be here."""
    if listening is None or box.last_seen_at is None:
        return False
    return box.last_seen_at >= listening and now - box.last_seen_at < SILENT_AFTER


def _still_to_send(box: Gateway) -> list[str]:
    return [str(each["link"]) for each in (box.last_state or {}).get("links", ()) if each.get("waiting")]


_HEARD = text(
    "SELECT c.gateway, c.link, max(m.stored_at) AS heard FROM gateway_link_cursor c CROSS JOIN LATERAL ("
    "SELECT stored_at FROM gateway_inbox m WHERE m.gateway = c.gateway AND m.epoch = c.epoch AND m.link = c.link"
    " ORDER BY m.sequence DESC LIMIT 1) m WHERE NOT starts_with(c.epoch, :reused) GROUP BY c.gateway, c.link"
)


def last_heard(session: Session) -> dict[Place, datetime]:
    """When the newest message of each link was stored here; a link of which nothing ever came is not in it."""
    return {(row.gateway, row.link): row.heard for row in session.execute(_HEARD, {"reused": REUSED})}


def _judge(session: Session, instrument: Instrument, limit: rules.Limit, heard: datetime, now: datetime) -> int:
    if limit.minutes is None or not rules.too_silent(limit, clock.local(heard), clock.local(now)):
        return 0
    place = (instrument.gateway, instrument.link)
    return _open(session, *place, instrument.id, heard, limit.minutes * 60, now)


def _open(
    session: Session,
    gateway: str,
    link: str,
    instrument: uuid.UUID | None,
    silent_since: datetime,
    limit_s: int,
    now: datetime,
) -> int:
    if session.get(Gateway, gateway) is None:  # an instrument may be registered before its box
        return 0
    made = session.execute(
        insert(SilenceAlarm)
        .values(
            id=new_id(),
            gateway=gateway,
            link=link,
            instrument_id=instrument,
            silent_since=silent_since,
            limit_s=limit_s,
            opened_at=now,
        )
        .on_conflict_do_nothing(index_elements=["gateway", "link"], index_where=SilenceAlarm.ended_at.is_(None))
        .returning(SilenceAlarm.id)
    ).first()
    return 0 if made is None else 1


def _end(session: Session, heard: Mapping[Place, datetime], now: datetime) -> int:
    """Instruments that were heard again, or that nobody expects anything of any more."""
    standing = session.execute(
        select(SilenceAlarm, Instrument.state)
        .outerjoin(Instrument, Instrument.id == SilenceAlarm.instrument_id)
        .where(SilenceAlarm.ended_at.is_(None), SilenceAlarm.link != BOX)
        .with_for_update(of=SilenceAlarm)
        .execution_options(populate_existing=True)
    ).all()
    ended = 0
    for alarm, state in standing:
        since = heard.get((alarm.gateway, alarm.link))
        if since is not None and since > alarm.silent_since:
            alarm.heard_at, alarm.ended_at = since, now
        elif state != InstrumentState.ACTIVE:
            alarm.ended_at = now
        ended += alarm.ended_at is not None
    session.flush()
    return ended


def acknowledge(session: Session, alarm_id: uuid.UUID, *, by: Signatory, reason: str) -> None:
    """Somebody deals with it, once, and says what was found and done; it stays until something is heard."""
    said = reason.strip()
    if not said:
        raise Invalid("silence.reason", N_("请写明原因和处理措施。"))
    changed = session.execute(
        update(SilenceAlarm)
        .where(SilenceAlarm.id == alarm_id, SilenceAlarm.acknowledged_at.is_(None))
        .values(acknowledged_at=clock.now(), acknowledged_by=by.id, acknowledged_by_name=by.name, reason=said)
        .returning(SilenceAlarm.gateway, SilenceAlarm.link)
    ).first()
    if changed is None:
        if session.get(SilenceAlarm, alarm_id) is None:
            raise NotFound("silence.alarm", N_("没有这条报警。"))
        raise Conflict("silence.acknowledged", N_("这条报警已有人处置，请刷新页面。"))
    announce(session, "gateways")
    record(
        session,
        actor=actor(by),
        action="gateway.silence_acknowledge",
        aggregate=("gateway", changed.gateway),
        after={"link": changed.link, "alarm": str(alarm_id)},
        reason=said,
    )


def unacknowledged(session: Session) -> int:
    """Silences that last and that nobody has dealt with, for the home page."""
    waiting = select(func.count()).where(SilenceAlarm.ended_at.is_(None), SilenceAlarm.acknowledged_at.is_(None))
    return session.scalar(waiting) or 0
