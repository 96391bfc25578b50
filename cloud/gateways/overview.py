"""What pages show of boxes and their messages: read only, and never more of a patient than the reader may see."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session, defer

from cloud.gateways.arrivals import REUSED
from cloud.gateways.model import Gateway, InboxMessage, LinkCursor, MessageStatus, PartitionLease, Quarantine
from cloud.hospital.model import Campus
from cloud.kit import clock
from cloud.lis.worklists import service as worklists

PAGE_SIZE = 50
SILENT_AFTER = timedelta(seconds=100)
"""A box describes itself every 30 s: three times missed."""
NEEDS_A_PERSON = or_(
    InboxMessage.state.in_([MessageStatus.QUARANTINED, MessageStatus.UNDECODED, MessageStatus.INCOMPLETE]),
    InboxMessage.undecoded > 0,
)


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What the box said at `at`, and the highest sequence it had received before."""

    said: int
    stored: int
    at: datetime


@dataclass(frozen=True, slots=True)
class LinkLine:
    """One link of one box: what the box says and what is applied here."""

    link: str
    epoch: str
    state: str
    driver: str
    last_received_at: datetime | None
    last_sequence: int
    waiting: int
    refused_frames: int
    answered_queries: int
    applied_through: int
    gap: tuple[int, int] | None
    gap_since: datetime | None
    gap_requests: int
    rolled_back: RolledBack | None
    """The box counted lower than what it had received before: it was restored from an old copy."""


@dataclass(frozen=True, slots=True)
class BoxLine:
    gateway: Gateway
    campus: str
    online: bool
    software: str
    clock_sure: bool
    waiting: int
    worklist_newest: int
    links: tuple[LinkLine, ...]


def boxes(session: Session, gateway_id: str | None = None) -> list[BoxLine]:
    """Every registered box with its links, by name; or the one that is named, if it is registered."""
    cursors: dict[str, list[LinkCursor]] = defaultdict(list)
    counted = select(LinkCursor).where(~LinkCursor.epoch.startswith(REUSED, autoescape=True))
    found = select(Gateway, Campus.name).join(Campus, Campus.id == Gateway.campus_id).order_by(Gateway.id)
    if gateway_id is not None:
        counted = counted.where(LinkCursor.gateway == gateway_id)
        found = found.where(Gateway.id == gateway_id)
    for cursor in session.scalars(counted.execution_options(populate_existing=True)):
        cursors[cursor.gateway].append(cursor)
    rows = session.execute(found.execution_options(populate_existing=True))
    now = clock.now()
    return [_box(session, gateway, campus, cursors[gateway.id], now) for gateway, campus in rows]


def _box(session: Session, gateway: Gateway, campus: str, cursors: list[LinkCursor], now: datetime) -> BoxLine:
    said = gateway.last_state or {}
    links = _links(gateway, said, cursors)
    return BoxLine(
        gateway=gateway,
        campus=campus,
        online=gateway.last_seen_at is not None and now - gateway.last_seen_at < SILENT_AFTER,
        software=str(said.get("software", "")),
        clock_sure=bool(said.get("clock_sure", True)),
        waiting=sum(each.waiting for each in links),
        worklist_newest=worklists.newest_revision(session, gateway.id),
        links=links,
    )


def _links(gateway: Gateway, said: Mapping[str, Any], cursors: list[LinkCursor]) -> tuple[LinkLine, ...]:
    """What the box names, and what it does not name any more but still has a gap here."""
    applied = {(each.epoch, each.link): each for each in cursors}
    epoch = gateway.epoch or ""
    back = {link: _rolled_back(found) for link, found in (gateway.rolled_back or {}).items()}
    found = [
        _link(epoch, each, applied.pop((epoch, each["link"]), None), back.get(each["link"]))
        for each in said.get("links", ())
    ]
    found += [
        _link(each.epoch, {"link": each.link}, each, back.get(each.link) if each.epoch == epoch else None)
        for each in applied.values()
        if each.gap_first is not None or each.epoch == epoch or not epoch
    ]
    return tuple(sorted(found, key=lambda each: (each.link, each.epoch)))


def _rolled_back(found: Mapping[str, Any]) -> RolledBack:
    return RolledBack(int(found["said"]), int(found["stored"]), datetime.fromisoformat(found["at"]))


