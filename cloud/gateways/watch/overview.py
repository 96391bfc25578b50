"""What the pages show of one box: every line with its instrument, what it said last, what is applied, what is wrong."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.gateways import overview, reconciliation
from cloud.gateways.model import Gateway, InboxMessage, LostRange, MessageStatus, PartitionLease, Reconciliation
from cloud.gateways.overview import BoxLine, LinkLine
from cloud.gateways.watch import limits
from cloud.gateways.watch.model import GatewayChange, SilenceAlarm
from cloud.gateways.watch.rules import Limit
from cloud.kit.errors import NotFound
from cloud.lis.instruments.model import Instrument
from cloud.staff.model import StaffAccount
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

CERTIFICATE_WARNS_DAYS = 30
SKEW_WARNS_S = 60
SHOWN = 50


@dataclass(frozen=True, slots=True)
class LineView:
    """One link on the page of its box."""

    line: LinkLine
    instrument: Instrument | None
    limit: Limit | None
    state_since: datetime | None
    """When it was seen in its present state first; None: since before anything was noted."""
    reason: str
    options: Mapping[str, Any]
    stored_through: int
    heard_at: datetime | None
    """When its newest message was stored here, by our clock."""
    pending: int
    """Stored, and not applied yet."""
    alarm: SilenceAlarm | None
    comparison: Reconciliation | None


@dataclass(frozen=True, slots=True)
class BoxView:
    box: BoxLine
    said: Mapping[str, Any]
    skew_s: float | None
    """Seconds that the box's clock is ahead of ours."""
    lease: PartitionLease | None
    lines: tuple[LineView, ...]
    alarms: tuple[SilenceAlarm, ...]
    """Open ones first, then the newest."""
    changes: tuple[GatewayChange, ...]
    lost: tuple[LostRange, ...]
    comparisons: tuple[Reconciliation, ...]
    people: Mapping[str, str]
    instruments: Mapping[str, str]
    """Names by link."""

    @property
    def store(self) -> Mapping[str, Any]:
        return self.said.get("store") or {}

    @property
    def damaged(self) -> bool:
        damage = self.store.get("damage") or {}
        return bool(damage.get("check") == "damaged" or damage.get("files"))

    @property
    def refused_frames(self) -> int:
        return sum(each.line.refused_frames for each in self.lines)


def box_view(session: Session, gateway_id: str) -> BoxView:
    """Raises NotFound for an unknown box."""
    found = overview.boxes(session, gateway_id)
    if not found:
        raise NotFound("gateway.unknown", N_("没有登记这个网关。"))
    [box] = found
    said = box.gateway.last_state or {}
    alarms = _alarms(session, gateway_id)
    lost = session.scalars(
        select(LostRange).where(LostRange.gateway == gateway_id).order_by(LostRange.declared_at.desc()).limit(SHOWN)
    ).all()
    comparisons = reconciliation.reconciliations(session, gateway_id, limit=200)
    instruments = {
        each.link: each for each in session.scalars(select(Instrument).where(Instrument.gateway == gateway_id))
    }
    ahead = box.gateway.clock_ahead_ms
    return BoxView(
        box=box,
        said=said,
        skew_s=None if ahead is None else ahead / 1000,
        lease=session.get(PartitionLease, box.gateway.partition, populate_existing=True),
        lines=tuple(_lines(session, box, said, instruments, alarms, comparisons)),
        alarms=tuple(alarms),
        changes=tuple(_changes(session, gateway_id)),
        lost=tuple(lost),
        comparisons=tuple(_worth_showing(comparisons)),
        people=_people(session, [each.declared_by for each in lost] + [each.asked_by or "" for each in comparisons]),
        instruments={link: each.name for link, each in instruments.items()},
    )


def _lines(
    session: Session,
    box: BoxLine,
    said: Mapping[str, Any],
    instruments: Mapping[str, Instrument],
    alarms: Sequence[SilenceAlarm],
    comparisons: Sequence[Reconciliation],
) -> Iterable[LineView]:
    spoken = {str(each["link"]): each for each in said.get("links", ())}
    since = _state_since(session, box.gateway.id)
    known = limits.in_force(session)
    compared: dict[str, Reconciliation] = {}
    for each in comparisons:
        compared.setdefault(each.link, each)
    open_alarms = {each.link: each for each in alarms if each.ended_at is None}
    for line in box.links:
        instrument = instruments.get(line.link)
        words = spoken.get(line.link, {})
        through, heard, pending = _stored(session, box.gateway.id, line)
        yield LineView(
            line=line,
            instrument=instrument,
            limit=known.instrument(instrument) if instrument else None,
            state_since=since.get(line.link),
            reason=str(words.get("reason") or ""),
            options=words.get("options") or {},
            stored_through=through,
            heard_at=heard,
            pending=pending,
            alarm=open_alarms.get(line.link),
            comparison=compared.get(line.link),
        )


