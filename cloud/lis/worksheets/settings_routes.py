"""How a test is typed: its words with their short keys, and whether it is typed twice."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid, NotFound
from cloud.lis.authority.service import require_authority
from cloud.lis.catalog.model import Test
from cloud.lis.results.attempt import attempt
from cloud.lis.results.choices import TestChoice, choices_of, set_choices
from cloud.lis.results.double_entry import DoubleEntry
from cloud.lis.results.typed import Choice
from cloud.lis.worksheets import service
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/worksheets/settings"
router = APIRouter(prefix=PAGE)
Editor = Annotated[CurrentStaff, Depends(require("catalog.edit"))]


@router.get("")
def settings(request: Request, session: Transaction, staff: Editor, test: str = "") -> Response:
    """Tests with words or double entry; `test`: the one in the form."""
    return _page(request, session, test.strip().upper())


def _page(
    request: Request, session: Session, code: str, *, words: str | None = None, problem: str = "", status: int = 200
) -> Response:
    rows = session.execute(
        select(Test, DoubleEntry)
        .outerjoin(DoubleEntry, DoubleEntry.test_id == Test.id)
        .where(Test.id.in_(select(TestChoice.test_id)) | DoubleEntry.test_id.is_not(None))
        .order_by(Test.position)
    ).all()
    chosen = session.scalar(select(Test).where(Test.code == code)) if code else None
    lists = choices_of(session, [row.Test.id for row in rows])
    double = session.get(DoubleEntry, chosen.id) if chosen else None
    context: dict[str, Any] = {
        "rows": [(row.Test, lists.get(row.Test.id, ()), row.DoubleEntry) for row in rows],
        "test": chosen,
        "words": _written(lists.get(chosen.id, ())) if chosen and words is None else words or "",
        "double": "" if double is None else ("other" if double.two_persons else "same"),
        "typed": code,
        "problem": problem or (_unknown(code) if code and chosen is None else ""),
    }
    return render(request, "lis/worksheets/settings.html", context, status)


def _unknown(code: str) -> str:
    return message_of(NotFound("test_not_there", N_("没有代码为 {test} 的检验项目。"), test=code))


def _written(choices: tuple[Choice, ...]) -> str:
    return "\n".join(f"{each.key} = {each.text}" + ("" if each.rank is None else f" ; {each.rank}") for each in choices)


@router.post("")
def save(
    request: Request,
    session: Transaction,
    staff: Editor,
    test: Annotated[str, Form(max_length=32)],
    words: Annotated[str, Form(max_length=4000)] = "",
    double: Annotated[str, Form(max_length=8)] = "",
) -> Response:
    """Keep the words (one a line: key = word ; rank) and how often it is typed."""
    found = session.scalar(select(Test).where(Test.code == test.strip().upper()))
    if found is None:
        return _page(request, session, test.strip().upper(), words=words, status=404)

    def verb() -> None:
        require_authority(session, staff, "catalog.edit", [found.code])
        wanted = _read(words)
        if wanted or choices_of(session, [found.id]):
            set_choices(session, found, wanted, by=staff.actor, source=staff.name)
        service.set_double(session, found.id, double, by=staff.actor)

    _, refusal = attempt(session, verb)
    if refusal is not None:
        return _page(request, session, found.code, words=words, problem=message_of(refusal), status=refusal.status)
    return RedirectResponse(f"{PAGE}?test={found.code}", status_code=303)


def _read(words: str) -> list[Choice]:
    found: list[Choice] = []
    for number, line in enumerate(words.splitlines(), 1):
        if not line.strip():
            continue
        key, sign, rest = line.partition("=")
        text, _, rank = rest.replace("；", ";").partition(";")
        if not sign or not key.strip() or len(key.strip()) > 8 or not text.strip() or len(text.strip()) > 64:
            raise Invalid("choices.line", N_("第 {line} 行看不懂，请写成：按键 = 结果 ; 等级"), line=number)
        if rank.strip() and not rank.strip().isdigit():
            raise Invalid("choices.line", N_("第 {line} 行看不懂，请写成：按键 = 结果 ; 等级"), line=number)
        found.append(Choice(key.strip(), text.strip(), int(rank) if rank.strip() else None))
    return found
