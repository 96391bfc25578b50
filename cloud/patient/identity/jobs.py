"""Tidying: sign-in attempts and codes that are long over say nothing any more. Real names nobody could tell are asked
again."""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.jobs import Begin, job
from cloud.patient.identity import real_names
from cloud.patient.identity.model import Binding, BindingCode, SignInAttempt, WindowCode
from cloud.people import access
from cloud.people.service import get, person_ids

KEPT = timedelta(days=30)
ASKED_FOR = timedelta(days=7)
"""An unknown real name is asked about for a week; after that the SMS alone stands."""
AT_ONCE = 50


@job("patient.identity.tidy", every="17 3 * * *")
def tidy(session: Session, **_: object) -> None:
    """Delete what ended a month ago; bindings, grants and the access record stay."""
    for model in (SignInAttempt, BindingCode, WindowCode):
        session.execute(delete(model).where(model.expires_at < clock.now() - KEPT))


@job("patient.identity.real_names", every="7 * * * *", own_transactions=True)
def ask_again(begin: Begin, **_: object) -> None:
    """Ask once more about those of whom the service could say nothing; a no suspends the binding, it never ends it."""
    with begin() as session:
        waiting = session.execute(
            select(Binding.id, Binding.person_id)
            .where(
                Binding.real_name == real_names.UNKNOWN,
                Binding.ended_at.is_(None),
                Binding.bound_at > clock.now() - ASKED_FOR,
            )
            .order_by(Binding.bound_at)
            .limit(AT_ONCE)
        ).all()
        asked = [(each.id, get(session, each.person_id)) for each in waiting]
        known = [(binding_id, person.name, person.id_number) for binding_id, person in asked]
    service = real_names.service()
    for binding_id, name, id_number in known:
        said = service.compare(name, id_number) if id_number else None
        if said == real_names.UNKNOWN:
            continue
        with begin() as session:
            _answered(session, binding_id, said)


def _answered(session: Session, binding_id: uuid.UUID, said: str | None) -> None:
    row = session.scalar(
        update(Binding)
        .where(Binding.id == binding_id, Binding.real_name == real_names.UNKNOWN, Binding.ended_at.is_(None))
        .values(real_name=said)
        .returning(Binding)
    )
    if row is not None and said == real_names.DIFFERENT:
        files = person_ids(session, row.person_id)
        access.suspend_account(session, row.account_id, files, why="real_name")
        record(
            session,
            actor="system",
            action="patient.real_name_differs",
            aggregate=("person", row.person_id),
            after={"account": row.account_id},
        )
