"""Pages of one rule set: its rules as sentences, the editor, tests on history, approval."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query
from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid, NotFound, XinglinError
from cloud.lis.autoverify import backtesting, fitting, forms, reading, rulesets
from cloud.lis.autoverify.model import Backtest, RuleSetVersion
from cloud.lis.autoverify.rulesets import RuleRefused
from cloud.lis.catalog.words import SECTIONS, SPECIMENS
from cloud.lis.verification import soundness
from cloud.lis.verification.confusion import Confusion
from cloud.lis.verification.fault_words import fault_sentence
from cloud.lis.verification.kinds import KINDS, OPERATORS, Fault
from cloud.lis.verification.ruleset import Rule, rule_from_json
from cloud.lis.verification.sentences import finding_sentence, kind_label, rule_sentence
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/autoverify"
router = APIRouter()
Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
Editor = Annotated[CurrentStaff, Depends(require("catalog.edit"))]
Approver = Annotated[CurrentStaff, Depends(require("rule.approve"))]
Text = Annotated[str, Form()]
Revision = Annotated[int, Form()]


async def _whole_form(request: Request) -> FormData:
    return await request.form()


WholeForm = Annotated[FormData, Depends(_whole_form)]


@router.post("/sets")
def create(
    session: Transaction,
    staff: Editor,
    code: Text = "",
    name: Text = "",
    sections: Annotated[list[str] | None, Form()] = None,
) -> Response:
    made = rulesets.create(session, by=staff, code=code, name=name, sections=_sections(sections))
    return RedirectResponse(f"{PAGE}/sets/{made.id}", status_code=303)


@router.get("/sets/{set_id}")
def rule_set(request: Request, session: Transaction, staff: Reader, set_id: uuid.UUID) -> Response:
    return _page(request, session, set_id)


def _page(request: Request, session: Session, set_id: uuid.UUID, problem: str = "", status: int = 200) -> Response:
    from cloud.lis.autoverify.routes import STATES

    rules = rulesets.one(session, set_id)
    names = reading.short_names(session)
    found = rulesets.problems(session, rules)
    tests = reading.backtests(session, set_id)
    last = next((each for each in tests if each.state == "done" and each.revision == rules.revision), None)
    now = clock.now()
    context = {
        "rules": rules,
        "live": rules.id in {each.id for each in rulesets.live(session, now)},
        "lines": [_line(each, found, names, last) for each in rules.rules],
        "loose": [fault_sentence(each, names) for each in found if not each.rule],
        "blocking": len(soundness.blocking(found)),
        "backtests": tests,
        "last": last,
        "kinds": KINDS,
        "sections": SECTIONS,
        "states": STATES,
        "editable": rules.state in rulesets.EDITABLE,
        "today": clock.today(),
        "since": clock.today() - timedelta(days=90),
        "now": clock.local(now),
        "problem": problem,
    }
    return render(request, "lis/autoverify/rule_set.html", context, status)


def _line(stored: dict[str, Any], found: list[Fault], names: Any, last: Backtest | None) -> dict[str, Any]:
    rule = rule_from_json(stored)
    mine = [fault_sentence(each, names) for each in found if each.rule == rule.id]
    hits = last.outcome["rules"].get(rule.id) if last is not None else None
    return {"rule": rule, "kind": kind_label(rule.kind), "text": _said(rule, names), "faults": mine, "hits": hits}


def _said(rule: Rule, names: Any) -> str:
    """A rule that is not filled in yet has no sentence."""
    try:
        return rule_sentence(rule, names)
    except KeyError:
        return ""


def _tried(request: Request, session: Session, set_id: uuid.UUID, verb: Callable[[], object]) -> Response:
    try:
        with session.begin_nested():
            verb()
    except XinglinError as refusal:
        session.expire_all()
        return _page(request, session, set_id, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/sets/{set_id}", status_code=303)


@router.post("/sets/{set_id}/describe")
def describe(
    request: Request,
    session: Transaction,
    staff: Editor,
    set_id: uuid.UUID,
    revision: Revision,
    name: Text = "",
    act: Text = "",
    note: Text = "",
    sections: Annotated[list[str] | None, Form()] = None,
) -> Response:
    return _tried(
        request,
        session,
        set_id,
        lambda: rulesets.describe(
            session,
            set_id,
            by=staff,
            revision=revision,
            name=name,
            sections=_sections(sections),
            act=act,
            note=note,
        ),
    )


@router.post("/sets/{set_id}/version")
def next_version(request: Request, session: Transaction, staff: Editor, set_id: uuid.UUID) -> Response:
    """A draft that begins as a copy."""
    try:
        with session.begin_nested():
            made = rulesets.next_version(session, set_id, by=staff)
    except XinglinError as refusal:
        return _page(request, session, set_id, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/sets/{made.id}", status_code=303)


@router.post("/sets/{set_id}/shadow")
def shadow(request: Request, session: Transaction, staff: Editor, set_id: uuid.UUID, on: Text = "") -> Response:
    return _tried(request, session, set_id, lambda: rulesets.set_shadow(session, set_id, by=staff, on=on == "yes"))


@router.post("/sets/{set_id}/approve")
def approve(
    request: Request,
    session: Transaction,
    staff: Approver,
    set_id: uuid.UUID,
    revision: Revision,
    live_from: Text = "",
    reason: Text = "",
) -> Response:
    """By another person than who edited it; live from a moment of the hospital's clock."""

    def verb() -> None:
        try:
            moment = datetime.fromisoformat(live_from).replace(tzinfo=clock.hospital_zone())
        except ValueError:
            raise Invalid("rules.live_from", N_("请填写生效时间。")) from None
        rulesets.approve(session, set_id, by=staff, revision=revision, live_from=moment, reason=reason)

    return _tried(request, session, set_id, verb)


