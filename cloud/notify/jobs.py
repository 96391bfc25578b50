"""Sending: claim, call the channel with no transaction open, record. And a sweep for what lost its job."""

from __future__ import annotations

import uuid
from datetime import timedelta

import structlog
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.jobs import Begin, enqueue, job
from cloud.notify import service, transports
from cloud.notify.errors import DeliveryFailed

log = structlog.get_logger()

LATE = timedelta(minutes=2)


@job(service.DELIVER, own_transactions=True)
def deliver(begin: Begin, delivery_id: str) -> None:
    """One try. The channel drops a repetition by the delivery's id, so a killed worker costs nothing but time."""
    with begin() as session:
        message = service.claim(session, uuid.UUID(delivery_id))
    if message is None:
        return
    try:
        receipt = transports.send(begin, message)
    except DeliveryFailed as failure:
        log.warning(
            "message not taken",
            delivery=delivery_id,
            transport=message.transport,
            code=failure.code,
            permanent=failure.permanent,
            attempt=message.attempt,
        )
        with begin() as session:
            service.record_failure(session, message, failure)
        return
    with begin() as session:
        service.record_sent(session, message, receipt)
    log.info("message sent", delivery=delivery_id, transport=message.transport, attempt=message.attempt)


@job("notify.sweep", every="* * * * *")
def sweep(session: Session, **_: object) -> None:
    """Put a job for every delivery that is late: nothing that must be sent hangs on one job."""
    for delivery_id in service.overdue(session, late=clock.now() - LATE):
        enqueue(session, service.DELIVER, delivery_id=str(delivery_id))
