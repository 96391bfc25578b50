"""The environment's pages: all devices with their last values, alarms to deal with, the course of one point."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import XinglinError
from cloud.lis.environment import overview, service
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/environment"
router = APIRouter(prefix=PAGE)

Reader = Annotated[CurrentStaff, Depends(require("environment.read"))]
Keeper = Annotated[CurrentStaff, Depends(require(service.ACKNOWLEDGE))]
SPANS = {24: N_("24 小时"), 24 * 7: N_("7 天"), 24 * 31: N_("31 天")}

navigation.add(N_("环境监测"), PAGE, permission="environment.read", group=N_("检验"), position=340, key="g e")
worklist.add(
    N_("环境报警待处置"),
    N_("冰箱、培养箱、纯水和房间的温湿度报警"),
    PAGE,
    permission=service.ACKNOWLEDGE,
    position=295,
    count=overview.open_count,
    topic=service.TOPIC,
    urgent=True,
)


@router.get("")
def page(request: Request, session: Transaction, staff: Reader) -> Response:
    return _page(request, session)


@router.get("/devices")
def devices(request: Request, session: Transaction, staff: Reader) -> Response:
    """The part of the page that changes by itself."""
    context = {"devices": overview.devices(session), "alarm_name": overview.alarm_name}
    return render(request, "lis/environment/devices.html", context)


@router.post("/alarms/{alarm_id}/acknowledge")
def acknowledge(
    request: Request, session: Transaction, staff: Keeper, alarm_id: uuid.UUID, reason: Annotated[str, Form()] = ""
) -> Response:
    try:
        with session.begin_nested():
            service.acknowledge(session, alarm_id, by=staff, reason=reason)
    except XinglinError as refusal:
        return _page(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(PAGE, status_code=303)


@router.get("/points/{point_id}")
def point(request: Request, session: Transaction, staff: Reader, point_id: uuid.UUID, hours: int = 24) -> Response:
    found = overview.point(session, point_id)
    span = hours if hours in SPANS else 24
    readings = overview.course(session, point_id, clock.now() - timedelta(hours=span))
    context = {
        "point": found,
        "readings": list(reversed(readings))[:200],
        "alarms": overview.alarms_of(session, point_id),
        "alarm_name": overview.alarm_name,
        "spans": SPANS,
        "hours": span,
        "drawn": any(each.number is not None for each in readings),
    }
    return render(request, "lis/environment/point.html", context)


@router.get("/points/{point_id}/course.json")
def course(session: Transaction, staff: Reader, point_id: uuid.UUID, hours: int = 24) -> dict[str, Any]:
    """What the page's chart draws: numbers over the hospital's wall clock, with gaps where nothing could be read."""
    found = overview.point(session, point_id)
    now = clock.now()
    since = now - timedelta(hours=hours if hours in SPANS else 24)
    readings = overview.course(session, point_id, since)
    values = [
        [_wall_ms(max(each.observed_at, since)), None if each.number is None else float(each.number)]
        for each in readings
    ]
    if values and not found.alarms.count("no answer"):
        values.append([_wall_ms(now), values[-1][1]])
    return {"unit": found.unit or "", "values": values, "since": _wall_ms(since), "now": _wall_ms(now)}


def _wall_ms(moment: datetime) -> float:
    """Milliseconds as the hospital's clock shows them, for an axis that knows no zone."""
    return clock.local(moment).replace(tzinfo=UTC).timestamp() * 1000


def _page(request: Request, session: Transaction, problem: str = "", status: int = 200) -> Response:
    context = {
        "devices": overview.devices(session),
        "alarms": overview.open_alarms(session),
        "alarm_name": overview.alarm_name,
        "problem": problem,
    }
    return render(request, "lis/environment/environment.html", context, status)
