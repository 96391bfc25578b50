"""Pages of the query: the question with its answer, saved questions, export, a patient's values over time."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid
from cloud.lis.instruments.model import Instrument
from cloud.lis.orders.lookup import numbers_of
from cloud.lis.query import cumulative as over_time
from cloud.lis.query import finding, naming, paper, rules, service
from cloud.lis.query.finding import Answer
from cloud.lis.query.workbook import as_csv, as_xlsx
from cloud.lis.results.attempt import attempt
from cloud.people.access import Subject
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

router = APIRouter(prefix="/staff/lis")

Reader = Annotated[CurrentStaff, Depends(require("result.read"))]
Exporter = Annotated[CurrentStaff, Depends(require("result.export"))]
QUERY_CANCELED = "57014"
"""SQLSTATE of a statement that ran into its timeout."""

navigation.add(N_("结果查询"), "/staff/lis/query", permission="result.read", group=N_("检验"), position=350, key="g Q")


@router.get("/query")
def query_page(request: Request, session: Transaction, staff: Reader, after: str = "") -> Response:
    """Empty: the form and the saved questions. With fields: a page of the answer."""
    question = rules.read(request.query_params, clock.today())
    return _query_page(request, session, staff, question, after=after)


def _query_page(
    request: Request,
    session: Transaction,
    staff: CurrentStaff,
    question: rules.Question,
    *,
    after: str = "",
    problem: str = "",
    status: int = 200,
) -> Response:
    answer: Answer | None = None
    if not question.empty and not question.wrong:
        answer, problem = _answer(session, staff, question, after, problem)
    fields = question.fields()
    context = {
        "question": question,
        "wrong": {name: _(why) for name, why in question.wrong},
        "answer": answer,
        "problem": problem,
        "departments": session.execute(select(Department.code, Department.name).order_by(Department.code)).all(),
        "instruments": session.execute(select(Instrument.code, Instrument.name).order_by(Instrument.code)).all(),
        "saved": [(each, urlencode(each.fields)) for each in service.saved(session, staff.id)],
        "address": urlencode(fields),
        "further": urlencode({**fields, "after": answer.after}) if answer is not None and answer.after else "",
        "is_further": bool(after),
        "may_export": staff.may("result.export"),
    }
    return render(request, "lis/query/query.html", context, status)


def _answer(
    session: Transaction, staff: CurrentStaff, question: rules.Question, after: str, problem: str
) -> tuple[Answer | None, str]:
    try:
        with session.begin_nested():
            return finding.find(session, Subject.staff(staff), question, after=after), problem
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != QUERY_CANCELED:
            raise
        return None, _("这个查询涉及的数据太多，已停止。请缩短日期范围，或增加条件。")


@router.get("/query/tests")
def short_codes(request: Request, session: Transaction, staff: Reader, test: str = "") -> Response:
    """Tests for what is typed so far: code, short name, name or pinyin initials."""
    return render(request, "lis/query/tests.html", {"tests": naming.by_short_code(session, test)})


@router.get("/query/export")
def export(request: Request, session: Transaction, staff: Exporter, form: str = "xlsx") -> Response:
    """The answer as a file. Recorded: who, what question, how many lines."""
    question = rules.read(request.query_params, clock.today())
    kind = "csv" if form == "csv" else "xlsx"
    rows, refusal = attempt(session, lambda: service.export(session, staff, question, form=kind))
    if refusal is not None or rows is None:
        why, status = (message_of(refusal), refusal.status) if refusal is not None else ("", 409)
        return _query_page(request, session, staff, question, problem=why, status=status)
    name = f"query-{clock.local(clock.now()):%Y%m%d-%H%M}.{kind}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    if kind == "csv":
        return Response(as_csv(rows), media_type="text/csv; charset=utf-8", headers=headers)
    media = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    return Response(as_xlsx(rows, sheet=_("结果查询")), media_type=media, headers=headers)


@router.post("/query/saved")
async def save(request: Request, session: Transaction, staff: Reader, name: Annotated[str, Form()] = "") -> Response:
    """Keep the question that the form carries along."""
    form = await request.form()
    given = {key: value for key, value in form.items() if isinstance(value, str)}
    kept = {key: value for key, value in given.items() if key not in ("name", "csrf_token")}
    asked = rules.read(kept, clock.today())
    _kept, refusal = attempt(session, lambda: service.save(session, staff.id, name, rules.as_typed(kept, asked)))
    if refusal is not None:
        return _query_page(request, session, staff, asked, problem=message_of(refusal), status=refusal.status)
    return RedirectResponse("/staff/lis/query?" + urlencode(rules.as_typed(kept, asked).fields()), status_code=303)


@router.post("/query/saved/{query_id}/delete")
def forget(session: Transaction, staff: Reader, query_id: uuid.UUID) -> Response:
    service.forget(session, staff.id, query_id)
    return RedirectResponse("/staff/lis/query", status_code=303)


@router.get("/cumulative/{person_id}")
def cumulative_page(
    request: Request, session: Transaction, staff: Reader, person_id: uuid.UUID, panel: str = "", before: str = ""
) -> Response:
    """All values of a patient: tests by tubes, and the course of chosen tests (``test`` may stand several times)."""
    found = over_time.cumulative(session, Subject.staff(staff), person_id, before=_moment(before), panel=panel)
    chosen = request.query_params.getlist("test") or over_time.telling_tests(found.groups)
    context = {
        "found": found,
        "chosen": chosen,
        "courses": over_time.courses(session, found.person.id, chosen),
        "panel": panel,
        "before": before,
        "most": over_time.MOST_CHARTS,
        "older": urlencode({"panel": panel, "before": found.older}) if found.older else "",
        "paper": urlencode([("panel", panel), ("before", before), *(("test", each) for each in chosen)]),
    }
    return render(request, "lis/query/cumulative.html", context)


@router.get("/cumulative/{person_id}/pdf")
def cumulative_pdf(
    request: Request, session: Transaction, staff: Reader, person_id: uuid.UUID, panel: str = "", before: str = ""
) -> Response:
    """The same on paper. Recorded: who printed whose, limited to what."""
    found = over_time.cumulative(session, Subject.staff(staff), person_id, before=_moment(before), panel=panel)
    chosen = request.query_params.getlist("test") or over_time.telling_tests(found.groups)
    now = clock.now()
    made = paper.printed(
        found,
        over_time.courses(session, found.person.id, chosen),
        mrn=numbers_of(session, [found.person.id]).get(found.person.id, ""),
        panel=dict(found.panels).get(panel, ""),
        by=staff.name,
        now=now,
    )
    after = {"panel": panel, "before": before, "reports": [str(each.report_id) for each in found.columns]}
    record(session, actor=staff.actor, action="cumulative.print", aggregate=("person", found.person.id), after=after)
    headers = {"Content-Disposition": 'inline; filename="cumulative.pdf"', "Cache-Control": "no-store"}
    return Response(made, media_type="application/pdf", headers=headers)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("cumulative.moment", N_("时间无法识别。")) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
