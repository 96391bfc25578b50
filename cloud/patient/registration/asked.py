"""What an address or a form of the phone's pages names; what is somebody else's answers like what is not there."""

from __future__ import annotations

import uuid
from datetime import datetime

from fastapi import APIRouter
from sqlalchemy.orm import Session

from cloud.kit.db import begin
from cloud.kit.errors import Invalid, NotFound
from cloud.patient.identity.access import CurrentPatient
from cloud.patient.identity.account import log_access
from cloud.patient.registration import reading
from cloud.web.i18n import mark as N_

MINE = "/p/bookings"
router = APIRouter(include_in_schema=False)
"""Of every page of this slice: one, so that whatever asks each address who may open it finds them all."""


def an_id(text: str) -> uuid.UUID:
    """An address that is no id answers like one that is unknown."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。")) from None


def segment(text: str) -> datetime | None:
    """The beginning of the segment that was chosen; None: any. Raises `Invalid`."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("registration.segment", N_("请重新选择时段。")) from None
    if moment.tzinfo is None:
        raise Invalid("registration.segment", N_("请重新选择时段。"))
    return moment


def my_booking(session: Session, patient: CurrentPatient, booking_id: str, act: str) -> reading.Line:
    """The booking, and that it was looked at; a refusal is remembered without whose it would have been."""
    try:
        line = reading.one(session, patient.subject, an_id(booking_id))
    except NotFound:
        with begin() as apart:
            log_access(apart, patient.account_id, act=act, target=booking_id, person_id=None, allowed=False)
        raise
    log_access(session, patient.account_id, act=act, target=booking_id, person_id=line.booking.person_id, allowed=True)
    return line
