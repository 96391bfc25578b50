"""The verbs on boxes: register, lock out, declare a gap lost; and what a registered box is."""

from __future__ import annotations

import uuid

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.gateways.arrivals import REUSED
from cloud.gateways.inbox import lost_ranges
from cloud.gateways.model import (
    Gateway,
    GatewayStatus,
    InboxMessage,
    LinkCursor,
    LostRange,
    MessageStatus,
    Quarantine,
)
from cloud.gateways.rules import MAX_SEQUENCE
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.live import announce
from cloud.web.i18n import mark as N_
from protocols.uplink.envelope import UplinkError, check_name


def register_gateway(
    session: Session, *, id: str, name: str, campus_id: uuid.UUID, partition: int | None = None, by: str = "system"
) -> Gateway:
    """A new box, known from now on. `partition` None: the one with the fewest boxes; the box's own configuration must
    name the same.

    Registering the same box again with the same facts gives the row that is there. Raises Invalid for a name that
    cannot stand in a topic or a partition that does not exist, Conflict when the name is taken by another box.
    """
    try:
        check_name(id)
    except UplinkError as error:
        raise Invalid(
            "gateway.name", N_("网关编号只能由字母、数字、下划线、点和连字符组成，最多 64 个字符。")
        ) from error
    count = settings().partitions
    if partition is not None and not 0 <= partition < count:
        raise Invalid("gateway.partition", N_("分区应在 0 和 {last} 之间。"), last=count - 1)
    known = session.get(Gateway, id)
    if known is not None:
        if known.campus_id != campus_id or partition not in (None, known.partition):
            raise Conflict("gateway.registered", N_("网关 {gateway} 已经登记在别处。"), gateway=id)
        return known
    if partition is None:
        partition = _emptiest(session, count)
    gateway = Gateway(id=id, name=name, campus_id=campus_id, partition=partition)
    session.add(gateway)
    session.flush()
    record(
        session,
        actor=by,
        action="gateway.register",
        aggregate=("gateway", id),
        after={"name": name, "campus": str(campus_id), "partition": partition},
    )
    return gateway


def _emptiest(session: Session, count: int) -> int:
    rows = session.execute(select(Gateway.partition, func.count()).group_by(Gateway.partition))
    boxes: dict[int, int] = {row[0]: row[1] for row in rows}
    return min(range(count), key=lambda each: (boxes.get(each, 0), each))


def lock_out(session: Session, gateway_id: str, *, by: str, reason: str) -> Gateway:
    """A stolen or retired box: from now on what arrives under its name is quarantined."""
    gateway = session.get(Gateway, gateway_id, with_for_update=True, populate_existing=True)
    if gateway is None:
        raise NotFound("gateway.unknown", N_("没有登记这个网关。"))
    before = gateway.state
    gateway.state = GatewayStatus.LOCKED_OUT
    record(
        session,
        actor=by,
        action="gateway.lock_out",
        aggregate=("gateway", gateway_id),
        before={"state": str(before)},
        after={"state": str(gateway.state)},
        reason=reason,
    )
    return gateway


def declare_lost(
    session: Session, *, gateway: str, epoch: str, link: str, first: int, last: int, by: str, reason: str
) -> LostRange:
    """The sequences of the gap that this link stands at will never come; the link goes on behind them.

    Only the gap as it stands now can be declared: raises Conflict when it was filled or has moved in the meantime.
    """
    if not reason.strip():
        raise Invalid("gateway.lost_reason", N_("请写明为什么认定这些消息已经丢失。"))
    cursor = session.get(LinkCursor, (gateway, epoch, link), with_for_update=True, populate_existing=True)
    if cursor is None or (cursor.gap_first, cursor.gap_last) != (first, last) or _any_stored(session, cursor):
        raise Conflict("gateway.gap_moved", N_("缺口已经变化或已补齐，请刷新页面。"))
    known = lost_ranges(session, (gateway, epoch, link), after=first - 1)
    if (first, last) in known:
        raise Conflict("gateway.gap_moved", N_("缺口已经变化或已补齐，请刷新页面。"))
    lost = LostRange(
        gateway=gateway,
        epoch=epoch,
        link=link,
        first=first,
        last=last,
        declared_at=clock.now(),
        declared_by=by,
        reason=reason.strip(),
    )
    session.add(lost)
    session.flush()
    record(
        session,
        actor=by,
        action="gateway.declare_lost",
        aggregate=("gateway", gateway),
        after={"epoch": epoch, "link": link, "first": first, "last": last},
        reason=reason.strip(),
    )
    return lost


