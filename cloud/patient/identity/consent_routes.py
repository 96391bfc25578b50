"""Pages of consent: what a relative may see of me, asking a relative by SMS, and the record of it all."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction, begin
from cloud.patient.identity import account, consent, looked, policy
from cloud.patient.identity.access import Patient
from cloud.patient.identity.rules import CONSENT_CODES_PER_ACCOUNT, CONSENT_CODES_PER_PERSON
from cloud.web import rate
from cloud.web.i18n import gettext as _
from cloud.web.pages import render

MY = "/p/my"
router = APIRouter(include_in_schema=False)
Scopes = Annotated[list[str] | None, Form()]
Term = Annotated[str, Form(max_length=4)]


@router.get("/p/relatives/{relative_id}")
def consent_page(request: Request, patient: Patient, session: Transaction, relative_id: uuid.UUID) -> Response:
    """What this relative may see of me, to be changed."""
    each = consent.relative(session, patient.account_id, relative_id)
    context = {
        "relative": each,
        "chosen": {one.scope for one in each.allowed},
        "scope_words": consent.SCOPES,
        "terms": policy.terms(session),
    }
    return render(request, "patient/identity/consent.html", context)


@router.post("/p/relatives/{relative_id}")
def give_consent(
    patient: Patient, session: Transaction, relative_id: uuid.UUID, scope: Scopes = None, term: Term = ""
) -> Response:
    consent.give(session, patient.account_id, relative_id, consent.wish(session, scope or [], term))
    return RedirectResponse(MY, status_code=303)


@router.post("/p/relatives/{relative_id}/revoke")
def revoke_consent(patient: Patient, session: Transaction, relative_id: uuid.UUID) -> Response:
    consent.revoke(session, patient.account_id, relative_id)
    return RedirectResponse(MY, status_code=303)


@router.get("/p/bindings/{family_id}/consent")
def ask_page(request: Request, patient: Patient, session: Transaction, family_id: uuid.UUID) -> Response:
    """What I ask a relative to let me see."""
    consent.family(session, patient.account_id, family_id)
    mine = account.persons(session, patient.account_id)
    context = {
        "person": next(each for each in mine if each.binding_id == family_id),
        "scope_words": consent.SCOPES,
        "terms": policy.terms(session),
    }
    return render(request, "patient/identity/ask_consent.html", context)


@router.post("/p/bindings/{family_id}/consent")
def ask_consent(patient: Patient, family_id: uuid.UUID, scope: Scopes = None, term: Term = "") -> Response:
    """Send the code to the relative's phone on the hospital's file. Every asking counts, whatever becomes of it."""
    with begin() as session:
        asked = consent.family(session, patient.account_id, family_id)
        wanted = consent.wish(session, scope or [], term)
        person_id = asked.person_id
    _count(patient.account_id, person_id)
    with begin() as session:
        what = _(consent.ASKED_FOR).format(count=len(wanted.scopes), term=term_words(wanted.days))
        issued = consent.ask_by_sms(session, patient.account_id, family_id, wanted, what=what)
    return RedirectResponse(f"/p/bind/{issued.id}", status_code=303)


def term_words(days: int | None) -> str:
    return _("长期，直到收回") if days is None else _("{days} 天").format(days=days)


def _count(account_id: uuid.UUID, person_id: uuid.UUID) -> None:
    for act, subject, (at_most, within) in (
        ("patient.consent.account", account_id, CONSENT_CODES_PER_ACCOUNT),
        ("patient.consent.person", person_id, CONSENT_CODES_PER_PERSON),
    ):
        with begin() as session:
            rate.count(session, act=act, subject=str(subject), at_most=at_most, within=within)


@router.get("/p/my/record")
def record_page(request: Request, patient: Patient, session: Transaction) -> Response:
    """Who looked at my data, and every consent there was."""
    context = {
        "looked": looked.who_looked(session, patient.account_id, limit=100),
        "history": consent.history(session, patient.account_id),
        "scope_words": consent.SCOPES,
    }
    return render(request, "patient/identity/record.html", context)