@router.post("/sets/{set_id}/retire")
def retire(request: Request, session: Transaction, staff: Editor, set_id: uuid.UUID, reason: Text = "") -> Response:
    return _tried(request, session, set_id, lambda: rulesets.retire(session, set_id, by=staff, reason=reason))


@router.get("/sets/{set_id}/rule")
def rule_form(
    request: Request,
    session: Transaction,
    staff: Editor,
    set_id: uuid.UUID,
    kind: str = "",
    rule_id: Annotated[str, Query(alias="rule")] = "",
) -> Response:
    """The form of a new rule of a kind, or of one that is there."""
    rules = rulesets.one(session, set_id)
    before = _stored(rules, rule_id)
    boxes = forms.boxes_of(before) if before else {"kind": kind if kind in KINDS else "range", "active": "yes"}
    return _form(request, rules, boxes, rule_id)


@router.post("/sets/{set_id}/rule")
def put_rule(request: Request, session: Transaction, staff: Editor, set_id: uuid.UUID, form: WholeForm) -> Response:
    """Save it; what is wrong is said on the form, with everything typed still there."""
    boxes = {name: value for name, value in form.items() if isinstance(value, str)}
    rules = rulesets.one(session, set_id)
    rule_id = boxes.get("rule_id", "")
    try:
        revision = int(boxes.get("revision", ""))
        with session.begin_nested():
            before = _stored(rules, rule_id)
            rule = forms.rule_from_form(session, boxes, rule_id=rule_id, before=before, sections=rules.sections)
            rulesets.put_rule(session, set_id, by=staff, revision=revision, rule=rule)
    except RuleRefused as refusal:
        sentence = fault_sentence(refusal.fault, reading.names(session))
        return _form(request, rules, boxes, rule_id, sentence, refusal.status)
    except XinglinError as refusal:
        return _form(request, rules, boxes, rule_id, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/sets/{set_id}#rule-{rule_id}", status_code=303)


def _stored(rules: RuleSetVersion, rule_id: str) -> Rule | None:
    if not rule_id:
        return None
    for each in rules.rules:
        if each["id"] == rule_id:
            return rule_from_json(each)
    raise NotFound("rules.no_rule", N_("没有这条规则，可能已被他人删除。"))


class Boxes(dict[str, Any]):
    """What stands in the form's inputs; one that nobody filled in is empty."""

    def __missing__(self, name: str) -> str:
        return ""


def _form(
    request: Request, rules: RuleSetVersion, boxes: dict[str, Any], rule_id: str, problem: str = "", status: int = 200
) -> Response:
    context = {
        "rules": rules,
        "boxes": Boxes(boxes),
        "rule_id": rule_id,
        "kind": KINDS[boxes["kind"]] if boxes.get("kind") in KINDS else KINDS["range"],
        "rows": range(forms.ROWS),
        "operators": OPERATORS,
        "sections": SECTIONS,
        "specimen_types": SPECIMENS,
        "problem": problem,
    }
    return render(request, "lis/autoverify/rule.html", context, status)


@router.post("/sets/{set_id}/drop")
def drop_rule(
    request: Request, session: Transaction, staff: Editor, set_id: uuid.UUID, revision: Revision, rule_id: Text
) -> Response:
    return _tried(
        request,
        session,
        set_id,
        lambda: rulesets.drop_rule(session, set_id, by=staff, revision=revision, rule_id=rule_id),
    )


@router.post("/sets/{set_id}/fit")
def fit(
    request: Request,
    session: Transaction,
    staff: Editor,
    set_id: uuid.UUID,
    revision: Revision,
    rule_id: Text,
    percent: Text = "0.5",
) -> Response:
    """The wrong-tube limit from the laboratory's own pairs."""

    def verb() -> None:
        try:
            share = Decimal(percent)
        except InvalidOperation:
            share = Decimal(-1)
        if not Decimal("0.01") <= share <= 20:
            raise Invalid("fit.percent", N_("转人工的比例请填 0.01 到 20（%）。"))
        fitting.fit_rule(session, set_id, by=staff, revision=revision, rule_id=rule_id, percent=share)

    return _tried(request, session, set_id, verb)


@router.post("/sets/{set_id}/backtest")
def backtest(
    request: Request,
    session: Transaction,
    staff: Editor,
    set_id: uuid.UUID,
    since: Text = "",
    until: Text = "",
    most: Annotated[int, Form()] = 2000,
) -> Response:
    """Try it on history; the answer is on the test's own page."""

    def verb() -> None:
        try:
            days = [datetime.fromisoformat(each).date() for each in (since, until)]
        except ValueError:
            raise Invalid("backtest.days", N_("请填写起止日期。")) from None
        backtesting.ask(session, set_id, by=staff, since=days[0], until=days[1], most=most)

    return _tried(request, session, set_id, verb)


@router.get("/backtests/{backtest_id}")
def backtest_page(request: Request, session: Transaction, staff: Reader, backtest_id: uuid.UUID) -> Response:
    found = session.get(Backtest, backtest_id)
    if found is None:
        raise NotFound("backtest.none", N_("没有这次验证。"))
    names, short = reading.names(session), reading.short_names(session)
    rules = {each["id"]: rule_from_json(each) for each in found.rules}
    outcome = found.outcome
    context = {
        "test": found,
        "rules": rulesets.one(session, found.rule_set_id),
        "outcome": outcome,
        "names": names,
        "rule_text": {key: (each.name or kind_label(each.kind), _said(each, short)) for key, each in rules.items()},
        "guard_text": {key: finding_sentence({"kind": key, "values": {}}, names) for key in outcome.get("guards", {})},
        "problems": [
            (each["rule"], fault_sentence(Fault(each["rule"], each["code"], each["fields"]), names))
            for each in outcome.get("problems", ())
        ],
        "none": Confusion(),
    }
    return render(request, "lis/autoverify/backtest.html", context)


def _sections(chosen: list[str] | None) -> list[str]:
    return [each for each in chosen or () if each in SECTIONS]
