"""What a box says of itself: kept, compared with what it sent, and answered with what it misses of its worklist."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloud.gateways import downlink, rules
from cloud.gateways.arrivals import state_json
from cloud.gateways.model import Gateway, InboxMessage, MessageStatus
from cloud.gateways.watch import changes
from cloud.kit import clock
from protocols.uplink.envelope import GatewayState

log = structlog.get_logger(__name__)


def store_state(session: Session, state: GatewayState) -> None:
    """Keep a box's description of itself unless a newer one is stored; its worklist revision goes with it."""
    gateway = session.get(Gateway, state.gateway, with_for_update={"key_share": True}, populate_existing=True)
    if gateway is None or not rules.newer_state(
        gateway.last_state_at, gateway.epoch, state.at, state.epoch, clock.now(), sure=state.clock_sure
    ):
        return
    if gateway.epoch != state.epoch:
        gateway.rolled_back = None
    _note_rollback(session, gateway, state)
    _correct_times(session, gateway, state)
    said = state_json(state)
    changes.note_state(session, gateway, said, state.at, clock.now())
    gateway.epoch = state.epoch
    gateway.last_state = said
    gateway.last_state_at = state.at
    gateway.worklist_revision_acked = state.worklist_revision
    downlink.consider(session, gateway)


def _note_rollback(session: Session, gateway: Gateway, state: GatewayState) -> None:
    """A box that counts lower than what it had received before it spoke was restored from an old copy.

    Messages received since it spoke prove nothing. Only clocks that are sure are compared, both of them the box's own;
    the tail of a message that broke off is left out, it gets its number long after its last frame.
    """
    if not state.clock_sure:
        return
    for link in state.links:
        stored = session.scalar(
            select(func.max(InboxMessage.sequence)).where(
                InboxMessage.gateway == state.gateway,
                InboxMessage.epoch == state.epoch,
                InboxMessage.link == link.link,
                InboxMessage.sequence > link.last_sequence,
                InboxMessage.received_at < rules.received_surely_before(state.at),
                InboxMessage.clock_sure,
                InboxMessage.state != MessageStatus.INCOMPLETE,
            )
        )
        if stored is not None and link.link not in (gateway.rolled_back or {}):
            log.error("box_rolled_back", gateway=state.gateway, link=link.link, said=link.last_sequence, stored=stored)
            found = {"said": link.last_sequence, "stored": stored, "at": state.at.isoformat()}
            gateway.rolled_back = {**(gateway.rolled_back or {}), link.link: found}


def _correct_times(session: Session, gateway: Gateway, state: GatewayState) -> None:
    """A box knows by now how wrong its clock was when it received these: kept beside what it said then."""
    said_before = (gateway.last_state or {}).get("corrections", [])
    for each in state.corrections:
        if [each.link, each.first, each.last, each.shift_us] in said_before:
            continue
        log.warning("times_corrected", gateway=state.gateway, link=each.link, first=each.first, last=each.last)
        session.execute(
            update(InboxMessage)
            .where(
                InboxMessage.gateway == state.gateway,
                InboxMessage.epoch == state.epoch,
                InboxMessage.link == each.link,
                InboxMessage.sequence.between(each.first, each.last),
                InboxMessage.clock_sure.is_(False),
                InboxMessage.corrected_at.is_(None),
            )
            .values(corrected_at=InboxMessage.received_at + timedelta(microseconds=each.shift_us)),
            execution_options={"synchronize_session": False},
        )
