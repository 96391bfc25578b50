"""Pages of formulas: the list, one formula with its versions, the editor with its check while one types."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound, XinglinError
from cloud.lis.calculation import service, wording
from cloud.lis.calculation.formula import Definition, Example, Fault, KnownTest, Outcome, agrees, of_example, printed
from cloud.lis.calculation.language import FormulaError
from cloud.lis.calculation.model import Formula
from cloud.lis.calculation.reading import read_form, written
from cloud.lis.catalog import panes, words
from cloud.lis.catalog.model import Test, ValueType
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/formulas"
router = APIRouter(prefix=PAGE)
navigation.add(N_("计算公式"), PAGE, permission="catalog.read", group=N_("检验设置"), position=425, key="g F")

Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
Editor = Annotated[CurrentStaff, Depends(require("catalog.edit"))]
Approver = Annotated[CurrentStaff, Depends(require("catalog.approve"))]
Line = Annotated[str, Form(max_length=240)]
Area = Annotated[str, Form(max_length=8000)]


@dataclass(frozen=True, slots=True)
class Draft:
    """The editor's form as it was sent."""

    test: str
    expression: str
    operands: str
    parameters: str
    limits: str
    examples: str
    source: str
    reason: str
    adds_itself: bool
    though_measured: bool


def _draft(
    test: Line = "",
    expression: Area = "",
    operands: Area = "",
    parameters: Area = "",
    limits: Area = "",
    examples: Area = "",
    source: Line = "",
    reason: Line = "",
    adds_itself: Annotated[bool, Form()] = False,
    though_measured: Annotated[bool, Form()] = False,
) -> Draft:
    return Draft(test, expression, operands, parameters, limits, examples, source, reason, adds_itself, though_measured)


Drafted = Annotated[Draft, Depends(_draft)]


def _of_test(session: Session, test: Test) -> list[Formula]:
    return service.versions(session, test.id)[:3]


panes.add("formula", N_("计算公式"), "lis/calculation/test_formula.html", _of_test, position=100)


@router.get("")
def formulas(request: Request, session: Transaction, staff: Reader) -> Response:
    """The newest version of every calculated test, and the one that counts today."""
    rows = session.execute(
        select(Formula, Test).join(Test, Test.id == Formula.test_id).order_by(Test.position, Formula.version.desc())
    )
    newest: dict[str, tuple[Formula, Test]] = {}
    for formula, test in rows:
        newest.setdefault(test.code, (formula, test))
    context = {"rows": list(newest.values()), "current": service.current(session), "words": words}
    return render(request, "lis/calculation/formulas.html", context)


@router.get("/new")
def new(request: Request, session: Transaction, staff: Editor, test: str = "") -> Response:
    """An empty editor."""
    empty = Draft(test, "", "", "", "", "", "", "", False, False)
    return _editor(request, session, empty, faults=[])


@router.get("/{test_code}")
def one(request: Request, session: Transaction, staff: Reader, test_code: str) -> Response:
    """One calculated test: every version, what each gives for its examples."""
    test = session.scalar(select(Test).where(Test.code == test_code))
    found = service.versions(session, test.id) if test else []
    if test is None or not found:
        raise NotFound("formula.unknown", N_("没有这个公式。"))
    tests = service.known_tests(session)
    context = {
        "test": test,
        "versions": [(each, _examples(each.definition(test.code), tests)) for each in found],
        "current": service.current(session).get(test.code),
        "written": written,
        "words": words,
        "problem": "",
    }
    return render(request, "lis/calculation/formula.html", context)


@router.get("/{test_code}/edit")
def edit(request: Request, session: Transaction, staff: Editor, test_code: str) -> Response:
    """The editor with the newest version in it."""
    test = session.scalar(select(Test).where(Test.code == test_code))
    found = service.versions(session, test.id) if test else []
    if test is None or not found:
        raise NotFound("formula.unknown", N_("没有这个公式。"))
    last = found[0]
    fields = written(last.definition(test.code))
    draft = Draft(
        **fields, source=last.source, reason="", adds_itself=last.adds_itself, though_measured=last.though_measured
    )
    return _editor(request, session, draft, faults=[])


@router.post("/check")
def check(request: Request, session: Transaction, staff: Editor, draft: Drafted) -> Response:
    """What is wrong, and what the formula gives now: fetched while one types."""
    definition, faults = _read(session, draft)
    return render(request, "lis/calculation/checked.html", _checked(session, definition, faults))


