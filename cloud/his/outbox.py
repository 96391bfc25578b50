"""Sending to the HIS: each version of a report once, in order, tried again until the HIS says AA.

A message is frozen with its MSH-10 before the first try, so that a repeat is recognised on the other side. The network
is used between transactions; a claim in the database keeps two job workers from sending the same message.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta

import structlog
from sqlalchemy import and_, false, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.config import Settings, settings
from cloud.his import mapping
from cloud.his.line import HisAway, Line, line_to, read_answer
from cloud.his.model import HisOutbox, HisPeer, OutgoingState, control_numbers
from cloud.his.oru import Picture, oru
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.ids import new_id
from cloud.kit.jobs import Begin, enqueue
from cloud.kit.live import announce
from cloud.kit.storable import storable
from cloud.lis.reports import service as reports
from cloud.lis.reports.model import Report
from cloud.lis.reports.view import ReportContent
from cloud.lis.results.model import ResultAttachment
from cloud.web.i18n import mark as N_

log = structlog.get_logger(__name__)

DELIVER = "his.deliver"
CLAIM_S = 60
PAUSE_FIRST_S = 2
PAUSE_MOST_S = 300


SUSPECT_AFTER = 3
"""So often without an answer, and the next message is tried instead, to learn whether it is the message or the HIS."""
WAITING_FOR_A_PERSON = (OutgoingState.REFUSED, OutgoingState.PARKED)


class Unanswered(HisAway):
    """The message was sent, and nothing that is its answer came."""

    def __init__(self, row: HisOutbox, why: str) -> None:
        super().__init__(why)
        self.row = row


def put(session: Session, report_id: uuid.UUID, version: int, *, recalled: bool = False) -> HisOutbox | None:
    """Freeze the message of this version for the HIS, once; None when it is there already or no HIS is connected."""
    if not settings().his_host:
        return None
    # Held, so that of two versions whose reactions run at one moment the second sees the first.
    session.execute(select(Report.id).where(Report.id == report_id).with_for_update())
    row = next((each for each in reports.versions(session, report_id) if each.version == version), None)
    if row is None:
        raise NotFound("his.report_version", N_("没有这一版报告。"))
    kind = "recalled" if recalled else "released"
    number = session.scalars(select(control_numbers.next_value())).one()
    control_id = f"XL{number:010d}"
    content = ReportContent.from_json(row.content)
    names = mapping.outgoing()
    payload = oru(
        content,
        control_id=control_id,
        now=clock.now(),
        zone=clock.hospital_zone(),
        names=names,
        recalled=recalled,
        pictures=_pictures(session, content) if names["images"] == "embedded" else (),
    )
    statement = insert(HisOutbox).values(
        id=new_id(),
        number=number,
        control_id=control_id,
        report_id=report_id,
        report_version=version,
        kind=kind,
        payload=payload,
        state=OutgoingState.SUPERSEDED if _later(session, report_id, version, recalled) else OutgoingState.WAITING,
        attempts=0,
    )
    made = session.scalar(statement.on_conflict_do_nothing(constraint="uq_his_outbox_version").returning(HisOutbox))
    if made is not None:
        enqueue(session, DELIVER)
        announce(session, "his")
    return made


def _pictures(session: Session, content: ReportContent) -> list[Picture]:
    """Those of the report that are stored still as they were when it was released."""
    stored = {
        str(each): data
        for each, data in session.execute(
            select(ResultAttachment.id, ResultAttachment.data).where(
                ResultAttachment.id.in_([uuid.UUID(image.attachment_id) for image in content.images])
            )
        )
    }
    return [
        Picture(image.name, image.media_type, stored[image.attachment_id])
        for image in content.images
        if hashlib.sha256(stored.get(image.attachment_id, b"")).hexdigest() == image.sha256
    ]


def _later(session: Session, report_id: uuid.UUID, version: int, recalled: bool) -> bool:
    """Whether a message that says what became of the report after this one is there already: reactions to facts may
    run in any order, and the HIS must end with the newest.
    """
    same = HisOutbox.report_version == version
    later = and_(same, HisOutbox.kind == "recalled") if not recalled else false()
    found = select(HisOutbox.id).where(HisOutbox.report_id == report_id, or_(HisOutbox.report_version > version, later))
    return session.scalar(found.limit(1)) is not None


def deliver(begin: Begin) -> int:
    """Send what waits, in order, until nothing waits or the HIS is away; gives how many the HIS accepted."""
    config = settings()
    if not config.his_host or _pausing(begin):
        return 0
    answered: list[bool] = []
    going_on = True
    while going_on:
        going_on = False
        try:
            _send_all(begin, config, answered)
        except Unanswered as error:
            going_on = _parked(begin, error.row, str(error))
            if not going_on:
                _pause(begin, str(error))
        except (OSError, HisAway) as error:
            _pause(begin, str(error))
    return sum(answered)


def _send_all(begin: Begin, config: Settings, answered: list[bool]) -> None:
    """Until nothing waits; `answered` grows by one for each answer, true where it was accepted."""
    while (row := _claim(begin)) is not None:
        with line_to(config) as line:
            while row is not None:
                answered.append(_record(begin, row, _exchange(line, row)))
                row = _claim(begin)


def _exchange(line: Line, row: HisOutbox) -> bytes:
    try:
        return line.exchange(row.payload, row.control_id)
    except (OSError, HisAway) as error:
        raise Unanswered(row, str(error)) from error


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
                unanswered=HisOutbox.unanswered + 1,
                last_error=storable(reason),
                claimed_until=None,
                state=OutgoingState.PARKED if parked else OutgoingState.WAITING,
            )
        )
        announce(session, "his")
    if parked:
        log.error("his_message_parked", control_id=row.control_id, unanswered=row.unanswered + 1)
    return parked


def send_again(session: Session, outbox_id: uuid.UUID, *, by: str) -> HisOutbox:
    """A person looked at why the HIS refused it: once more, under the same number. Raises Conflict when not refused,
    or when a later message of the same report is there: sent now, the older one would stand in the HIS for good.
    """
    row = session.get(HisOutbox, outbox_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("his.outbox_unknown", N_("没有这条发给 HIS 的消息。"))
    if row.state not in WAITING_FOR_A_PERSON:
        raise Conflict("his.not_refused", N_("只有被 HIS 拒收或已搁置的消息才能重发。"))
    session.execute(select(Report.id).where(Report.id == row.report_id).with_for_update())
    if _later(session, row.report_id, row.report_version, row.kind == "recalled"):
        raise Conflict("his.later", N_("这份报告已有更新的消息，请重发最新的一条，旧的不再发送。"))
    row.state, row.claimed_until, row.unanswered = OutgoingState.WAITING, None, 0
    enqueue(session, DELIVER)
    announce(session, "his")
    record(session, actor=by, action="his.send_again", aggregate=("his_outbox", row.id), after={"number": row.number})
    return row


_CLAIM = (
    "UPDATE his_outbox SET attempts = attempts + 1,"
    " claimed_until = clock_timestamp() + make_interval(secs => :seconds)"
    " WHERE id = ({first})"
    " AND state = 'waiting' AND (claimed_until IS NULL OR claimed_until < clock_timestamp()) RETURNING id"
)
_IN_ORDER = text(_CLAIM.format(first="SELECT id FROM his_outbox WHERE state = 'waiting' ORDER BY number LIMIT 1"))
"""The first that waits or nothing: while another worker sends it, those behind it wait too, and their order stays."""
_INSTEAD = text(
    _CLAIM.format(
        first="SELECT one.id FROM his_outbox one JOIN lab_report mine ON mine.id = one.report_id"
        " WHERE one.state = 'waiting' AND one.unanswered < :suspect AND NOT EXISTS ("
        "  SELECT FROM his_outbox before JOIN lab_report theirs ON theirs.id = before.report_id"
        "  WHERE before.state = 'waiting' AND before.number < one.number AND theirs.person_id = mine.person_id)"
        " ORDER BY one.number LIMIT 1"
    )
)
"""The first that waits of a patient for whom nothing else waits, and that was not sent in vain too often: tried while
the HIS does not answer the first."""


def _claim(begin: Begin) -> HisOutbox | None:
    with begin() as session:
        found = None
        if _in_doubt(session):
            found = session.scalar(_INSTEAD, {"seconds": CLAIM_S, "suspect": SUSPECT_AFTER})
        if found is None:
            found = session.scalar(_IN_ORDER, {"seconds": CLAIM_S})
        return None if found is None else session.get_one(HisOutbox, found)


def _in_doubt(session: Session) -> bool:
    """Whether the first message was sent in vain often, and nothing was answered since: is it the message, or the HIS?

    A message that another worker holds is not in doubt: nobody overtakes it.
    """
    peer = session.get(HisPeer, 1)
    first = session.scalar(
        select(HisOutbox).where(HisOutbox.state == OutgoingState.WAITING).order_by(HisOutbox.number).limit(1)
    )
    if first is None or (first.claimed_until is not None and first.claimed_until > clock.now()):
        return False
    return first.unanswered >= SUSPECT_AFTER and peer is not None and peer.failures > 0


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
        if accepted:
            # What a person was to look at of this report is told by this message.
            session.execute(
                update(HisOutbox)
                .where(
                    HisOutbox.report_id == row.report_id,
                    HisOutbox.number < row.number,
                    HisOutbox.state.in_(WAITING_FOR_A_PERSON),
                )
                .values(state=OutgoingState.SUPERSEDED)
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
