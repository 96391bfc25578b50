"""What an account has: the persons bound to it, who may read whom, and who looked. Shown on the page "my"."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import NotFound
from cloud.patient.identity.model import AccessRecord, Binding, PatientAccount
from cloud.patient.identity.rules import CONSENT_LIFETIME
from cloud.people import access
from cloud.people.access import Subject, display_name, visible_to
from cloud.people.service import get, person_ids
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class BoundPerson:
    """One person of an account's list. `state`: active, or suspended until verified again."""

    binding_id: uuid.UUID
    person_id: uuid.UUID
    name: str
    relation: str
    state: str
    may_read: bool
    bound_at: datetime


@dataclass(frozen=True, slots=True)
class Relative:
    """An account that bound me as family, and whether I let it read my reports."""

    binding_id: uuid.UUID
    name: str
    """Masked, as that account's own person is called; "" when it has none."""
    bound_at: datetime
    may_read: bool


def persons(session: Session, account_id: uuid.UUID) -> list[BoundPerson]:
    """Who is bound to this account. Names in full only for oneself; a relative's is masked."""
    states: dict[uuid.UUID, set[tuple[str, str]]] = {}
    for row in access.grants_of(session, account_id):
        states.setdefault(row.person_id, set()).add((row.scope, row.state))
    readable = set(session.scalars(visible_to(Subject.account(account_id), "report")))
    return [_bound(session, binding, states, readable) for binding in _bindings(session, account_id)]


def _bound(
    session: Session,
    binding: Binding,
    states: dict[uuid.UUID, set[tuple[str, str]]],
    readable: set[uuid.UUID],
) -> BoundPerson:
    active = any(state == "active" for _, state in states.get(binding.person_id, set()))
    name = get(session, binding.person_id).name
    return BoundPerson(
        binding_id=binding.id,
        person_id=binding.person_id,
        name=name if binding.relation == "self" and active else display_name(name),
        relation=binding.relation,
        state="active" if active else "suspended",
        may_read=binding.person_id in readable,
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


def relatives(session: Session, account_id: uuid.UUID) -> list[Relative]:
    """The accounts that bound this account's own person as family."""
    me = own_person(session, account_id)
    if me is None:
        return []
    readers = set(access.holders(session, me, "report"))
    found = session.scalars(
        select(Binding).where(
            Binding.person_id.in_(person_ids(session, me)),
            Binding.relation == "family",
            Binding.ended_at.is_(None),
        )
    )
    return [
        Relative(row.id, _masked_owner(session, row.account_id), row.bound_at, row.account_id in readers)
        for row in found
    ]


def _masked_owner(session: Session, account_id: uuid.UUID) -> str:
    me = own_person(session, account_id)
    return "" if me is None else display_name(get(session, me).name)


def allow_reading(session: Session, account_id: uuid.UUID, binding_id: uuid.UUID, *, allowed: bool) -> None:
    """The person lets a relative read their reports for a year, or takes it back. Only about oneself."""
    me = own_person(session, account_id)
    binding = session.get(Binding, binding_id)
    known = binding is not None and binding.ended_at is None and binding.relation == "family"
    if me is None or binding is None or not known or binding.person_id not in person_ids(session, me):
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    actor = f"account:{account_id}"
    if allowed:
        access.grant(
            session,
            account_id=binding.account_id,
            person_id=me,
            scopes=("report",),
            origin="consent",
            by=actor,
            expires_at=clock.now() + CONSENT_LIFETIME,
        )
    else:
        access.end(session, account_id=binding.account_id, person_id=me, why="revoked", scopes=("report",))
    record(
        session,
        actor=actor,
        action="patient.consent" if allowed else "patient.consent_revoked",
        aggregate=("person", me),
        after={"account": binding.account_id, "scope": "report"},
    )


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


@dataclass(frozen=True, slots=True)
class Looked:
    """One line of "who looked at my reports"."""

    at: datetime
    act: str
    name: str
    """Masked; "" for an account without a person of its own."""
    mine: bool


def who_looked(session: Session, account_id: uuid.UUID, limit: int = 20) -> list[Looked]:
    """The newest acts on this account's own person, by any account."""
    me = own_person(session, account_id)
    if me is None:
        return []
    rows = session.scalars(
        select(AccessRecord)
        .where(AccessRecord.person_id.in_(person_ids(session, me)))
        .order_by(AccessRecord.at.desc())
        .limit(limit)
    )
    return [
        Looked(row.at, row.act, _masked_owner(session, row.account_id), row.account_id == account_id) for row in rows
    ]


def account(session: Session, account_id: uuid.UUID) -> PatientAccount | None:
    return session.get(PatientAccount, account_id)
