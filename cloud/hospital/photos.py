"""Doctors' pictures, for phones and staff pages alike. A picture's address changes with the picture."""

from __future__ import annotations

import uuid

from fastapi import APIRouter
from starlette.responses import Response

from cloud.hospital.doctors import photo_of
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.web.i18n import mark as N_

router = APIRouter(include_in_schema=False)
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    # A drawing that is opened by itself runs nothing and loads nothing.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}


@router.get("/hospital/doctors/{doctor_id}/photo")
def photo(doctor_id: uuid.UUID, session: Transaction) -> Response:
    """Open to everybody, as the list of doctors in the hall is."""
    doctor = photo_of(session, doctor_id)
    if doctor is None or doctor.photo is None:
        raise NotFound("hospital.photo", N_("没有这张照片。"))
    return Response(doctor.photo, media_type=doctor.photo_type, headers=_HEADERS)
