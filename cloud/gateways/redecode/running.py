"""What the jobs do: read the messages of a request without changing anything, and later apply what was approved.

Both go message by message in transactions of their own and go on behind the last one after a stop.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.gateways import rules
from cloud.gateways.model import InboxMessage, MessageStatus
from cloud.gateways.redecode import reading, service
from cloud.gateways.redecode.model import (
    MessageFate,
    Redecode,
    RedecodeAmendment,
    RedecodeMessage,
    RedecodeState,
)
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import XinglinError
from cloud.kit.jobs import Begin
from cloud.kit.live import announce
from cloud.kit.retryable import is_retryable
from cloud.lis.results import redecoding
from cloud.lis.results.differences import ADDED, CHANGED, REMOVED, Compared, Difference, compare
from cloud.lis.results.source import MessageSource

MOST = 5000
"""Messages of one request; the page says when there were more."""
AT_ONCE = 50

log = structlog.get_logger(__name__)


# ---------------------------------------------------------------------- reading


def dry_run(begin: Begin, redecode_id: uuid.UUID) -> None:
    """Read every message of the request; then it waits for a decision, or ends where nothing differs."""
    while True:
        with begin() as session:
            if not _read_some(session, redecode_id):
                return


def _read_some(session: Session, redecode_id: uuid.UUID) -> bool:
    """False: there is no more to read."""
    row = session.get(Redecode, redecode_id, with_for_update=True, populate_existing=True)
    if row is None or row.state != RedecodeState.ASKED:
        return False
    try:
        driver = reading.driver_of(row.driver, row.options)
    except XinglinError as error:  # a release in between has another set of drivers
        row.state, row.problem = RedecodeState.FAILED, error.code
        announce(session, "gateways", {"redecode": str(row.id)})
        return False
    if row.driver_version != reading.version(driver):
        row.driver_version = reading.version(driver)
    due = select(InboxMessage).where(*service.conditions(row)).order_by(InboxMessage.id).limit(AT_ONCE)
    if row.read_through is not None:
        due = due.where(InboxMessage.id > row.read_through)
    found = session.scalars(due).all()
    done = session.scalar(_messages(row.id)) or 0
    if not found or done >= MOST:
        _end_reading(session, row, cut=bool(found))
        return False
    session.add_all(_compared(row, each, reading.read(each.raw, driver)) for each in found)
    row.read_through = found[-1].id
    return True


def _messages(redecode_id: uuid.UUID, *fates: MessageFate) -> Any:
    counted = select(func.count()).select_from(RedecodeMessage).where(RedecodeMessage.redecode_id == redecode_id)
    return counted.where(RedecodeMessage.state.in_(fates)) if fates else counted


def _end_reading(session: Session, row: Redecode, *, cut: bool) -> None:
    differing = session.scalar(_messages(row.id, MessageFate.DIFFERS)) or 0
    row.state = RedecodeState.READY if differing else RedecodeState.NOTHING
    row.read_at, row.cut = clock.now(), cut
    announce(session, "gateways", {"redecode": str(row.id)})


def _compared(row: Redecode, message: InboxMessage, new: reading.Reading) -> RedecodeMessage:
    compared = compare(message.items, new.items)
    fate = _fate(message, new, compared)
    kinds = [each.what for each in compared.differences]
    return RedecodeMessage(
        redecode_id=row.id,
        inbox_id=message.id,
        state=fate,
        was=message.state,
        was_sha256=service.fingerprint(message),
        was_driver=message.driver,
        was_driver_version=message.driver_version,
        before=message.items,
        after=new.items,
        reading=new.head(),
        differences=[asdict(each) for each in compared.differences],
        added=kinds.count(ADDED),
        changed=kinds.count(CHANGED),
        removed=kinds.count(REMOVED),
        problem=new.reason if fate == MessageFate.UNREADABLE else None,
    )


def _fate(message: InboxMessage, new: reading.Reading, compared: Compared) -> MessageFate:
    """A driver that fails, or understands nothing of what was understood before, changes nothing."""
    understood = any(each.get("kind") != "undecoded" for each in message.items)
    if new.failed or (understood and new.state == reading.UNDECODED):
        return MessageFate.UNREADABLE
    if message.state == MessageStatus.UNDECODED:
        return MessageFate.DIFFERS if new.state == reading.DECODED else MessageFate.SAME
    return MessageFate.DIFFERS if compared.differences else MessageFate.SAME


# ---------------------------------------------------------------------- applying


def apply(begin: Begin, redecode_id: uuid.UUID) -> None:
    """Apply what was approved, each message once, in the order in which they were stored."""
    with begin() as session:
        row = session.get(Redecode, redecode_id)
        if row is None or row.state != RedecodeState.APPROVED:
            return
        due = select(RedecodeMessage.id).where(
            RedecodeMessage.redecode_id == redecode_id,
            RedecodeMessage.state.in_([MessageFate.DIFFERS, MessageFate.SAME]),
            RedecodeMessage.applied_at.is_(None),
        )
        ids = session.scalars(due.order_by(RedecodeMessage.inbox_id)).all()
    for each in ids:
        with begin() as session:
            _apply_one(session, each)
    with begin() as session:
        row = session.get(Redecode, redecode_id, with_for_update=True, populate_existing=True)
        if row is not None and row.state == RedecodeState.APPROVED:
            row.state, row.applied_at = RedecodeState.APPLIED, clock.now()
            announce(session, "gateways", {"redecode": str(row.id)})


def _apply_one(session: Session, message_id: uuid.UUID) -> None:
    """One message, unless it was done already or has changed since a person looked at it."""
    line = session.get(RedecodeMessage, message_id, with_for_update=True, populate_existing=True)
    if line is None or line.applied_at is not None or line.state not in (MessageFate.DIFFERS, MessageFate.SAME):
        return
    message = session.get(InboxMessage, line.inbox_id, with_for_update=True, populate_existing=True)
    if message is None or service.fingerprint(message) != line.was_sha256:
        line.state = MessageFate.MOVED
        return
    if line.state == MessageFate.SAME:
        if message.state == MessageStatus.APPLIED:
            line.ordinals = list(_ordinals_of(session, message))
            message.driver, message.driver_version = line.reading["driver"], line.reading["driver_version"]
        line.applied_at = clock.now()
        return
    row = session.get_one(Redecode, line.redecode_id)
    try:
        with session.begin_nested():
            _take_over(session, row, line, message)
    except Exception as error:  # as in the apply step: what the laboratory cannot take is kept with the reason
        if is_retryable(error):
            raise
        log.error("redecode_not_taken", inbox_id=str(message.id), error=type(error).__name__)
        session.expire_all()
        line = session.get_one(RedecodeMessage, message_id)
        line.state, line.problem = MessageFate.NOT_TAKEN, f"{type(error).__name__}: {error}"[:2000]


def _take_over(session: Session, row: Redecode, line: RedecodeMessage, message: InboxMessage) -> None:
    before = {"driver": message.driver, "driver_version": message.driver_version, "state": str(message.state)}
    if message.state == MessageStatus.APPLIED:
        outcome = _values(session, row, line, message)
    else:
        # Nobody took it in yet: it goes the ordinary way, late, as the apply step's next work.
        outcome = {"put_back": 1}
        line.ordinals = list(range(len(line.after)))
        message.state, message.reason, message.handled_at, message.handled_by = MessageStatus.PENDING, None, None, None
    message.items = line.after
    message.undecoded = sum(each.get("kind") == "undecoded" for each in line.after)
    for name in ("driver", "driver_version", "sender", "message_id", "charset"):
        setattr(message, name, line.reading[name])
    line.state, line.outcome, line.applied_at = MessageFate.APPLIED, outcome, clock.now()
    record(
        session,
        actor=f"staff:{row.decided_by}",
        action="gateway.redecode",
        aggregate=("gateway_message", message.id),
        before=before,
        after={"driver": message.driver, "driver_version": message.driver_version, "redecode": str(row.id), **outcome},
        reason=row.decided_reason,
    )
    announce(session, "gateways")


def _values(session: Session, row: Redecode, line: RedecodeMessage, message: InboxMessage) -> dict[str, int]:
    """New values beside the old ones; what stands in a released report is put on the list of amendments."""
    source = MessageSource(
        inbox_id=message.id,
        gateway=message.gateway,
        link=message.link,
        epoch=message.epoch,
        sequence=message.sequence,
        received_at=rules.received_at(message.received_at, message.clock_sure, message.stored_at),
        driver=line.reading["driver"],
        driver_version=line.reading["driver_version"],
        late=True,
    )
    ordinals = _ordinals_of(session, message)
    done = redecoding.read_anew(
        session, source, ordinals, line.after, _as_approved(line), by_name=row.decided_by_name or ""
    )
    line.ordinals = done.ordinals
    for each in done.standing:
        session.add(
            RedecodeAmendment(
                redecode_id=row.id,
                result_id=each.result_id,
                new_result_id=each.new_result_id,
                specimen_id=each.specimen_id,
                asked_at=clock.now(),
            )
        )
    counts = {key: value for key, value in asdict(done).items() if isinstance(value, int) and value}
    return counts | ({"to_amend": len(done.standing)} if done.standing else {})


def _as_approved(line: RedecodeMessage) -> Compared:
    """What the approver saw, and the pairs that are alike (the comparison is the same as then: so are its inputs)."""
    shown = [
        Difference(each["what"], each["before_at"], each["after_at"], tuple(each["fields"]))
        for each in line.differences
    ]
    again = compare(line.before, line.after)
    if list(again.differences) != shown:  # another release compares otherwise than the one whose page was approved
        raise ValueError("the comparison is not the one that was approved: ask again")
    return again


def _ordinals_of(session: Session, message: InboxMessage) -> Sequence[int]:
    """Under which ordinals the message's present reading is stored: as it came, or as it was last read anew."""
    found = session.scalars(
        select(RedecodeMessage.ordinals)
        .where(
            RedecodeMessage.inbox_id == message.id,
            RedecodeMessage.applied_at.is_not(None),
            RedecodeMessage.ordinals.is_not(None),
        )
        .order_by(RedecodeMessage.applied_at.desc())
        .limit(1)
    ).first()
    return found if found is not None else list(range(len(message.items)))