def _link(epoch: str, said: Mapping[str, Any], cursor: LinkCursor | None, back: RolledBack | None) -> LinkLine:
    received = said.get("last_received_at")
    gap = cursor is not None and cursor.gap_first is not None and cursor.gap_last is not None
    return LinkLine(
        link=str(said["link"]),
        epoch=epoch,
        state=str(said.get("state", "")),
        driver=str(said.get("driver", "")),
        last_received_at=datetime.fromisoformat(received) if received else None,
        last_sequence=int(said.get("last_sequence", 0)),
        waiting=int(said.get("waiting", 0)),
        refused_frames=int(said.get("refused_frames", 0)),
        answered_queries=int(said.get("answered_queries", 0)),
        applied_through=cursor.applied_through if cursor else 0,
        gap=(cursor.gap_first, cursor.gap_last) if gap else None,  # type: ignore[union-attr, arg-type]
        gap_since=cursor.gap_since if cursor else None,
        gap_requests=cursor.gap_requests if cursor else 0,
        rolled_back=back,
    )


def leases(session: Session) -> list[PartitionLease]:
    """Which worker holds which partition."""
    return list(
        session.scalars(
            select(PartitionLease).order_by(PartitionLease.partition).execution_options(populate_existing=True)
        )
    )


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """`show`: attention, pending, all or a state; empty text does not filter."""

    show: str = "attention"
    gateway: str = ""
    link: str = ""
    page: int = 1


def messages(session: Session, wanted: MessageFilter) -> tuple[list[InboxMessage], int]:
    """A page of messages, newest first, without their bytes; and how many there are in all."""
    conditions = _conditions(wanted)
    total = session.scalar(select(func.count()).select_from(InboxMessage).where(*conditions)) or 0
    found = (
        select(InboxMessage)
        .where(*conditions)
        .order_by(InboxMessage.id.desc())
        .limit(PAGE_SIZE)
        .offset((max(wanted.page, 1) - 1) * PAGE_SIZE)
        .options(defer(InboxMessage.raw), defer(InboxMessage.items))
    )
    return list(session.scalars(found)), total


def _conditions(wanted: MessageFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.show == "attention":
        conditions += [NEEDS_A_PERSON, InboxMessage.handled_at.is_(None)]
    elif wanted.show in set(MessageStatus):
        state = InboxMessage.state == wanted.show
        conditions.append(or_(state, InboxMessage.undecoded > 0) if wanted.show == "undecoded" else state)
    if wanted.gateway:
        conditions.append(InboxMessage.gateway == wanted.gateway)
    if wanted.link:
        conditions.append(InboxMessage.link == wanted.link)
    return conditions


def quarantined(session: Session, *, all_of_them: bool = False) -> list[Quarantine]:
    """Payloads that were no message of a known box, the last that came first; at most a page."""
    found = select(Quarantine).order_by(Quarantine.last_at.desc()).limit(PAGE_SIZE)
    if not all_of_them:
        found = found.where(Quarantine.handled_at.is_(None))
    return list(session.scalars(found.options(defer(Quarantine.payload))))


def waiting_for_a_person(session: Session) -> int:
    """Messages, payloads and gaps that nobody has looked at yet."""
    unread = select(func.count()).select_from(InboxMessage).where(NEEDS_A_PERSON, InboxMessage.handled_at.is_(None))
    payloads = select(func.count()).select_from(Quarantine).where(Quarantine.handled_at.is_(None))
    gaps = select(func.count()).select_from(LinkCursor).where(LinkCursor.gap_first.is_not(None))
    return sum(session.scalar(each) or 0 for each in (unread, payloads, gaps))


def message(session: Session, inbox_id: uuid.UUID) -> InboxMessage | None:
    return session.get(InboxMessage, inbox_id)


@dataclass(frozen=True, slots=True)
class ItemLine:
    """One decoded item as a row."""

    kind: str
    specimen: str
    code: str
    value: str
    unit: str
    note: str


def item_lines(items: list[Any]) -> list[ItemLine]:
    """What the driver made of a message; absent fields are empty."""
    return [_item_line(each) for each in items]


def _item_line(item: dict[str, Any]) -> ItemLine:
    places = [item.get(key) for key in ("device", "module", "destination", "rack", "position", "parent")]
    marks = [*item.get("flags", ()), *item.get("alarms", ())]
    notes = [item.get("reason"), *marks, *places, item.get("detail"), item.get("text")]
    return ItemLine(
        kind=str(item.get("kind", "")),
        specimen=item.get("specimen") or ", ".join(item.get("specimens", ())),
        code=next((item[key] for key in ("code", "name", "point", "action") if item.get(key)), ""),
        value=item.get("value") or "",
        unit=item.get("unit") or "",
        note=" ".join(str(each) for each in notes if each),
    )
