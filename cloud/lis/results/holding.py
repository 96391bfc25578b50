"""Putting a specimen's results on hold with a reason, and lifting it. Both leave an audit entry."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.live import announce
from cloud.lis.authority.service import require_authority
from cloud.lis.results import sheets
from cloud.lis.results.model import ResultSheet
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.web.i18n import mark as N_


def hold(session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int, reason: str) -> ResultSheet:
    """Nobody (and no rule) reviews or releases the specimen until the hold is lifted; new values still arrive."""
    why = _checked(session, by, reason)
    sheet = sheets.claim(session, specimen_id, version)
    if sheet.hold_reason is not None:
        raise Conflict("hold.already", N_("这份标本已经搁置。"))
    sheet.hold_reason, sheet.hold_at = why, clock.now()
    sheet.hold_by, sheet.hold_by_name = by.id, by.name
    _recorded(session, by, "result.hold", specimen_id, why)
    return sheet


def lift(session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int, reason: str = "") -> ResultSheet:
    """The hold ends; what was reviewed before it is reviewed still."""
    authorise(by, "result.review")
    require_authority(session, by, "result.review")
    sheet = sheets.claim(session, specimen_id, version)
    if sheet.hold_reason is None:
        raise Conflict("hold.none", N_("这份标本没有搁置。"))
    sheet.hold_reason = sheet.hold_at = sheet.hold_by = sheet.hold_by_name = None
    _recorded(session, by, "result.hold_lifted", specimen_id, reason.strip() or None)
    return sheet


def _checked(session: Session, by: Signatory, reason: str) -> str:
    authorise(by, "result.review")
    require_authority(session, by, "result.review")
    if not reason.strip():
        raise Invalid("hold.reason", N_("请填写搁置原因。"))
    return reason.strip()


def _recorded(session: Session, by: Signatory, action: str, specimen_id: uuid.UUID, reason: str | None) -> None:
    session.flush()
    announce(session, "results", {"specimen": str(specimen_id)})
    record(session, actor=actor(by), action=action, aggregate=("specimen", specimen_id), reason=reason)