def _stored(session: Session, gateway: str, line: LinkLine) -> tuple[int, datetime | None, int]:
    """(highest sequence stored, when, how many wait to be applied) of one link in one epoch."""
    here = (InboxMessage.gateway == gateway, InboxMessage.epoch == line.epoch, InboxMessage.link == line.link)
    newest = session.execute(
        select(InboxMessage.sequence, InboxMessage.stored_at)
        .where(*here)
        .order_by(InboxMessage.sequence.desc())
        .limit(1)
    ).first()
    pending = session.scalar(
        select(func.count()).select_from(InboxMessage).where(*here, InboxMessage.state == MessageStatus.PENDING)
    )
    return (newest.sequence, newest.stored_at, pending or 0) if newest else (0, None, pending or 0)


def _state_since(session: Session, gateway: str) -> dict[str, datetime]:
    rows = session.execute(
        select(GatewayChange.link, func.max(GatewayChange.at).label("at"))
        .where(GatewayChange.gateway == gateway, GatewayChange.what == "port")
        .group_by(GatewayChange.link)
    )
    return {row.link: row.at for row in rows}


def _alarms(session: Session, gateway: str) -> list[SilenceAlarm]:
    found = select(SilenceAlarm).where(SilenceAlarm.gateway == gateway)
    ordered = found.order_by(SilenceAlarm.ended_at.is_not(None), SilenceAlarm.opened_at.desc()).limit(SHOWN)
    return list(session.scalars(ordered.execution_options(populate_existing=True)))


def _changes(session: Session, gateway: str) -> Sequence[GatewayChange]:
    found = select(GatewayChange).where(GatewayChange.gateway == gateway)
    return session.scalars(found.order_by(GatewayChange.at.desc(), GatewayChange.id.desc()).limit(SHOWN)).all()


def _worth_showing(comparisons: Sequence[Reconciliation]) -> list[Reconciliation]:
    """All that found something or were asked for by a person; of the others the newest of each link."""
    seen: set[str] = set()
    shown = []
    for each in comparisons:
        if each.findings or each.asked_by or each.link not in seen:
            shown.append(each)
        seen.add(each.link)
    return shown[:SHOWN]


def _people(session: Session, actors: Iterable[str]) -> dict[str, str]:
    """Who did it, as a name."""
    ids = {uuid.UUID(each.removeprefix("staff:")) for each in actors if _is_account(each)}
    rows = session.execute(select(StaffAccount.id, StaffAccount.name).where(StaffAccount.id.in_(ids)))
    return {"system": _("系统")} | {f"staff:{account}": name for account, name in rows}


def _is_account(actor: str) -> bool:
    try:
        uuid.UUID(actor.removeprefix("staff:"))
    except ValueError:
        return False
    return actor.startswith("staff:")


def alarm(session: Session, alarm_id: uuid.UUID) -> tuple[SilenceAlarm, Gateway, Instrument | None]:
    found = session.get(SilenceAlarm, alarm_id, populate_existing=True)
    if found is None:
        raise NotFound("silence.alarm", N_("没有这条报警。"))
    instrument = session.get(Instrument, found.instrument_id) if found.instrument_id else None
    return found, session.get_one(Gateway, found.gateway), instrument


def open_alarms(session: Session) -> list[tuple[SilenceAlarm, Gateway, Instrument | None]]:
    """Silences that last, of boxes and instruments: what nobody deals with yet first, then the oldest."""
    rows = session.execute(
        select(SilenceAlarm, Gateway, Instrument)
        .join(Gateway, Gateway.id == SilenceAlarm.gateway)
        .outerjoin(Instrument, Instrument.id == SilenceAlarm.instrument_id)
        .where(SilenceAlarm.ended_at.is_(None))
        .order_by(SilenceAlarm.acknowledged_at.is_not(None), SilenceAlarm.opened_at)
        .execution_options(populate_existing=True)
    )
    return [(each, gateway, instrument) for each, gateway, instrument in rows]