@router.post("")
def save(request: Request, session: Transaction, staff: Editor, draft: Drafted) -> Response:
    """A new draft version."""
    definition, faults = _read(session, draft)
    if faults:
        return _editor(request, session, draft, faults=faults, status=422)
    try:
        row = service.save(
            session,
            definition,
            source=draft.source,
            by=staff,
            reason=draft.reason,
            adds_itself=draft.adds_itself,
            though_measured=draft.though_measured,
        )
    except XinglinError as refusal:
        return _editor(request, session, draft, faults=[], problem=message_of(refusal), status=refusal.status)
    return RedirectResponse(f"{PAGE}/{definition.test}#v{row.version}", status_code=303)


@router.post("/versions/{formula_id}/approve")
def approve(session: Transaction, staff: Approver, formula_id: uuid.UUID, reason: Line = "") -> Response:
    row = service.approve(session, formula_id, by=staff, reason=reason)
    return _back(session, row)


@router.post("/versions/{formula_id}/retire")
def retire(session: Transaction, staff: Approver, formula_id: uuid.UUID, reason: Line = "") -> Response:
    row = service.retire(session, formula_id, by=staff, reason=reason)
    return _back(session, row)


def _back(session: Session, row: Formula) -> Response:
    return RedirectResponse(f"{PAGE}/{session.get_one(Test, row.test_id).code}", status_code=303)


def _read(session: Session, draft: Draft) -> tuple[Definition, list[Fault]]:
    definition, unread = read_form(
        draft.test, draft.expression, draft.operands, draft.parameters, draft.limits, draft.examples
    )
    return definition, unread or service.check(session, definition)


def _checked(session: Session, definition: Definition, faults: Sequence[Fault]) -> dict[str, Any]:
    tests = service.known_tests(session)
    target = tests.get(definition.test)
    return {
        "faults": faults,
        "sentence": wording.sentence,
        "place": _place,
        "definition": definition,
        "target": target,
        "tries": _examples(definition, tests) if target else [],
    }


def _place(fault: Fault, definition: Definition) -> tuple[str, str, str]:
    """The text of the faulty cell: before the fault, the fault, after it."""
    text = definition.expression
    if fault.cell.startswith("limit."):
        text = definition.limits[int(fault.cell.partition(".")[2])].when
    elif fault.cell != "expression":
        return "", "", ""
    return text[: fault.start], text[fault.start : fault.end], text[fault.end :]


def _examples(definition: Definition, tests: dict[str, KnownTest]) -> list[tuple[Example, str, bool]]:
    """Each example with what comes out of it now, and whether that agrees."""
    target = tests.get(definition.test)
    found: list[tuple[Example, str, bool]] = []
    for each in definition.examples:
        try:
            outcome = of_example(definition, tests, each, target.unit if target else "")
        except (FormulaError, KeyError):
            outcome = Outcome(code="arithmetic")
        found.append((each, shown(outcome, each.expected), agrees(outcome, each.expected)))
    return found


def shown(outcome: Outcome, expected: str = "") -> str:
    """What comes out, to the digits that were expected (four where none were); else why nothing does."""
    if outcome.number is None:
        return wording.outcome_sentence(outcome.code, outcome.fields)
    return f"{printed(outcome.number, len(expected.partition('.')[2]) if expected else 4):f}"


_CELLS = {name.removesuffix("s"): name for name in ("operands", "parameters", "limits", "examples")}
_CELLS |= {name: name for name in ("expression", *_CELLS.values())}


def _editor(
    request: Request,
    session: Session,
    draft: Draft,
    *,
    faults: Sequence[Fault],
    problem: str = "",
    status: int = 200,
) -> Response:
    definition, _ = read_form(
        draft.test, draft.expression, draft.operands, draft.parameters, draft.limits, draft.examples
    )
    numeric = (
        select(Test).where(Test.value_type.in_([each for each in ValueType if each.in_numbers])).order_by(Test.position)
    )
    context = {
        "draft": draft,
        "problem": problem,
        "catalogue": list(session.scalars(numeric)),
        "today": clock.today(),
        "wrong": {_CELLS.get(each.cell.partition(".")[0], "") for each in faults},
        **_checked(session, definition, faults),
    }
    return render(request, "lis/calculation/editor.html", context, status)
