"""The amendment page: released values beside what came later, corrections picked or typed, the reason, the sign-off."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import ItemState
from cloud.lis.reports import service
from cloud.lis.reports.amending import Correction, amend
from cloud.lis.reports.reading import report_by_id
from cloud.lis.results import wording
from cloud.lis.results.attempt import attempt
from cloud.lis.results.lines import Desk, desk
from cloud.lis.results.model import Result, ResultState
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

router = APIRouter(prefix="/staff/lis/reports/{report_id}/amend")

Amender = Annotated[CurrentStaff, Depends(require("report.amend"))]
Texts = Annotated[list[str] | None, Form()]
KEEP, TYPED = "", "typed"


@dataclass(frozen=True, slots=True)
class Choice:
    """One released test on the page, with what was picked for it before a refusal."""

    test: Test
    released: Result
    late: tuple[Result, ...]
    """What came after the release; newest first."""
    earlier: tuple[Result, ...]
    """Runs that were not reported, and values that a correction replaced."""
    use: str = KEEP
    """ "", "typed", or the id of a stored value."""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Filled:
    """The form as it was sent: for each line its test, what to use, what was typed."""

    tests: Sequence[str] = ()
    uses: Sequence[str] = ()
    values: Sequence[str] = ()

    @property
    def whole(self) -> bool:
        return len(self.tests) == len(self.uses) == len(self.values)

    def lines(self) -> dict[str, tuple[str, str]]:
        if not self.whole:
            raise Invalid("amend.form", N_("表单不完整，请刷新页面后重新填写。"))
        return {test: (use, value) for test, use, value in zip(self.tests, self.uses, self.values, strict=True)}

    def corrections(self) -> list[Correction]:
        """What the person wants changed: a value that was typed changes its test, picked or not; one picked as typed
        without text is refused by `amend`.
        """
        return [
            Correction(_id(test), value=value) if use in (TYPED, KEEP) else Correction(_id(test), result_id=_id(use))
            for test, (use, value) in self.lines().items()
            if use != KEEP or value.strip()
        ]


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Invalid("amend.form", N_("表单不完整，请刷新页面后重新填写。")) from None


@router.get("")
def page(request: Request, session: Transaction, staff: Amender, report_id: uuid.UUID) -> Response:
    return _page(request, session, staff, report_id, Filled())


@router.post("")
def send(
    request: Request,
    session: Transaction,
    staff: Amender,
    report_id: uuid.UUID,
    version: Annotated[int, Form()],
    recalled: Annotated[bool, Form()] = False,
    test: Texts = None,
    use: Texts = None,
    value: Texts = None,
    comment: Annotated[str, Form(max_length=1000)] = "",
    reason: Annotated[str, Form(max_length=200)] = "",
    confirm_critical: Annotated[bool, Form()] = False,
) -> Response:
    """Release the amended version. What was filled in stays on the page when it is refused."""
    filled = Filled(test or (), use or (), value or ())
    _, refusal = attempt(
        session,
        lambda: amend(
            session,
            report_id,
            by=staff,
            reason=reason,
            corrections=filled.corrections(),
            comment=comment,
            confirm_critical=confirm_critical,
            version=version,
            recalled=recalled,
        ),
    )
    if refusal is None:
        return RedirectResponse(f"/staff/lis/reports/{report_id}", status_code=303)
    more = {"problem": message_of(refusal), "problem_code": refusal.code, "comment": comment, "reason": reason}
    return _page(request, session, staff, report_id, filled, status=refusal.status, **more)


def _page(
    request: Request,
    session: Session,
    staff: CurrentStaff,
    report_id: uuid.UUID,
    filled: Filled,
    *,
    status: int = 200,
    **more: str,
) -> Response:
    report = report_by_id(session, report_id)
    shown = desk(session, Subject.staff(staff), session.get_one(Specimen, report.specimen_id))
    context = {
        "problem": "",
        "problem_code": "",
        "reason": "",
        "view": service.released(session, report_id),
        "report": report,
        "comment": shown.comment or "",
        "lines": choices(shown, filled.lines() if filled.whole else {}),
        "state_text": wording.state_text,
        **more,
    }
    return render(request, "lis/reports/amend.html", context, status)


def choices(shown: Desk, picked: dict[str, tuple[str, str]]) -> list[Choice]:
    """The released tests of a specimen, each with the values that could stand in the report instead."""
    found = []
    for line in shown.lines:
        if line.result is None or line.item.state != ItemState.RELEASED:
            continue
        use, value = picked.get(str(line.test.id), (KEEP, ""))
        earlier = tuple(each for each in line.others if each.state != ResultState.REJECTED)
        found.append(Choice(line.test, line.result, line.late, earlier, use, value))
    return found
