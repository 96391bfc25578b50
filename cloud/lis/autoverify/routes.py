"""Pages of the automatic verification: overview with the stop switches, alarms, pass rates, why a tube was held."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid, NotFound, XinglinError
from cloud.lis.autoverify import delta_pane, drift, reading, rulesets, stopping
from cloud.lis.autoverify.forms import resolve
from cloud.lis.autoverify.model import AutoAlarm, RuleSetState
from cloud.lis.autoverify.ruleset_routes import router as ruleset_router
from cloud.lis.catalog import panes
from cloud.lis.catalog.words import SECTIONS
from cloud.lis.instruments.model import Instrument
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from cloud.lis.verification.sentences import GUARDS, stop_name
from cloud.people.access import Subject
from cloud.people.access import person as visible_person
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/autoverify"
router = APIRouter(prefix=PAGE)
Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
Releaser = Annotated[CurrentStaff, Depends(require("result.release"))]
Approver = Annotated[CurrentStaff, Depends(require("catalog.approve"))]
Text = Annotated[str, Form()]

navigation.add(N_("智能审核"), PAGE, permission="catalog.read", group=N_("检验设置"), position=415, key="g f")
panes.add("delta", N_("差值校验"), "lis/autoverify/test_delta.html", delta_pane.delta_of, position=250)


def _open_alarms(session: Session) -> int:
    waiting = select(func.count()).select_from(AutoAlarm).where(AutoAlarm.acknowledged_at.is_(None))
    return session.scalar(waiting) or 0


worklist.add(
    N_("自动审核通过率报警"),
    N_("某项目一天的通过率偏离它自己的常态"),
    PAGE,
    permission="result.release",
    position=330,
    count=_open_alarms,
    topic=stopping.TOPIC,
)


@router.get("")
def page(request: Request, session: Transaction, staff: Reader, versions: str = "") -> Response:
    return _page(request, session, all_versions=versions == "all")


def _page(
    request: Request, session: Session, *, all_versions: bool = False, problem: str = "", status: int = 200
) -> Response:
    instruments = session.scalars(select(Instrument).order_by(Instrument.code)).all()
    context = {
        "standings": reading.standings(session, all_versions=all_versions),
        "all_versions": all_versions,
        "stops": stopping.in_force(session),
        "past_stops": stopping.past(session, limit=10),
        "alarms": drift.open_alarms(session),
        "sets": {each.id: each for each in rulesets.versions(session)},
        "names": reading.names(session),
        "stop_name": stop_name,
        "instruments": [(each.code, f"{each.code} {each.name}") for each in instruments],
        "sections": SECTIONS,
        "states": STATES,
        "problem": problem,
    }
    return render(request, "lis/autoverify/overview.html", context, status)


STATES: dict[str, tuple[str, str]] = {
    RuleSetState.DRAFT: (N_("草案"), "warn"),
    RuleSetState.TESTED: (N_("已验证，待批准"), "info"),
    RuleSetState.APPROVED: (N_("已批准"), "good"),
    RuleSetState.RETIRED: (N_("已停用"), "neutral"),
}


def _tried(request: Request, session: Session, verb: Callable[[], object]) -> Response:
    """Do it; a refusal shows the page again with its sentence."""
    try:
        with session.begin_nested():
            verb()
    except XinglinError as refusal:
        return _page(request, session, problem=message_of(refusal), status=refusal.status)
    return RedirectResponse(PAGE, status_code=303)


@router.post("/stop")
def stop(
    request: Request,
    session: Transaction,
    staff: Releaser,
    what: Text = "",
    test: Text = "",
    instrument: Text = "",
    reason: Text = "",
) -> Response:
    """Stop everything, one test or one instrument, from this moment."""

    def verb() -> None:
        if what == "test":
            scope = "".join(f"test:{each}" for each in resolve(session, test.split()[:1]))
        elif what == "instrument":
            scope = f"instrument:{instrument}"
        else:
            scope = "all" if what == "all" else ""
        if not scope:
            raise Invalid("stop.what", N_("请选择停用什么：全部、一个项目或一台仪器。"))
        stopping.stop(session, by=staff, scope=scope, reason=reason)

    return _tried(request, session, verb)


@router.post("/stops/{stop_id}/resume")
def resume(request: Request, session: Transaction, staff: Approver, stop_id: uuid.UUID, reason: Text = "") -> Response:
    return _tried(request, session, lambda: stopping.resume(session, stop_id, by=staff, reason=reason))


@router.post("/alarms/{alarm_id}/acknowledge")
def acknowledge(
    request: Request, session: Transaction, staff: Releaser, alarm_id: uuid.UUID, reason: Text = ""
) -> Response:
    return _tried(request, session, lambda: drift.acknowledge(session, alarm_id, by=staff, reason=reason))


@router.get("/sets/{set_id}/rates")
def rates(
    request: Request, session: Transaction, staff: Reader, set_id: uuid.UUID, days: int = 30, mode: str = ""
) -> Response:
    """Pass rate by test, and which rules hold most."""
    rules = rulesets.one(session, set_id)
    span = days if days in (7, 30, 90) else 30
    live = mode if mode in ("live", "shadow") else ("live" if rules.state == RuleSetState.APPROVED else "shadow")
    drift.count(session, clock.today())
    context = {
        "rules": rules,
        "days": span,
        "mode": live,
        "rates": reading.rates(session, set_id, live, since=clock.today() - timedelta(days=span - 1)),
        "names": reading.names(session),
        "rule_names": {each["id"]: each["name"] or each["id"] for each in rules.rules},
        "guards": GUARDS,
    }
    return render(request, "lis/autoverify/rates.html", context)


@router.get("/why")
def why(request: Request, session: Transaction, staff: Reader, code: str = "") -> Response:
    """By scan: why the rules passed or held a tube."""
    found = specimens.find(session, code) if code.strip() else None
    if found is None:
        raise NotFound("specimen.unknown", N_("没有这份标本。"))
    return RedirectResponse(f"{PAGE}/specimens/{found.id}", status_code=303)


@router.get("/specimens/{specimen_id}")
def specimen(request: Request, session: Transaction, staff: Reader, specimen_id: uuid.UUID) -> Response:
    """Every decision on a specimen with the values it used."""
    found = session.get(Specimen, specimen_id)
    if found is None:
        raise NotFound("specimen.unknown", N_("没有这份标本。"))
    context = {
        "specimen": found,
        "person": visible_person(session, Subject.staff(staff), found.person_id),
        "decisions": reading.explained(session, specimen_id),
    }
    return render(request, "lis/autoverify/specimen.html", context)


router.include_router(ruleset_router)
