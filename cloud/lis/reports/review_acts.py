"""What the review page does with one specimen: each act from the version of the sheet that the page showed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import Conflict
from cloud.lis.reports import service as reports
from cloud.lis.reports.review_page import Filter, Filtered, queue_of, show, specimen_of
from cloud.lis.results import holding, review
from cloud.lis.results import queue as queues
from cloud.lis.results.attempt import attempt
from cloud.lis.results.double_entry import Pending
from cloud.people.access import Subject
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_

PAGE = "/staff/lis/review"
router = APIRouter(prefix=PAGE + "/{specimen_id}")
Version = Annotated[int, Form()]
ResultId = Annotated[uuid.UUID, Form()]
Reason = Annotated[str, Form(max_length=200)]


@dataclass(frozen=True, slots=True)
class Acting:
    """One person about to do one thing to one specimen, from a page of a certain version."""

    request: Request
    session: Session
    staff: CurrentStaff
    filtered: Filter
    specimen_id: uuid.UUID
    version: int

    def do(self, verb: Callable[..., object], **more: object) -> Response:
        """Do it and go on (303: a reload repeats nothing); a refusal shows why on the page as it is now."""
        specimen = specimen_of(self.session, self.specimen_id)
        following = self.following()
        _, refusal = attempt(
            self.session, lambda: verb(self.session, self.specimen_id, by=self.staff, version=self.version, **more)
        )
        if refusal is not None:
            return show(self.request, self.session, self.staff, self.filtered, specimen, problem=refusal)
        return self.go_on(following)

    def following(self) -> uuid.UUID | None:
        """Who stands after this specimen in the queue looked at; asked before the act takes it out."""
        if not self.filtered.stage:
            return None
        found = queues.next_of(queue_of(self.session, self.staff, self.filtered), self.specimen_id)
        return None if found is None or found.specimen_id == self.specimen_id else found.specimen_id

    def go_on(self, following: uuid.UUID | None) -> Response:
        """In a queue of one stage: to the next specimen once this one has left it. Elsewhere the specimen stays."""
        stays = not self.filtered.stage
        if not stays:
            now = queues.waiting_of(self.session, Subject.staff(self.staff), self.specimen_id)
            stays = now is not None and queues.stage_of(now) == self.filtered.stage
        if stays:
            return RedirectResponse(f"{PAGE}/{self.specimen_id}{self.filtered.query}", status_code=303)
        onwards = "" if following is None else f"/{following}"
        return RedirectResponse(f"{PAGE}{onwards}{self.filtered.query}", status_code=303)


def _reviewing(
    request: Request,
    session: Transaction,
    staff: Annotated[CurrentStaff, Depends(require("result.review"))],
    filtered: Filtered,
    specimen_id: uuid.UUID,
    version: Version,
) -> Acting:
    return Acting(request, session, staff, filtered, specimen_id, version)


def _releasing(
    request: Request,
    session: Transaction,
    staff: Annotated[CurrentStaff, Depends(require("result.release"))],
    filtered: Filtered,
    specimen_id: uuid.UUID,
    version: Version,
) -> Acting:
    return Acting(request, session, staff, filtered, specimen_id, version)


Reviewing = Annotated[Acting, Depends(_reviewing)]
Releasing = Annotated[Acting, Depends(_releasing)]


@router.post("/review")
def mark_reviewed(acting: Reviewing) -> Response:
    """Technical review of everything that waits for it."""
    return acting.do(review.mark_reviewed)


@router.post("/release")
def release(
    acting: Releasing, confirm_critical: Annotated[bool, Form()] = False, partial: Annotated[bool, Form()] = False
) -> Response:
    """Release; then to the specimen that comes next."""
    session, filtered, specimen_id = acting.session, acting.filtered, acting.specimen_id
    following = queues.next_of(queue_of(session, acting.staff, filtered), specimen_id)
    report, refusal = attempt(
        session,
        lambda: reports.release(
            session,
            specimen_id,
            by=acting.staff,
            version=acting.version,
            confirm_critical=confirm_critical,
            partial=partial,
        ),
    )
    if refusal is not None or report is None:
        specimen = specimen_of(session, specimen_id)
        return show(acting.request, session, acting.staff, filtered, specimen, problem=refusal)
    onwards = "" if following is None or following.specimen_id == specimen_id else f"/{following.specimen_id}"
    return RedirectResponse(f"{PAGE}{onwards}{filtered.query}&released={report.id}", status_code=303)


@router.post("/hold")
def hold(acting: Reviewing, reason: Reason = "") -> Response:
    """Put it on hold: nobody reviews or releases it until the hold is lifted."""
    return acting.do(holding.hold, reason=reason)


@router.post("/lift")
def lift(acting: Reviewing, reason: Reason = "") -> Response:
    return acting.do(holding.lift, reason=reason)


@router.post("/rerun")
def rerun(
    acting: Reviewing, result_id: ResultId, withdraw: Annotated[bool, Form()] = False, reason: Reason = ""
) -> Response:
    """Ask for a new measurement of one value, or take the request back."""
    if withdraw:
        return acting.do(review.withdraw_rerun, result_id=result_id)
    return acting.do(review.request_rerun, result_id=result_id, reason=reason)


@router.post("/choose")
def choose(acting: Reviewing, result_id: ResultId, reason: Reason = "") -> Response:
    """Report another run."""
    return acting.do(review.choose, result_id=result_id, reason=reason)


@router.post("/take-back")
def take_back(acting: Reviewing, result_id: ResultId, reason: Reason = "") -> Response:
    """Undo a technical review of one value."""
    return acting.do(review.take_back, result_id=result_id, reason=reason)


@router.post("/send-back")
def send_back(acting: Releasing, reason: Reason = "") -> Response:
    """The medical reviewer gives the whole specimen back to the technical review."""
    return acting.do(review.send_back, reason=reason)


@router.post("/second")
def second(acting: Reviewing, result_id: ResultId) -> Response:
    """Review a value that came after the release, for another person's amendment."""
    return acting.do(review.second, result_id=result_id)


@router.post("/enter")
def enter(
    acting: Reviewing,
    test_id: Annotated[uuid.UUID, Form()],
    value: Annotated[str, Form()] = "",
    reason: Reason = "",
) -> Response:
    """A value typed by hand. A second entry that is not like the first is kept as the first of a new pair, and said."""
    session, staff, following = acting.session, acting.staff, acting.following()
    typed, refusal = attempt(
        session,
        lambda: review.enter(
            session,
            acting.specimen_id,
            by=staff,
            version=acting.version,
            test_id=test_id,
            value=value,
            reason=reason,
        ),
    )
    if isinstance(typed, Pending) and typed.differs:
        refusal = Conflict("entry.differs", N_("与首次录入不一致。请核对原始记录；本次已记为首次，须再录入一次。"))
    if refusal is not None:
        specimen = specimen_of(session, acting.specimen_id)
        return show(acting.request, session, staff, acting.filtered, specimen, problem=refusal)
    return acting.go_on(following)


@router.post("/comment")
def comment(acting: Reviewing, text: Annotated[str, Form()] = "") -> Response:
    """The comment that the report prints."""
    return acting.do(review.comment, text=text)


@router.post("/judge-again")
def judge_again(acting: Reviewing) -> Response:
    """Verdicts with the ranges of now."""
    return acting.do(review.judge_again)
