"""Taking in what the HIS sends: stored with its bytes first, acted on second, answered from what was committed.

A repeat of a message that was applied is answered with the same bytes as the first time. One that was refused is tried
again: the cause (an unmapped item, a wrong file) may have been cured.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.his import answers
from cloud.his.acting import Unsupported, act
from cloud.his.model import HisMessage, IncomingState
from cloud.his.reading import Unreadable
from cloud.kit import clock
from cloud.kit.errors import XinglinError
from cloud.kit.ids import new_id
from cloud.kit.jobs import Begin
from cloud.kit.live import announce
from cloud.kit.retryable import is_retryable
from cloud.kit.storable import storable
from cloud.web.i18n import mark as N_
from protocols.messages.hl7 import Hl7Message, read_messages

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a message, and the code of table 0008 it is answered with."""

    state: IncomingState
    code: str
    reason: str | None = None
    outcome: dict[str, object] | None = None


def receive(begin: Begin, payload: bytes) -> list[bytes]:
    """Store one MLLP payload, act on it, and give the answers in order (none where the sender wants none).

    An error of the database goes up: nothing was promised, the sender sends again.
    """
    messages = read_messages(payload)
    if not messages:
        keep_unreadable(begin, payload, "no MSH segment")
        return [answers.not_hl7(clock.local(clock.now()))]
    found: list[bytes] = []
    for message in messages:
        found += _receive_one(begin, message, payload)
    return found


def keep_unreadable(begin: Begin, raw: bytes, reason: str) -> None:
    """Bytes that are no whole message: kept and listed."""
    with begin() as session:
        session.add(
            HisMessage(
                sending_application="",
                sending_facility="",
                control_id=None,
                kind="",
                raw=raw,
                content_sha256=hashlib.sha256(raw).hexdigest(),
                charset="",
                state=IncomingState.MALFORMED,
                reason=reason,
            )
        )
        announce(session, "his")


def _receive_one(begin: Begin, message: Hl7Message, payload: bytes) -> list[bytes]:
    if not message.control_id or storable(message.control_id) != message.control_id:
        return _reject(begin, message, payload, "MSH-10 is empty or unreadable")
    with begin() as session:
        row = _store(session, message, payload)
    if row.content_sha256 != content_digest(message):
        return _reject(begin, message, payload, f"MSH-10 {message.control_id} was used before for another message")
    return answers.wanted(message, apply(begin, row.id))


def _reject(begin: Begin, message: Hl7Message, payload: bytes, reason: str) -> list[bytes]:
    """Kept under no number, answered AR."""
    answer = answers.application(message, "AR", reason, None, clock.local(clock.now()))
    with begin() as session:
        session.add(
            HisMessage(
                **_columns(message, payload)
                | {"control_id": None, "state": IncomingState.MALFORMED, "reason": storable(reason)},
                answer_code="AR",
                answer=answer,
            )
        )
        announce(session, "his")
    return answers.wanted(message, answer)


def apply(begin: Begin, message_id: uuid.UUID) -> bytes:
    """Act on a stored message unless it was applied already; the application's answer, committed with the effect."""
    with begin() as session:
        return act_on(session, message_id)


def act_on(session: Session, message_id: uuid.UUID) -> bytes:
    """The same in the caller's transaction."""
    row = session.get_one(HisMessage, message_id, with_for_update=True, populate_existing=True)
    if row.state == IncomingState.APPLIED and row.answer is not None:
        return row.answer
    message = _message_of(row)
    verdict = _try(session, message)
    row.state, row.reason, row.outcome = verdict.state, storable(verdict.reason), verdict.outcome
    row.attempts += 1
    row.applied_at = clock.now() if verdict.state == IncomingState.APPLIED else None
    row.answer_code = verdict.code
    row.answer = answers.application(message, verdict.code, verdict.reason, verdict.outcome, clock.local(clock.now()))
    announce(session, "his")
    return row.answer


def _try(session: Session, message: Hl7Message) -> Verdict:
    """In a savepoint: what is refused leaves nothing behind but its reason."""
    try:
        with session.begin_nested():
            outcome = act(session, message)
        return Verdict(IncomingState.APPLIED, "AA", None, outcome)
    except (Unsupported, Unreadable) as error:
        return Verdict(IncomingState.MALFORMED, "AR", str(error))
    except XinglinError as error:
        return Verdict(IncomingState.REFUSED, "AE", error.message.format(**error.fields))
    except Exception as error:
        if is_retryable(error):
            raise
        log.exception("his_message_failed", control_id=message.control_id, kind=message.kind)
        # The cause may hold values of the patient: it is kept here for our own eyes, the answer only names it.
        return Verdict(
            IncomingState.REFUSED, "AE", f"{N_('检验系统内部错误，消息已保存，请联系信息科')} ({type(error).__name__})"
        )


def _message_of(row: HisMessage) -> Hl7Message:
    """The message of this row; its payload may be a batch."""
    return next(each for each in read_messages(row.raw) if each.control_id == row.control_id)


def _columns(message: Hl7Message, payload: bytes) -> dict[str, Any]:
    return {
        "sending_application": storable(message.header.component(3, 1)),
        "sending_facility": storable(message.header.component(4, 1)),
        "control_id": storable(message.control_id),
        "kind": storable(message.kind),
        "raw": payload,
        "content_sha256": content_digest(message),
        "charset": message.charset,
    }


def _store(session: Session, message: Hl7Message, payload: bytes) -> HisMessage:
    """The row of this message's number: made now, or that of the first time, counted once more."""
    columns = _columns(message, payload)
    statement = insert(HisMessage).values(id=new_id(), times=1, attempts=0, state=IncomingState.RECEIVED, **columns)
    return session.scalars(
        statement.on_conflict_do_update(
            constraint="uq_his_message_number",
            set_={"times": HisMessage.times + 1, "last_received_at": text("clock_timestamp()")},
        ).returning(HisMessage),
        execution_options={"populate_existing": True},
    ).one()


def content_digest(message: Hl7Message) -> str:
    """SHA-256 of the message's text without MSH-7: what it says, whenever it was written."""
    fields = list(message.header.fields)
    if len(fields) > 7:
        fields[7] = ""
    lines = [message.header.delimiters.field.join(fields), *(each.line for each in message.segments[1:])]
    return hashlib.sha256("\r".join(lines).encode("utf-8", errors="surrogateescape")).hexdigest()
