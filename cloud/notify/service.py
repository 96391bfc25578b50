"""Messages: stored with a job in the caller's transaction, sent outside any transaction, recorded try by try."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import clock
from cloud.kit.ids import new_id
from cloud.kit.jobs import enqueue
from cloud.notify.errors import DeliveryFailed
from cloud.notify.model import Delivery, DeliveryAttempt
from cloud.notify.rules import CODES, SENDING_TIMEOUT, checked_parameters, gives_over, next_wait

SMS = "sms"
WECHAT = "wechat_message"
ALIPAY = "alipay_message"
DELIVER = "notify.deliver"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a message goes. `address` is a phone or an open id; `shown` is what staff see of it, masked.

    `fallback`: a phone that gets it as an SMS when the channel cannot bring it (`rules.gives_over`).
    """

    transport: str
    address: str = field(repr=False)
    shown: str
    fallback: Recipient | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One try of one delivery, as a transport gets it. `id` is the same for every try: channels drop the second."""

    id: uuid.UUID
    attempt: int
    transport: str
    address: str = field(repr=False)
    template: str
    parameters: dict[str, str] = field(repr=False)


def available(transport: str) -> bool:
    """Whether this deployment has the channel set up; without it nothing should promise a message."""
    known = settings()
    if transport == SMS:
        return bool(known.sms_url)
    if transport == ALIPAY:
        return bool(known.alipay_app_id and known.alipay_message_template_id)
    return bool(known.wechat_app_id)


def send(
    session: Session,
    *,
    recipient: Recipient,
    template: str,
    parameters: dict[str, str],
    dedupe_key: str,
    expires_at: datetime | None = None,
) -> Delivery:
    """Store the message and its job in this transaction; with a `dedupe_key` already used nothing new is sent.

    Raises `TemplateMisused` when `parameters` are not those the template declares. A channel that is away is no error
    here: the job tries again until `expires_at` (default: the template's lifetime).
    """
    known = checked_parameters(template, parameters)
    now = clock.now()
    values = {
        "id": new_id(),
        "created_at": now,
        "dedupe_key": dedupe_key,
        "transport": recipient.transport,
        "address": recipient.address,
        "address_shown": recipient.shown,
        "fallback": recipient.fallback.address if recipient.fallback else None,
        "fallback_shown": recipient.fallback.shown if recipient.fallback else None,
        "template": template,
        "parameters": json.dumps(parameters, ensure_ascii=False),
        "state": "waiting",
        "attempts": 0,
        "next_attempt_at": now,
        "expires_at": expires_at or now + known.lifetime,
    }
    made = session.scalar(
        insert(Delivery).values(values).on_conflict_do_nothing(index_elements=["dedupe_key"]).returning(Delivery.id)
    )
    if made is not None:
        enqueue(session, DELIVER, delivery_id=str(made))
    return session.scalars(select(Delivery).where(Delivery.dedupe_key == dedupe_key)).one()


def claim(session: Session, delivery_id: uuid.UUID) -> Message | None:
    """Take the delivery for one try, by one conditional statement; None when it is done, not due or another's.

    A `sending` whose time is over died with its worker and is taken again. What has expired is closed.
    """
    now = clock.now()
    due = (
        Delivery.id == delivery_id,
        Delivery.state.in_(("waiting", "sending")),
        Delivery.next_attempt_at <= now,
    )
    session.execute(update(Delivery).where(*due, Delivery.expires_at <= now).values(state="expired", error="expired"))
    row = session.scalar(
        update(Delivery)
        .where(*due, Delivery.expires_at > now)
        .values(state="sending", attempts=Delivery.attempts + 1, next_attempt_at=now + SENDING_TIMEOUT)
        .returning(Delivery)
        .execution_options(populate_existing=True)
    )
    if row is None:
        _come_back(session, delivery_id)
        return None
    return Message(row.id, row.attempts, row.transport, row.address, row.template, json.loads(row.parameters))


def _come_back(session: Session, delivery_id: uuid.UUID) -> None:
    """A job that came before its time puts itself at the right one."""
    row = session.get(Delivery, delivery_id, populate_existing=True)
    if row is not None and row.state in ("waiting", "sending"):
        enqueue(session, DELIVER, at=row.next_attempt_at, delivery_id=str(delivery_id))


def record_sent(session: Session, message: Message, receipt: str | None) -> None:
    """The channel took it."""
    session.add(DeliveryAttempt(delivery_id=message.id, number=message.attempt, outcome="sent"))
    session.execute(
        update(Delivery)
        .where(Delivery.id == message.id, Delivery.state != "sent")
        .values(state="sent", sent_at=clock.now(), receipt=receipt, error=None)
    )


def record_failure(session: Session, message: Message, failure: DeliveryFailed) -> None:
    """The try failed: for good, or to be repeated after the back-off (unless another worker took it over meanwhile)."""
    outcome = "failed" if failure.permanent else "retry"
    session.add(DeliveryAttempt(delivery_id=message.id, number=message.attempt, outcome=outcome, error=failure.code))
    mine = (Delivery.id == message.id, Delivery.state == "sending", Delivery.attempts == message.attempt)
    row = session.get(Delivery, message.id, populate_existing=True)
    by_phone = row is not None and row.fallback is not None and gives_over(message.attempt, failure.permanent)
    if failure.permanent or by_phone:
        ended = update(Delivery).where(*mine).values(state="failed", error=failure.code).returning(Delivery.id)
        if session.execute(ended).first() is not None and by_phone and row is not None:
            _by_phone(session, row, message)
        return
    at = clock.now() + next_wait(message.attempt, failure.retry_after_s)
    done = session.execute(
        update(Delivery)
        .where(*mine)
        .values(state="waiting", next_attempt_at=at, error=failure.code)
        .returning(Delivery.id)
    )
    if done.first() is not None:
        enqueue(session, DELIVER, at=at, delivery_id=str(message.id))


def _by_phone(session: Session, row: Delivery, message: Message) -> None:
    """The same message once more, as an SMS; the channel's delivery is over and is not tried beside it."""
    send(
        session,
        recipient=Recipient(SMS, row.fallback or "", row.fallback_shown or ""),
        template=message.template,
        parameters=message.parameters,
        dedupe_key=f"{row.dedupe_key}:sms",
        expires_at=row.expires_at,
    )


def overdue(session: Session, *, late: datetime, limit: int = 500) -> list[uuid.UUID]:
    """Open deliveries whose try was due before `late`: their job was lost, or their worker died."""
    return list(
        session.scalars(
            select(Delivery.id)
            .where(Delivery.state.in_(("waiting", "sending")), Delivery.next_attempt_at < late)
            .order_by(Delivery.next_attempt_at)
            .limit(limit)
        )
    )


def recent(
    session: Session, *, state: str | None = None, transport: str | None = None, limit: int = 200
) -> list[Delivery]:
    """The newest deliveries, for the staff's page."""
    found = select(Delivery).order_by(Delivery.created_at.desc(), Delivery.id.desc()).limit(limit)
    if state:
        found = found.where(Delivery.state == state)
    if transport:
        found = found.where(Delivery.transport == transport)
    return list(session.scalars(found))


def attempts_of(session: Session, delivery_id: uuid.UUID) -> list[DeliveryAttempt]:
    """Every try of one delivery, in order."""
    return list(
        session.scalars(
            select(DeliveryAttempt)
            .where(DeliveryAttempt.delivery_id == delivery_id)
            .order_by(DeliveryAttempt.number, DeliveryAttempt.id)
        )
    )


def try_again(session: Session, delivery_id: uuid.UUID) -> bool:
    """Staff ask for one more try of a failed or expired delivery; False when it is not in such a state."""
    now = clock.now()
    lifetime = func.greatest(Delivery.expires_at, now + SENDING_TIMEOUT * 10)
    done = session.scalar(
        update(Delivery)
        .where(Delivery.id == delivery_id, or_(Delivery.state == "failed", Delivery.state == "expired"))
        .where(Delivery.template.not_in(CODES))
        .values(state="waiting", next_attempt_at=now, expires_at=lifetime)
        .returning(Delivery.id)
    )
    if done is None:
        return False
    enqueue(session, DELIVER, delivery_id=str(delivery_id))
    return True
