"""What a channel tells us by itself: verified, stored once, acted on once. A lost notice costs seconds, never money.

Every notice is kept under a key that is unique in its channel, also those that prove nothing: whoever tries to forge a
payment leaves a trace. A repetition counts up and is answered like the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.ids import new_id
from cloud.kit.jobs import Begin, enqueue
from cloud.payments import arrivals, asking, channels, refunds, service
from cloud.payments.contract import BadNotice, Notice, NoticeKind, Reply
from cloud.payments.model import UNSETTLED, ChannelNotice, Payment, Refund

log = structlog.get_logger()

LARGEST_BYTES = 64 * 1024


def take(begin: Begin, name: str, headers: Mapping[str, str], body: bytes) -> Reply:
    """One notice of the channel `name`: raw bytes in, the answer it wants out. Raises `Unavailable` (no channel)."""
    channel = channels.of(name)
    now = clock.now()
    try:
        if len(body) > LARGEST_BYTES:
            raise BadNotice("too_large")
        notice = channel.parse_notice({each.lower(): value for each, value in headers.items()}, body, now)
    except BadNotice as bad:
        log.error("payment notice refused", channel=name, code=bad.code)
        with begin() as session:
            _keep(session, name, f"bad:{hashlib.sha256(body).hexdigest()}", "bad", "", body[:4096], bad.code)
        return channel.reply(False)
    with begin() as session:
        known = session.scalar(
            select(ChannelNotice.verdict).where(ChannelNotice.channel == name, ChannelNotice.key == notice.key)
        )
        verdict = known or _act(session, name, notice)
        _keep(session, name, notice.key, notice.kind, notice.number, body, verdict)
    return channel.reply(True)


def _act(session: Session, channel: str, notice: Notice) -> str:
    if notice.kind == NoticeKind.PAYMENT:
        if notice.evidence is not None:
            return str(service.settle(session, channel, notice.evidence, by="notice"))
        _ask_soon(session, channel, notice.number)
        return "hint"
    if notice.refund is not None:
        arrivals.settle_refund(session, channel, notice.number, notice.refund_number, notice.refund, by="notice")
        return "refund"
    refund_id = session.scalar(select(Refund.id).where(Refund.number == notice.refund_number))
    if refund_id is not None:
        refunds.hurry(session, refund_id)
    return "hint"


def _ask_soon(session: Session, channel: str, number: str) -> None:
    payment_id = session.scalar(
        select(Payment.id).where(Payment.channel == channel, Payment.number == number, Payment.state.in_(UNSETTLED))
    )
    if payment_id is not None:
        enqueue(session, asking.JOB, payment_id=str(payment_id), at_once=True)


def _keep(session: Session, channel: str, key: str, kind: str, number: str, body: bytes, verdict: str) -> None:
    session.execute(
        insert(ChannelNotice)
        .values(
            id=new_id(),
            channel=channel,
            key=key,
            received_at=clock.now(),
            times=1,
            kind=kind,
            number=number,
            body=body.decode("utf-8", "replace").replace("\0", ""),
            verdict=verdict,
        )
        .on_conflict_do_update(index_elements=["channel", "key"], set_={"times": ChannelNotice.times + 1})
    )
