"""Sending to the HIS: in order, a handful at a time, tried again until the HIS says AA.

The network is used between transactions. A handful is claimed with one commit and its answers are stored with one: two
commits for each message, each waiting for the disk, held the line to 22 messages a second. What was sent when a worker
died goes out again under its number.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta

import structlog
from sqlalchemy import bindparam, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.his.line import ANSWER_S, HisAway, Line, line_to, passing, read_answer
from cloud.his.model import HisOutbox, HisPeer, OutgoingState
from cloud.his.outbox import DELIVER
from cloud.kit import clock
from cloud.kit.db import among
from cloud.kit.jobs import Begin, enqueue
from cloud.kit.live import announce
from cloud.kit.storable import storable

log = structlog.get_logger(__name__)

HANDFUL = 50
"""Claimed at once, and at most so many are repeated after a crash."""
CLAIM_S = 60
LONGEST_S = CLAIM_S - 2 * ANSWER_S
"""A handful that takes longer ends early: nothing is sent on a claim that may have run out."""
PAUSE_FIRST_S = 2
PAUSE_MOST_S = 300
SUSPECT_AFTER = 3
"""So often without an answer, and the next message is tried instead, to learn whether it is the message or the HIS."""


class Unanswered(HisAway):
    """The message was sent, and nothing that is its answer came."""

    def __init__(self, row: HisOutbox, why: str) -> None:
        super().__init__(why)
        self.row = row


class NotNow(Unanswered):
    """The HIS could not take the message at this moment (its own error, a locked record) and said so."""


def deliver(begin: Begin) -> int:
    """Send what waits, in order, until nothing waits or the HIS is away; gives how many the HIS accepted."""
    config = settings()
    if not config.his_host or _pausing(begin):
        return 0
    accepted = 0
    with ExitStack() as open_line:
        line: Line | None = None
        while rows := _claim(begin):
            answers: list[tuple[HisOutbox, bytes]] = []
            try:
                line = line or open_line.enter_context(line_to(config))
                _send(line, rows, answers)
            except Unanswered as error:
                accepted += _record(begin, rows, answers)
                if not _parked(begin, error.row, str(error)):
                    _pause(begin, str(error))
                    break
                line = None
            except OSError as error:
                _record(begin, rows, answers)
                _pause(begin, str(error), tried=rows[0])
                break
            else:
                accepted += _record(begin, rows, answers)
    return accepted


def _send(line: Line, rows: Sequence[HisOutbox], answers: list[tuple[HisOutbox, bytes]]) -> None:
    """One after the other; what was answered grows in `answers`. Raises `Unanswered` for the first that was not."""
    began = time.monotonic()
    for row in rows:
        if time.monotonic() - began > LONGEST_S:
            return
        try:
            answer = line.exchange(row.payload, row.control_id)
        except (OSError, HisAway) as error:
            raise Unanswered(row, str(error)) from error
        if passing(answer):
            raise NotNow(row, " ".join(read_answer(answer)[::2]))
        answers.append((row, answer))


def _parked(begin: Begin, row: HisOutbox, reason: str) -> bool:
    """Count the try without an answer. Set it aside, and say so, when it is the message and not the HIS: it was sent
    often, and the HIS answered another one since the last time.
    """
    with begin() as session:
        peer = session.get(HisPeer, 1)
        answering = peer is not None and peer.failures == 0 and peer.last_answer_at is not None
        parked = row.unanswered >= SUSPECT_AFTER and answering
        session.execute(
            update(HisOutbox)
            .where(HisOutbox.id == row.id, HisOutbox.state == OutgoingState.WAITING)
            .values(
                attempts=HisOutbox.attempts + 1,
                unanswered=HisOutbox.unanswered + 1,
                last_error=storable(reason),
                state=OutgoingState.PARKED if parked else OutgoingState.WAITING,
            )
        )
        announce(session, "his")
    if parked:
        log.error("his_message_parked", control_id=row.control_id, unanswered=row.unanswered + 1)
    return parked


_CLAIM = (
    "UPDATE his_outbox SET claimed_until = clock_timestamp() + make_interval(secs => :seconds)"
    " WHERE id IN ({which}) AND state = 'waiting'"
    " AND NOT EXISTS (SELECT FROM his_outbox WHERE state = 'waiting' AND claimed_until > clock_timestamp())"
    " RETURNING id"
)
_IN_ORDER = text(_CLAIM.format(which="SELECT id FROM his_outbox WHERE state = 'waiting' ORDER BY number LIMIT :most"))
"""The first that wait or nothing: while another worker sends, those behind wait too, and their order stays."""
_INSTEAD = text(
    _CLAIM.format(
        which="SELECT one.id FROM his_outbox one WHERE one.state = 'waiting' AND one.unanswered < :suspect"
        " AND NOT EXISTS (SELECT FROM his_outbox before"
        "  WHERE before.state = 'waiting' AND before.number < one.number AND before.lane = one.lane)"
        " ORDER BY one.number LIMIT 1"
    )
)
"""The first that waits in a lane in which nothing else waits before it, and that was not sent in vain too often: tried
while the HIS does not answer the first."""


def _claim(begin: Begin) -> list[HisOutbox]:
    """What this worker alone may send now, in order."""
    with begin() as session:
        # One claim at a time: two workers that look at one moment must not divide a lane between them.
        session.execute(text("SELECT pg_advisory_xact_lock(hashtext('his.claim'))"))
        found: list[uuid.UUID] = []
        if _in_doubt(session):
            found = list(session.scalars(_INSTEAD, {"seconds": CLAIM_S, "suspect": SUSPECT_AFTER}))
        if not found:
            found = list(session.scalars(_IN_ORDER, {"seconds": CLAIM_S, "most": HANDFUL}))
        if not found:
            return []
        return list(session.scalars(select(HisOutbox).where(among(HisOutbox.id, found)).order_by(HisOutbox.number)))


def _in_doubt(session: Session) -> bool:
    """Whether the first message was sent in vain often, and nothing was answered since: is it the message, or the HIS?

    A message that another worker holds is not in doubt: nobody overtakes it.
    """
    peer = session.get(HisPeer, 1)
    first = session.execute(
        select(HisOutbox.unanswered, HisOutbox.claimed_until)
        .where(HisOutbox.state == OutgoingState.WAITING)
        .order_by(HisOutbox.number)
        .limit(1)
    ).first()
    if first is None or (first.claimed_until is not None and first.claimed_until > clock.now()):
        return False
    return first.unanswered >= SUSPECT_AFTER and peer is not None and peer.failures > 0


_ANSWERED = (
    update(HisOutbox.__table__)  # type: ignore[arg-type]
    .where(HisOutbox.id == bindparam("row"), HisOutbox.state == OutgoingState.WAITING)
    .values(
        state=bindparam("now"),
        attempts=HisOutbox.attempts + 1,
        accepted_at=bindparam("accepted"),
        last_error=bindparam("error"),
        answer=bindparam("said"),
        claimed_until=None,
    )
)
_SETTLED = text(
    "UPDATE his_outbox AS old SET state = 'superseded'"
    " WHERE old.state IN ('refused', 'parked') AND EXISTS (SELECT FROM his_outbox AS later"
    " WHERE later.id = ANY(:ids) AND later.report_id = old.report_id AND later.number > old.number)"
)
"""What a person was to look at of a report is told by its later message."""


def _record(begin: Begin, rows: Sequence[HisOutbox], answers: Sequence[tuple[HisOutbox, bytes]]) -> int:
    """Store what was answered, free what was not sent; gives how many were accepted."""
    codes = {row.id: read_answer(answer) for row, answer in answers}
    accepted = [each for each, (code, _, _) in codes.items() if code in ("AA", "CA")]
    now = clock.now()
    with begin() as session:
        if answers:
            told = [_told(row, answer, row.id in accepted, now) for row, answer in answers]
            session.connection().execute(_ANSWERED, told)
            session.execute(_SETTLED, {"ids": accepted})
            _peer(session, failures=0, retry_at=None, last_error=None, last_answer_at=now)
        left = [each.id for each in rows if each.id not in codes]
        if left:
            session.execute(
                update(HisOutbox)
                .where(among(HisOutbox.id, left), HisOutbox.state == OutgoingState.WAITING)
                .values(claimed_until=None)
            )
        announce(session, "his")
    for row, _ in answers:
        if row.id not in accepted:
            log.error("his_refused_message", control_id=row.control_id, kind=row.kind, code=codes[row.id][0])
    return len(accepted)


def _told(row: HisOutbox, answer: bytes, accepted: bool, now: datetime) -> dict[str, object]:
    code, _, reason = read_answer(answer)
    return {
        "row": row.id,
        "now": OutgoingState.ACCEPTED if accepted else OutgoingState.REFUSED,
        "accepted": now if accepted else None,
        "error": None if accepted else storable(f"{code} {reason}".strip()),
        "said": answer,
    }


def _pausing(begin: Begin) -> bool:
    with begin() as session:
        peer = session.get(HisPeer, 1)
        return peer is not None and peer.retry_at is not None and peer.retry_at > clock.now()


def _pause(begin: Begin, reason: str, *, tried: HisOutbox | None = None) -> None:
    """Try again after 2, 4, 8 ... 300 s. `tried`: the message for which nobody could be reached."""
    with begin() as session:
        if tried is not None:
            session.execute(
                update(HisOutbox)
                .where(HisOutbox.id == tried.id, HisOutbox.state == OutgoingState.WAITING)
                .values(attempts=HisOutbox.attempts + 1, last_error=storable(reason))
            )
        peer = session.get(HisPeer, 1)
        failures = 1 if peer is None else peer.failures + 1
        pause_s = min(PAUSE_FIRST_S * 2 ** min(failures - 1, 16), PAUSE_MOST_S)
        retry_at = clock.now() + timedelta(seconds=pause_s)
        _peer(session, failures=failures, retry_at=retry_at, last_error=storable(reason))
        enqueue(session, DELIVER, at=retry_at)
        announce(session, "his")
    log.warning("his_away", failures=failures, pause_s=pause_s, reason=reason)


def _peer(session: Session, **values: object) -> None:
    statement = insert(HisPeer).values(id=1, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
