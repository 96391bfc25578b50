"""What is to be told to the HIS: each fact once, frozen with its number, in the transaction that made it true.

`delivery` sends. A message is frozen with its MSH-10 before the first try, so that a repeat is recognised on the other
side.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import and_, false, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.his import mapping
from cloud.his.model import HisOutbox, OutgoingState, control_numbers
from cloud.his.oru import Picture, oru
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.ids import new_id
from cloud.kit.jobs import enqueue
from cloud.kit.live import announce
from cloud.lis.reports import service as reports
from cloud.lis.reports.model import Report
from cloud.lis.reports.view import ReportContent
from cloud.lis.results.model import ResultAttachment
from cloud.web.i18n import mark as N_

DELIVER = "his.deliver"
WAITING_FOR_A_PERSON = (OutgoingState.REFUSED, OutgoingState.PARKED)


def keep(
    session: Session,
    *,
    key: str,
    lane: str,
    kind: str,
    title: str,
    write: Callable[[str], bytes],
    state: OutgoingState = OutgoingState.WAITING,
    **about: Any,
) -> HisOutbox | None:
    """Freeze what `write` makes of the message's number; None when the fact is there already."""
    if session.scalar(select(HisOutbox.id).where(HisOutbox.key == key)) is not None:
        return None
    number = session.scalars(select(control_numbers.next_value())).one()
    control_id = f"XL{number:010d}"
    statement = insert(HisOutbox).values(
        id=new_id(),
        number=number,
        control_id=control_id,
        key=key,
        lane=lane,
        kind=kind,
        title=f"{title} {control_id}",
        payload=write(control_id),
        state=state,
        attempts=0,
        **about,
    )
    made = session.scalar(statement.on_conflict_do_nothing().returning(HisOutbox))
    if made is not None:
        enqueue(session, DELIVER)
        announce(session, "his")
    return made


def put(session: Session, report_id: uuid.UUID, version: int, *, recalled: bool = False) -> HisOutbox | None:
    """Freeze the message of this version for the HIS, once; None when it is there already or no HIS is connected."""
    if not settings().his_host:
        return None
    # Held, so that of two versions whose reactions run at one moment the second sees the first.
    person_id = session.scalar(select(Report.person_id).where(Report.id == report_id).with_for_update())
    row = next((each for each in reports.versions(session, report_id) if each.version == version), None)
    if row is None:
        raise NotFound("his.report_version", N_("没有这一版报告。"))
    content = ReportContent.from_json(row.content)
    kind = "recalled" if recalled else "released"
    names = mapping.outgoing()

    def write(control_id: str) -> bytes:
        return oru(
            content,
            control_id=control_id,
            now=clock.now(),
            zone=clock.hospital_zone(),
            names=names,
            recalled=recalled,
            pictures=_pictures(session, content) if names["images"] == "embedded" else (),
        )

    return keep(
        session,
        key=f"report:{report_id}:{version}:{kind}",
        lane=f"person:{person_id}",
        kind=kind,
        title="ORU^R01",
        write=write,
        state=OutgoingState.SUPERSEDED if _later(session, report_id, version, recalled) else OutgoingState.WAITING,
        report_id=report_id,
        report_version=version,
    )


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


def send_again(session: Session, outbox_id: uuid.UUID, *, by: str) -> HisOutbox:
    """A person looked at why the HIS refused it: once more, under the same number. Raises Conflict when not refused,
    or when a later message of the same report is there: sent now, the older one would stand in the HIS for good.
    """
    row = session.get(HisOutbox, outbox_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("his.outbox_unknown", N_("没有这条发给 HIS 的消息。"))
    if row.state not in WAITING_FOR_A_PERSON:
        raise Conflict("his.not_refused", N_("只有被 HIS 拒收或已搁置的消息才能重发。"))
    if row.report_id is not None:
        session.execute(select(Report.id).where(Report.id == row.report_id).with_for_update())
        if _later(session, row.report_id, row.report_version or 0, row.kind == "recalled"):
            raise Conflict("his.later", N_("这份报告已有更新的消息，请重发最新的一条，旧的不再发送。"))
    resend(session, row, by=by)
    return row


def resend(session: Session, row: HisOutbox, *, by: str) -> None:
    """Put it among the waiting again, under its own number; the HIS books the same number once."""
    row.state, row.claimed_until, row.unanswered, row.accepted_at = OutgoingState.WAITING, None, 0, None
    enqueue(session, DELIVER)
    announce(session, "his")
    record(session, actor=by, action="his.send_again", aggregate=("his_outbox", row.id), after={"number": row.number})
