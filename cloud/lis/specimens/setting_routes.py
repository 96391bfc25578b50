"""Settings of specimens: the director's limits, what tests ask of their tube, how much of a container can be used."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid
from cloud.lis.catalog import words
from cloud.lis.orders import timing
from cloud.lis.specimens import policy, requirements
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/lis/specimens/settings"
router = APIRouter(prefix="/settings")
Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
Editor = Annotated[CurrentStaff, Depends(require("catalog.edit"))]
Director = Annotated[CurrentStaff, Depends(require("catalog.approve"))]
THREE = {"": None, "yes": True, "no": False}
Text = Annotated[str, Form(max_length=200)]
Number = Annotated[str, Form(max_length=8)]

navigation.add(N_("采集与存放设置"), PAGE, permission="catalog.read", group=N_("检验设置"), position=440, key="g G")


@router.get("")
def settings_page(request: Request, session: Transaction, staff: Reader, q: str = "") -> Response:
    context = {
        "settings": policy.SETTINGS,
        "values": policy.values(session),
        "containers": requirements.containers(session),
        "tests": requirements.asked_of_tests(session, q),
        "q": q,
        "states": words.STATES,
        "timing_said": timing.said,
        "timing_typed": timing.as_typed,
    }
    return render(request, "lis/specimens/settings.html", context)


@router.post("/policy")
def set_policy(
    session: Transaction,
    staff: Director,
    key: Annotated[str, Form(max_length=32)] = "",
    value: Number = "",
    reason: Text = "",
) -> Response:
    text = value.strip()
    if text and not (text.isascii() and text.isdigit()):
        raise Invalid("policy_value", N_("设置的数值不正确。"))
    policy.set_value(session, key, int(text) if text else None, by=staff.actor, reason=reason)
    return RedirectResponse(PAGE, status_code=303)


@router.post("/tests/{test_id}")
def set_test(
    session: Transaction,
    staff: Editor,
    test_id: uuid.UUID,
    volume_ul: Number = "",
    line: Annotated[str, Form(max_length=32)] = "",
    fasting: Annotated[str, Form(max_length=3)] = "",
    note: Text = "",
    when: Text = "",
    stable_room_h: Number = "",
    stable_cold_h: Number = "",
    stable_frozen_h: Number = "",
    source: Text = "",
) -> Response:
    values = {
        "volume_ul": volume_ul,
        "line": line,
        "fasting": THREE.get(fasting),
        "note": note,
        "timing": when,
        "stable_room_h": stable_room_h,
        "stable_cold_h": stable_cold_h,
        "stable_frozen_h": stable_frozen_h,
        "source": source,
    }
    requirements.set_test(session, test_id, values, by=staff.actor)
    return RedirectResponse(f"{PAGE}#tests", status_code=303)


@router.post("/tubes/{tube_id}")
def set_tube(
    session: Transaction,
    staff: Editor,
    tube_id: uuid.UUID,
    max_fill_ul: Number = "",
    dead_volume_ul: Number = "",
    yield_percent: Number = "",
    anticoagulated: Annotated[str, Form(max_length=3)] = "",
    preprinted_prefix: Annotated[str, Form(max_length=16)] = "",
    source: Text = "",
) -> Response:
    values = {
        "max_fill_ul": max_fill_ul,
        "dead_volume_ul": dead_volume_ul,
        "yield_percent": yield_percent,
        "anticoagulated": THREE.get(anticoagulated),
        "preprinted_prefix": preprinted_prefix,
        "source": source,
    }
    requirements.set_tube(session, tube_id, values, by=staff.actor)
    return RedirectResponse(f"{PAGE}#tubes", status_code=303)


@router.post("/{kind}/{key}/approve")
def approve(session: Transaction, staff: Director, kind: str, key: uuid.UUID) -> Response:
    requirements.approve(session, "test" if kind == "tests" else "tube", key, by=staff.actor)
    return RedirectResponse(f"{PAGE}#{'tests' if kind == 'tests' else 'tubes'}", status_code=303)
