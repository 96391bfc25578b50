"""What the page of the HIS shows: messages of both directions, and whether the HIS answers. Read only."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from cloud.his.model import HisMessage, HisOutbox, HisPeer, IncomingState, OutgoingState
from cloud.his.outbox import WAITING_FOR_A_PERSON

PAGE_SIZE = 50
IN_TROUBLE = (IncomingState.RECEIVED, IncomingState.REFUSED, IncomingState.MALFORMED)


def incoming(session: Session, *, show: str, page: int) -> tuple[list[HisMessage], int]:
    """`show`: trouble (not applied) or all; newest first; and how many there are."""
    conditions = [HisMessage.state.in_(IN_TROUBLE)] if show == "trouble" else []
    total = session.scalar(select(func.count()).select_from(HisMessage).where(*conditions)) or 0
    found = select(HisMessage).where(*conditions).order_by(HisMessage.last_received_at.desc())
    rows = session.scalars(
        found.limit(PAGE_SIZE).offset((page - 1) * PAGE_SIZE).options(defer(HisMessage.raw), defer(HisMessage.answer))
    )
    return list(rows), total


def outgoing(session: Session, *, show: str, page: int) -> tuple[list[HisOutbox], int]:
    """`show`: trouble (not accepted yet) or all; newest first; and how many there are."""
    conditions = (
        [HisOutbox.state.not_in((OutgoingState.ACCEPTED, OutgoingState.SUPERSEDED))] if show == "trouble" else []
    )
    total = session.scalar(select(func.count()).select_from(HisOutbox).where(*conditions)) or 0
    found = select(HisOutbox).where(*conditions).order_by(HisOutbox.number.desc())
    rows = session.scalars(
        found.limit(PAGE_SIZE).offset((page - 1) * PAGE_SIZE).options(defer(HisOutbox.payload), defer(HisOutbox.answer))
    )
    return list(rows), total


def peer(session: Session) -> HisPeer | None:
    """None before the first message went out."""
    return session.get(HisPeer, 1, populate_existing=True)


def waiting_for_a_person(session: Session) -> int:
    """Messages of the HIS that were refused, and ours that it refused."""
    ours = select(func.count()).select_from(HisOutbox).where(HisOutbox.state.in_(WAITING_FOR_A_PERSON))
    theirs = select(func.count()).select_from(HisMessage).where(HisMessage.state == IncomingState.REFUSED)
    return (session.scalar(ours) or 0) + (session.scalar(theirs) or 0)
