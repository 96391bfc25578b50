"""Sending to the HIS: each version of a report once, in order, tried again until the HIS says AA.

A message is frozen with its MSH-10 before the first try, so that a repeat is recognised on the other side. The network
is used between transactions; a claim in the database keeps two job workers from sending the same message.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.config import Settings, settings
from cloud.his import mapping
from cloud.his.model import HisOutbox, HisPeer, OutgoingState, control_numbers
from cloud.his.oru import oru
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.ids import new_id
from cloud.kit.jobs import Begin, enqueue
from cloud.kit.live import announce
from cloud.kit.storable import storable
from cloud.lis.reports import service as reports
from cloud.lis.reports.view import ReportContent
from cloud.web.i18n import mark as N_
from protocols.links.contract import MessageReceived
from protocols.links.mllp import MllpLink
from protocols.messages.hl7 import read_messages

log = structlog.get_logger(__name__)

DELIVER = "his.deliver"
ANSWER_S = 15.0
CLAIM_S = 60
PAUSE_FIRST_S = 2
PAUSE_MOST_S = 300


class HisAway(ConnectionError):
    """No connection, no answer in time, or an answer to something else: the line is closed and tried again later."""


def put(session: Session, report_id: uuid.UUID, version: int, *, recalled: bool = False) -> HisOutbox | None:
    """Freeze the message of this version for the HIS, once; None when it is there already or no HIS is connected."""
    if not settings().his_host:
        return None
    row = next((each for each in reports.versions(session, report_id) if each.version == version), None)
    if row is None:
        raise NotFound("his.report_version", N_("没有这一版报告。"))
    kind = "recalled" if recalled else "released"
    number = session.scalars(select(control_numbers.next_value())).one()
    control_id = f"XL{number:010d}"
    payload = oru(
        ReportContent.from_json(row.content),
        control_id=control_id,
        now=clock.now(),
        zone=clock.hospital_zone(),
        names=mapping.outgoing(),
        recalled=recalled,
    )
    statement = insert(HisOutbox).values(
        id=new_id(),
        number=number,
        control_id=control_id,
        report_id=report_id,
        report_version=version,
        kind=kind,
        payload=payload,
        state=OutgoingState.WAITING,
        attempts=0,
    )
    made = session.scalar(statement.on_conflict_do_nothing(constraint="uq_his_outbox_version").returning(HisOutbox))
    if made is not None:
        enqueue(session, DELIVER)
        announce(session, "his")
    return made


def deliver(begin: Begin) -> int:
    """Send what waits, in order, until nothing waits or the HIS is away; gives how many the HIS accepted."""
    config = settings()
    if not config.his_host or _pausing(begin):
        return 0
    accepted = 0
    try:
        while (row := _claim(begin)) is not None:
            with _line(config) as line:
                while row is not None:
                    accepted += _record(begin, row, line.exchange(row))
                    row = _claim(begin)
    except (OSError, HisAway) as error:
        _pause(begin, str(error))
    return accepted


def send_again(session: Session, outbox_id: uuid.UUID, *, by: str) -> HisOutbox:
    """A person looked at why the HIS refused it: once more, under the same number. Raises Conflict when not refused."""
    row = session.get(HisOutbox, outbox_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("his.outbox_unknown", N_("没有这条发给 HIS 的消息。"))
    if row.state != OutgoingState.REFUSED:
        raise Conflict("his.not_refused", N_("只有被 HIS 拒收的消息才能重发。"))
    row.state, row.claimed_until = OutgoingState.WAITING, None
    enqueue(session, DELIVER)
    announce(session, "his")
    record(session, actor=by, action="his.send_again", aggregate=("his_outbox", row.id), after={"number": row.number})
    return row


class _Line:
    """One connection to the HIS; one message under way at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._link = MllpLink()

    def exchange(self, row: HisOutbox) -> bytes:
        """The answer whose MSA-2 is our MSH-10. Any other answer breaks the line: it belongs to who knows what."""
        deadline = time.monotonic() + ANSWER_S
        self._link.send(row.payload, time.monotonic())
        self._connection.sendall(self._link.bytes_to_send())
        while (left := deadline - time.monotonic()) > 0:
            self._connection.settimeout(left)
            data = self._connection.recv(65536)
            if not data:
                raise HisAway("the HIS closed the connection without an answer")
            for event in self._link.receive(data, time.monotonic()):
                if isinstance(event, MessageReceived):
                    return _matching(event.payload, row.control_id)
        raise HisAway(f"no answer within {ANSWER_S:g} s")


def _matching(payload: bytes, control_id: str) -> bytes:
    _, answered, _ = read_answer(payload)
    if answered != control_id:
        raise HisAway(f"an answer to {answered or 'nothing'} came where one to {control_id} was due")
    return payload


def read_answer(payload: bytes) -> tuple[str, str, str]:
    """Code, MSA-2 and text of an acknowledgement; empty where it is none."""
    for message in read_messages(payload):
        msa = message.first("MSA")
        if msa is not None:
            err = message.first("ERR")
            return msa.text(1).upper(), msa.text(2), msa.text(3) or (err.text(8) if err else "")
    return "", "", ""


@contextmanager
def _line(config: Settings) -> Iterator[_Line]:
    with socket.create_connection((config.his_host or "", config.his_port), timeout=10) as connection:
        yield _Line(connection)


_CLAIM = text(
    "UPDATE his_outbox SET attempts = attempts + 1,"
    " claimed_until = clock_timestamp() + make_interval(secs => :seconds)"
    " WHERE id = (SELECT id FROM his_outbox WHERE state = 'waiting' ORDER BY number LIMIT 1)"
    " AND state = 'waiting' AND (claimed_until IS NULL OR claimed_until < clock_timestamp()) RETURNING id"
)
"""The first that waits or nothing: while another worker sends it, those behind it wait too, and their order stays."""


def _claim(begin: Begin) -> HisOutbox | None:
    with begin() as session:
        found = session.scalar(_CLAIM, {"seconds": CLAIM_S})
        return None if found is None else session.get_one(HisOutbox, found)


def _record(begin: Begin, row: HisOutbox, answer: bytes) -> bool:
    code, _, reason = read_answer(answer)
    accepted = code in ("AA", "CA")
    with begin() as session:
        session.execute(
            update(HisOutbox)
            .where(HisOutbox.id == row.id, HisOutbox.state == OutgoingState.WAITING)
            .values(
                state=OutgoingState.ACCEPTED if accepted else OutgoingState.REFUSED,
                accepted_at=clock.now() if accepted else None,
                last_error=None if accepted else storable(f"{code} {reason}".strip()),
                answer=answer,
                claimed_until=None,
            )
        )
        _peer(session, failures=0, retry_at=None, last_error=None, last_answer_at=clock.now())
        announce(session, "his")
    if not accepted:
        log.error("his_refused_report", control_id=row.control_id, code=code)
    return accepted


def _pausing(begin: Begin) -> bool:
    with begin() as session:
        peer = session.get(HisPeer, 1)
        return peer is not None and peer.retry_at is not None and peer.retry_at > clock.now()


def _pause(begin: Begin, reason: str) -> None:
    """Free the claim, and try again after 2, 4, 8 ... 300 s."""
    with begin() as session:
        session.execute(
            update(HisOutbox)
            .where(HisOutbox.state == OutgoingState.WAITING, HisOutbox.claimed_until.is_not(None))
            .values(claimed_until=None, last_error=storable(reason))
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
