"""The control results as they came; judging them follows with the QC engine."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit.db import Transaction
from cloud.lis.instruments.model import Instrument
from cloud.lis.qc import service
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

router = APIRouter(prefix="/staff/lis/qc")
Reader = Annotated[CurrentStaff, Depends(require("result.read"))]

navigation.add(N_("质控结果"), "/staff/lis/qc", permission="result.read", group=N_("检验"), position=330, key="g q")


@router.get("")
def page(request: Request, session: Transaction, staff: Reader, instrument: str = "") -> Response:
    """The newest control results, of one instrument or of all."""
    instruments = session.scalars(select(Instrument).order_by(Instrument.code)).all()
    chosen = next((each.id for each in instruments if str(each.id) == instrument), None)
    context: dict[str, object] = {
        "rows": service.latest(session, instrument_id=chosen),
        "instruments": instruments,
        "chosen": chosen or uuid.UUID(int=0),
    }
    return render(request, "lis/qc/qc.html", context)
