"""Who is at the phone: the account behind the request's session."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from cloud.kit.db import Transaction, begin, wait_at_most
from cloud.kit.errors import Unauthenticated
from cloud.patient.identity.account import account
from cloud.people.access import Subject
from cloud.web.i18n import mark as N_
from cloud.web.sessions import find_session

REALM = "patient"
SIGNED_IN_FOR = timedelta(hours=24)
"""WeChat signs in silently, so a short session costs the patient nothing."""
IDLE_FOR = timedelta(hours=2)
PATIENCE_S = 8
"""A page that the database keeps waiting longer says so, before the phone's own browser gives up without a word."""


@dataclass(frozen=True, slots=True)
class CurrentPatient:
    """The account at the phone; `subject` is what `visible_to` is asked with."""

    account_id: uuid.UUID
    session_id: uuid.UUID

    @property
    def subject(self) -> Subject:
        return Subject.account(self.account_id)


def signed_in(request: Request, session: Transaction) -> CurrentPatient:
    """Whoever is signed in on this phone; raises `Unauthenticated`, which leads to WeChat's sign-in and back."""
    wait_at_most(session, PATIENCE_S)
    opened = find_session(session, request, realm=REALM, idle=IDLE_FOR)
    if opened is None or account(session, opened.subject_id) is None:
        raise Unauthenticated("not_signed_in", N_("请先登录。"))
    return CurrentPatient(opened.subject_id, opened.id)


Patient = Annotated[CurrentPatient, Depends(signed_in, scope="function")]


def signed_in_apart(request: Request) -> CurrentPatient:
    """The same in a unit of work of its own, over before the page begins: for pages that speak to a channel."""
    with begin() as session:
        return signed_in(request, session)


PatientApart = Annotated[CurrentPatient, Depends(signed_in_apart)]
