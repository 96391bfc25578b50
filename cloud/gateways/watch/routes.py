"""Pages of one box and of silences: live states, what is missing, comparisons, alarms and their limits."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.gateways import reconciliation
from cloud.gateways.watch import limits, overview, rules, silence, wording
from cloud.gateways.watch.rules import Limit
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import Forbidden, NotFound, XinglinError
from cloud.lis.catalog import words
from cloud.lis.instruments.model import Instrument
from cloud.lis.results.attempt import attempt
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/gateways"
SILENCE = f"{PAGE}/silence"
router = APIRouter(prefix=PAGE)

Reader = Annotated[CurrentStaff, Depends(require("gateway.read"))]
Engineer = Annotated[CurrentStaff, Depends(require("gateway.configure"))]

navigation.add(N_("静默报警"), SILENCE, permission="gateway.read", group=N_("系统"), position=805, key="g k")
worklist.add(
    N_("静默报警待处置"),
    N_("超过时限没有消息的仪器和网关"),
    SILENCE,
    permission="gateway.read",
    position=296,
    count=silence.unacknowledged,
    topic="gateways",
    urgent=True,
)


def may_set_limits(staff: CurrentStaff) -> bool:
    """The engineer who set the line up, and the director who answers for the section."""
    return staff.may("gateway.configure") or staff.may("catalog.edit")


def _keeper(staff: Reader) -> CurrentStaff:
    if not may_set_limits(staff):
        raise Forbidden("silence.limits", N_("只有现场工程师和科室主任可以修改静默时限。"))
    return staff


Keeper = Annotated[CurrentStaff, Depends(_keeper)]


@router.get("/box/{gateway_id}")
def box_page(request: Request, session: Transaction, staff: Reader, gateway_id: str) -> Response:
    """One box with every line; the changing part is fetched again when something is announced."""
    return render(request, "gateways/watch/box.html", _box(session, gateway_id))


@router.get("/box/{gateway_id}/part")
def box_part(request: Request, session: Transaction, staff: Reader, gateway_id: str) -> Response:
    return render(request, "gateways/watch/box_part.html", _box(session, gateway_id))


def _box(session: Transaction, gateway_id: str) -> dict[str, Any]:
    return {
        "view": overview.box_view(session, gateway_id),
        "now": clock.now(),
        "w": wording,
        "certificate_warns": overview.CERTIFICATE_WARNS_DAYS,
        "skew_warns": overview.SKEW_WARNS_S,
    }


@router.post("/box/{gateway_id}/reconcile")
def reconcile(session: Transaction, staff: Engineer, gateway_id: str, link: Annotated[str, Form()]) -> Response:
    """Have the box compare what it holds of a link with what is stored here, now."""
    reconciliation.ask_reconciliation(session, gateway_id, link, by=staff.actor)
    return RedirectResponse(f"{PAGE}/box/{gateway_id}#comparisons", status_code=303)


@router.get("/silence")
def silence_page(request: Request, session: Transaction, staff: Reader) -> Response:
    """Open alarms, and the limit of every instrument and section."""
    return render(request, "gateways/watch/silence.html", _silence(session, staff))


@router.get("/silence/part")
def silence_part(request: Request, session: Transaction, staff: Reader) -> Response:
    return render(request, "gateways/watch/alarms.html", _silence(session, staff))


def _silence(session: Transaction, staff: CurrentStaff) -> dict[str, Any]:
    known = limits.in_force(session)
    return {
        "alarms": overview.open_alarms(session),
        "instruments": limits.of_instruments(session),
        "own": known.of_instrument,
        "sections": [(code, known.section(code)) for code in rules.DEFAULTS],
        "section_rows": known.of_section,
        "section_names": words.SECTIONS,
        "heard": silence.last_heard(session),
        "now": clock.now(),
        "editable": may_set_limits(staff),
        "w": wording,
    }


@router.get("/silence/alarms/{alarm_id}")
def alarm_page(request: Request, session: Transaction, staff: Reader, alarm_id: uuid.UUID) -> Response:
    """A page of its own: what is being typed must not change live."""
    return _alarm(request, session, alarm_id)


@router.post("/silence/alarms/{alarm_id}")
def acknowledge(
    request: Request,
    session: Transaction,
    staff: Reader,
    alarm_id: uuid.UUID,
    reason: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    _done, refusal = attempt(session, lambda: silence.acknowledge(session, alarm_id, by=staff, reason=reason))
    if refusal is not None:
        return _alarm(request, session, alarm_id, refusal)
    return RedirectResponse(SILENCE, status_code=303)


def _alarm(
    request: Request, session: Transaction, alarm_id: uuid.UUID, refusal: XinglinError | None = None
) -> Response:
    alarm, gateway, instrument = overview.alarm(session, alarm_id)
    context = {
        "alarm": alarm,
        "gateway": gateway,
        "instrument": instrument,
        "w": wording,
        "problem": message_of(refusal) if refusal else "",
    }
    return render(request, "gateways/watch/alarm.html", context, refusal.status if refusal else 200)


@router.get("/silence/limit")
def limit_page(
    request: Request, session: Transaction, staff: Keeper, instrument: uuid.UUID | None = None, section: str = ""
) -> Response:
    """The form of one instrument's limit, or of a section's."""
    return _limit_form(request, session, instrument, section)


@router.post("/silence/limit")
def set_limit(
    request: Request,
    session: Transaction,
    staff: Keeper,
    instrument: Annotated[str, Form()] = "",
    section: Annotated[str, Form(max_length=32)] = "",
    how: Annotated[str, Form()] = "",
    minutes: Annotated[str, Form(max_length=6)] = "",
    opens: Annotated[str, Form(max_length=5)] = "",
    closes: Annotated[str, Form(max_length=5)] = "",
    days: Annotated[list[str] | None, Form()] = None,
    reason: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """`how`: "limit", "always" (around the clock), "never" (no alarm) or "inherit"."""
    instrument_id = _instrument_id(instrument)
    wanted = _typed(how, minutes, opens, closes, days or [])
    _done, refusal = attempt(
        session,
        lambda: limits.set_limit(
            session,
            by=staff,
            reason=reason,
            limit=wanted,
            instrument_id=instrument_id,
            section=None if instrument_id else section,
        ),
    )
    if refusal is not None:
        return _limit_form(request, session, instrument_id, section, refusal, wanted)
    return RedirectResponse(SILENCE, status_code=303)


def _instrument_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        raise NotFound("instrument_unknown", N_("没有这台仪器。")) from None


def _typed(how: str, minutes: str, opens: str, closes: str, days: list[str]) -> Limit | None:
    """What cannot be read is out of every range and refused with the sentence for it."""
    if how == "inherit":
        return None
    if how == "never":
        return Limit(None)
    number = int(minutes) if minutes.strip().isdecimal() else 0
    if how == "always":
        return Limit(number)
    chosen = tuple(sorted({int(each) for each in days if each in "1234567" and each}))
    return Limit(number, limits.minutes_of(opens), limits.minutes_of(closes), chosen)


def _limit_form(
    request: Request,
    session: Transaction,
    instrument_id: uuid.UUID | None,
    section: str,
    refusal: XinglinError | None = None,
    typed: Limit | None = None,
) -> Response:
    known = limits.in_force(session)
    instrument = session.get(Instrument, instrument_id) if instrument_id else None
    if (instrument_id and instrument is None) or (not instrument_id and section not in rules.DEFAULTS):
        raise NotFound("silence.scope", N_("没有这台仪器或这个专业组。"))
    row = known.of_instrument.get(instrument.id) if instrument else known.of_section.get(section)
    context = {
        "instrument": instrument,
        "section": section,
        "section_names": words.SECTIONS,
        "limit": typed or (known.instrument(instrument) if instrument else known.section(section)),
        "inherits": row is None or row.inherits,
        "history": limits.history(session, instrument_id, section),
        "w": wording,
        "problem": message_of(refusal) if refusal else "",
    }
    return render(request, "gateways/watch/limit.html", context, refusal.status if refusal else 200)
