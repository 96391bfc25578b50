"""Page of reflex rules: what acts, what waits for approval, the editor with its check, what each did."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import XinglinError
from cloud.lis.calculation.formula import Fault
from cloud.lis.catalog import words
from cloud.lis.reflex import service, wording
from cloud.lis.reflex.model import ReflexAction
from cloud.lis.reflex.rule import MOST_TIMES, Act, Rule
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/reflex"
router = APIRouter(prefix=PAGE)
navigation.add(N_("反射与复检规则"), PAGE, permission="catalog.read", group=N_("检验设置"), position=427, key="g R")

Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
Editor = Annotated[CurrentStaff, Depends(require("catalog.edit"))]
Approver = Annotated[CurrentStaff, Depends(require("catalog.approve"))]
Line = Annotated[str, Form(max_length=240)]
EMPTY = {"code": "", "title": "", "condition": "", "act": "add", "tests": "", "dilution": "", "text": ""}


@router.get("")
def rules(request: Request, session: Transaction, staff: Reader, edit: str = "") -> Response:
    """Every rule in its newest version; `edit`: the code whose newest version stands in the form."""
    return _page(request, session, fields=_fields(session, edit))


def _fields(session: Session, code: str) -> dict[str, Any]:
    row = next((each for each in service.newest(session) if each.code == code), None)
    if row is None:
        return {**EMPTY, "charged": False, "times": 1, "source": "", "reason": ""}
    kept = {name: getattr(row, name) for name in (*EMPTY, "charged", "times", "source")}
    return {**kept, "tests": " ".join(row.tests), "reason": ""}


def _page(
    request: Request,
    session: Session,
    *,
    fields: dict[str, Any],
    faults: Sequence[Fault] = (),
    problem: str = "",
    status: int = 200,
) -> Response:
    done = {
        rule_id: (count, failed)
        for rule_id, count, failed in session.execute(
            select(ReflexAction.rule_id, func.count(), func.count().filter(ReflexAction.done.is_(False))).group_by(
                ReflexAction.rule_id
            )
        )
    }
    context = {
        "rules": service.newest(session),
        "acting": {each.row.id for each in service.acting(session)},
        "done": done,
        "fields": fields,
        "faults": faults,
        "problem": problem,
        "wording": wording,
        "acts": [(str(each), wording.ACTS[each]) for each in Act],
        "words": words,
        "most": MOST_TIMES,
    }
    return render(request, "lis/reflex/rules.html", context, status)


@router.post("")
def save(
    request: Request,
    session: Transaction,
    staff: Editor,
    code: Line = "",
    title: Line = "",
    condition: Annotated[str, Form(max_length=2000)] = "",
    act: Line = "add",
    tests: Line = "",
    dilution: Line = "",
    text: Line = "",
    charged: Annotated[bool, Form()] = False,
    times: Annotated[int, Form()] = 1,
    source: Line = "",
    reason: Line = "",
) -> Response:
    """A new draft version; faults are shown on the form with what was typed kept."""
    codes = tuple(tests.replace("、", " ").replace(",", " ").upper().split())
    rule = Rule(
        condition.strip(), Act(act) if act in set(Act) else Act.ADD, codes, dilution.strip(), text, charged, times
    )
    fields = {
        "code": code,
        "title": title,
        "condition": condition,
        "act": act,
        "tests": tests,
        "dilution": dilution,
        "text": text,
        "charged": charged,
        "times": times,
        "source": source,
        "reason": reason,
    }
    faults = service.check(session, code.strip(), rule)
    if faults:
        return _page(request, session, fields=fields, faults=faults, status=422)
    try:
        service.save(session, code.strip(), rule, title=title, source=source, by=staff, reason=reason)
    except XinglinError as refusal:
        return _page(request, session, fields=fields, problem=message_of(refusal), status=refusal.status)
    return RedirectResponse(PAGE, status_code=303)


@router.post("/{rule_id}/approve")
def approve(session: Transaction, staff: Approver, rule_id: uuid.UUID) -> Response:
    service.approve(session, rule_id, by=staff)
    return RedirectResponse(PAGE, status_code=303)


@router.post("/{rule_id}/retire")
def retire(session: Transaction, staff: Approver, rule_id: uuid.UUID, reason: Line = "") -> Response:
    service.retire(session, rule_id, by=staff, reason=reason)
    return RedirectResponse(PAGE, status_code=303)
