"""Formulas on real specimens: what every version of a formula gives for one tube; and what was calculated anew after
its report was released, waiting for an amendment.
"""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.lis.calculation import wording
from cloud.lis.results import dilution, recalculated, reruns, trial
from cloud.people.access import Subject
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

router = APIRouter()
LIST = "/staff/lis/recalculated"
RERUNS = "/staff/lis/reruns"

Reader = Annotated[CurrentStaff, Depends(require("result.read"))]
Reviewer = Annotated[CurrentStaff, Depends(require("result.review"))]

worklist.add(
    N_("发布后重算"),
    N_("已发布的计算结果因原始结果更正而变化，需修订报告"),
    LIST,
    permission="result.review",
    position=325,
    count=recalculated.waiting_count,
    topic="results",
)


worklist.add(
    N_("待复检"),
    N_("审核者或规则要求重新测定的结果"),
    RERUNS,
    permission="result.review",
    position=326,
    count=reruns.waiting_count,
    topic="results",
)


@router.get(RERUNS)
def rerun_list(request: Request, session: Transaction, staff: Reviewer) -> Response:
    """What is to be measured again, with the dilution."""
    return render(request, "lis/results/reruns.html", {"rows": reruns.waiting(session, Subject.staff(staff))})


@router.post(RERUNS + "/{result_id}")
def dilute(
    session: Transaction,
    staff: Reviewer,
    result_id: uuid.UUID,
    factor: Annotated[str, Form(max_length=12)] = "",
    how: Annotated[str, Form(max_length=8)] = "ask",
) -> Response:
    """Ask for a dilution (an empty factor takes it back), or say that the tube was diluted by hand."""
    act = dilution.declare if how == "hand" else dilution.ask
    act(session, result_id, factor, by=staff)
    return RedirectResponse(f"{RERUNS}#r-{result_id}", status_code=303)


@router.get("/staff/lis/formulas/{test_code}/try")
def try_on(request: Request, session: Transaction, staff: Reader, test_code: str, code: str = "") -> Response:
    """What each version gives for the specimen with this barcode; nothing is stored."""
    tried = trial.on_specimen(session, Subject.staff(staff), test_code, code)
    return render(request, "lis/results/trial.html", {"tried": tried, "sentence": wording.outcome_sentence})


@router.get(LIST)
def listing(request: Request, session: Transaction, staff: Reviewer) -> Response:
    """Released values whose formula gives something else by now."""
    context = {"rows": recalculated.waiting(session, Subject.staff(staff))}
    return render(request, "lis/results/recalculated.html", context)


@router.post(LIST + "/{result_id}/dismiss")
def dismiss(
    session: Transaction, staff: Reviewer, result_id: uuid.UUID, why: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """The released value stays, with the reason."""
    recalculated.dismiss(session, result_id, by=staff, reason=why)
    return RedirectResponse(LIST, status_code=303)
