"""Tidying: sign-in attempts and codes that are long over say nothing any more."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.jobs import job
from cloud.patient.identity.model import BindingCode, SignInAttempt, WindowCode

KEPT = timedelta(days=30)


@job("patient.identity.tidy", every="17 3 * * *")
def tidy(session: Session, **_: object) -> None:
    """Delete what ended a month ago; bindings, grants and the access record stay."""
    for model in (SignInAttempt, BindingCode, WindowCode):
        session.execute(delete(model).where(model.expires_at < clock.now() - KEPT))