def _any_stored(session: Session, cursor: LinkCursor) -> bool:
    """Whether a part of the gap has arrived since the cursor was written."""
    found = select(InboxMessage.id).where(
        InboxMessage.gateway == cursor.gateway,
        InboxMessage.epoch == cursor.epoch,
        InboxMessage.link == cursor.link,
        InboxMessage.sequence.between(cursor.gap_first, cursor.gap_last),
    )
    return session.execute(found.limit(1)).first() is not None


def rollback_handled(session: Session, gateway_id: str, *, by: str) -> None:
    """Somebody dealt with a box whose data went back. One that still counts too low is noticed again when it speaks."""
    gateway = session.get(Gateway, gateway_id, with_for_update=True, populate_existing=True)
    if gateway is None:
        raise NotFound("gateway.unknown", N_("没有登记这个网关。"))
    if gateway.rolled_back is None:
        return
    before = gateway.rolled_back
    gateway.rolled_back = None
    announce(session, "gateways")
    record(
        session,
        actor=by,
        action="gateway.rollback_handled",
        aggregate=("gateway", gateway_id),
        before={"rolled_back": before},
    )


def apply_again(session: Session, inbox_id: uuid.UUID, *, by: str) -> InboxMessage:
    """The cause of a quarantine was cured: the message waits once more and is applied out of its turn, late.

    Raises Conflict for anything but a message that the laboratory refused (what the box or the wire broke stays).
    """
    message = _locked_message(session, inbox_id)
    if message.state != MessageStatus.QUARANTINED or message.applied_by is None:
        raise Conflict("gateway.not_refused", N_("只有处理失败而被隔离的消息才能再次处理。"))
    return _put_back(session, message, "gateway.apply_again", by)


def accept(session: Session, inbox_id: uuid.UUID, *, by: str) -> InboxMessage:
    """A person read a message that was set aside for its repeated number and says that it is new: applied late.

    Raises Conflict for any other message, and for one that the box could not read.
    """
    message = _locked_message(session, inbox_id)
    if not may_be_accepted(message):
        raise Conflict("gateway.not_set_aside", N_("只有编号重复而被搁置的消息才需要核对后处理。"))
    # Nothing is counted under its epoch: as if everything there had been applied, this one late.
    counted = {"applied_through": MAX_SEQUENCE, "gap_requests": 0}
    session.execute(
        insert(LinkCursor)
        .values(gateway=message.gateway, epoch=message.epoch, link=message.link, **counted)
        .on_conflict_do_nothing()
    )
    return _put_back(session, message, "gateway.accept", by)


def may_be_accepted(message: InboxMessage) -> bool:
    """Whether it was set aside decoded whole, and nobody has decided about it yet."""
    undecided = message.state == MessageStatus.QUARANTINED and message.applied_by is None
    return undecided and message.epoch.startswith(REUSED) and bool(message.driver)


def _locked_message(session: Session, inbox_id: uuid.UUID) -> InboxMessage:
    message = session.get(InboxMessage, inbox_id, with_for_update=True, populate_existing=True)
    if message is None:
        raise NotFound("gateway.message_unknown", N_("没有这条消息。"))
    return message


def _put_back(session: Session, message: InboxMessage, action: str, by: str) -> InboxMessage:
    before = {"reason": message.reason}
    message.state, message.reason = MessageStatus.PENDING, None
    message.handled_at = message.handled_by = None
    announce(session, "gateways")
    record(session, actor=by, action=action, aggregate=("gateway_message", message.id), before=before)
    return message


def handle(session: Session, found: InboxMessage | Quarantine, *, by: str) -> None:
    """Somebody looked at it: it leaves the list of what waits for a person and stays stored."""
    if found.handled_at is None:
        found.handled_at, found.handled_by = clock.now(), by
        announce(session, "gateways")
        record(session, actor=by, action="gateway.handle", aggregate=("gateway_message", found.id))
