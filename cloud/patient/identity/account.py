"""What an account has: the persons bound to it and what it may do for them; and the record of what it opened."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.patient.identity.model import AccessRecord, Binding, PatientAccount
from cloud.people import access
from cloud.people.access import Subject, display_name, visible_to
from cloud.people.service import get


@dataclass(frozen=True, slots=True)
class BoundPerson:
    """One person of an account's list. `state`: active, or suspended until verified again."""

    binding_id: uuid.UUID
    person_id: uuid.UUID
    name: str
    relation: str
    state: str
    scopes: tuple[str, ...]
    """What the account may see or do for them now."""
    bound_at: datetime


def persons(session: Session, account_id: uuid.UUID) -> list[BoundPerson]:
    """Who is bound to this account. Names in full only for oneself; a relative's is masked."""
    states: dict[uuid.UUID, set[str]] = {}
    for row in access.grants_of(session, account_id):
        states.setdefault(row.person_id, set()).add(row.state)
    subject = Subject.account(account_id)
    allowed = {scope: set(session.scalars(visible_to(subject, scope))) for scope in access.ALL_SCOPES}
    return [_bound(session, binding, states, allowed) for binding in _bindings(session, account_id)]


def _bound(
    session: Session, binding: Binding, states: dict[uuid.UUID, set[str]], allowed: dict[str, set[uuid.UUID]]
) -> BoundPerson:
    active = "active" in states.get(binding.person_id, set())
    name = get(session, binding.person_id).name
    return BoundPerson(
        binding_id=binding.id,
        person_id=binding.person_id,
        name=name if binding.relation == "self" and active else display_name(name),
        relation=binding.relation,
        state="active" if active else "suspended",
        scopes=tuple(scope for scope, persons in allowed.items() if binding.person_id in persons),
        bound_at=binding.bound_at,
    )


def _bindings(session: Session, account_id: uuid.UUID) -> list[Binding]:
    mine = select(Binding).where(Binding.account_id == account_id, Binding.ended_at.is_(None))
    return sorted(session.scalars(mine), key=lambda row: (row.relation != "self", row.bound_at))


def own_person(session: Session, account_id: uuid.UUID) -> uuid.UUID | None:
    """The person this account is, while the binding is not suspended."""
    for bound in persons(session, account_id):
        if bound.relation == "self" and bound.state == "active":
            return bound.person_id
    return None


def masked_owner(session: Session, account_id: uuid.UUID) -> str:
    """How an account's own person is shown to others; "" when it has none."""
    me = own_person(session, account_id)
    return "" if me is None else display_name(get(session, me).name)


def may(session: Session, account_id: uuid.UUID, person_id: uuid.UUID, scope: str) -> uuid.UUID:
    """The person that goes on under `person_id`, where this account may do `scope` for them; raises `NotFound`, the
    same for who is not there and who may not be seen."""
    return access.person(session, Subject.account(account_id), person_id, scope).id


def remember(
    session: Session, account_id: uuid.UUID, person_id: uuid.UUID | None, act: str, target: object, allowed: bool
) -> None:
    """`log_access` in the order in which a page has its words."""
    log_access(session, account_id, act=act, target=target, person_id=person_id, allowed=allowed)


def log_access(
    session: Session, account_id: uuid.UUID, *, act: str, target: object, person_id: uuid.UUID | None, allowed: bool
) -> None:
    """Append who looked at what. A refusal is logged without whose it would have been."""
    session.add(
        AccessRecord(
            account_id=account_id,
            act=act,
            target=str(target)[:64],
            person_id=person_id if allowed else None,
            allowed=allowed,
        )
    )
    session.flush()


def account(session: Session, account_id: uuid.UUID) -> PatientAccount | None:
    return session.get(PatientAccount, account_id)
