"""The page on which a mapping is tried on a message."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from cloud.gateways.mapping import trial
from cloud.gateways.model import InboxMessage
from cloud.gateways.routes import STATES
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid, NotFound
from cloud.lis.instruments import service as instruments
from cloud.lis.instruments.model import Instrument
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from protocols.driver import discover

PAGE = "/staff/lis/mapping"
router = APIRouter(prefix=PAGE)
Editor = Annotated[CurrentStaff, Depends(require("catalog.edit"))]

VERDICTS = {
    trial.MAPPED: (N_("对应"), "good"),
    trial.NOTICE: (N_("仪器提示"), "info"),
    trial.UNKNOWN: (N_("没有对照"), "bad"),
    trial.UNIT_DIFFERS: (N_("单位不符"), "bad"),
    trial.NO_NUMBER: (N_("不是数字"), "warn"),
    trial.RETIRED: (N_("项目已停用"), "warn"),
}


@router.get("")
def choose(request: Request, session: Transaction, staff: Editor, instrument: str = "", message: str = "") -> Response:
    """Choose an instrument, then a stored message or a file; a message chosen is tried at once."""
    chosen = _instrument(session, instrument) if instrument else None
    found = None
    if chosen is not None and message:
        stored = session.get(InboxMessage, _id(message))
        if stored is None or (stored.gateway, stored.link) != (chosen.gateway, chosen.link):
            raise NotFound("mapping.message", N_("这台仪器没有这条报文。"))
        found = trial.of_message(session, chosen, stored)
    return _page(request, session, chosen, found, message)


@router.post("")
def upload(
    request: Request,
    session: Transaction,
    staff: Editor,
    instrument: Annotated[str, Form()],
    file: Annotated[UploadFile, File()],
    driver: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Try an uploaded capture; the file is read and forgotten."""
    chosen = _instrument(session, instrument)
    data = file.file.read(trial.LARGEST + 1)
    if len(data) > trial.LARGEST:
        raise Invalid("mapping.large", N_("文件超过 2 MB，请截取几条报文。"))
    found = trial.of_capture(session, chosen, data, driver)
    return _page(request, session, chosen, found, "")


def _page(
    request: Request, session: Transaction, chosen: Instrument | None, found: trial.Trial | None, message: str
) -> Response:
    context = {
        "instruments": instruments.instruments(session),
        "chosen": chosen,
        "messages": trial.stored_messages(session, chosen) if chosen is not None else [],
        "message": message,
        "trial": found,
        "verdicts": VERDICTS,
        "states": STATES,
        "drivers": sorted(discover()),
    }
    return render(request, "gateways/mapping/trial.html", context)


def _instrument(session: Transaction, text: str) -> Instrument:
    found = session.get(Instrument, _id(text))
    if found is None:
        raise NotFound("instrument_unknown", N_("没有这台仪器。"))
    return found


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound("page_unknown", N_("没有这个页面。")) from None
