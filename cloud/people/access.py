"""The one door to patients' data (must 9): `visible_to(subject)` says whose rows somebody may see.

    session.scalars(select(Order).where(Order.person_id.in_(visible_to(subject))))

Deny by default: a subject without a grant sees nobody. What may not be seen answers exactly like what does not exist.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import ColumnElement, Select, false, func, select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import Conflict, NotFound
from cloud.people.identity import surviving_id, with_merged
from cloud.people.model import SCOPES, Person, PersonGrant
from cloud.people.rules import display_name, mask_id, mask_phone
from cloud.web.i18n import mark as N_

__all__ = [
    "ALL_SCOPES",
    "FAMILY_SCOPES",
    "Subject",
    "display_name",
    "end",
    "grant",
    "grants_of",
    "grants_on",
    "holders",
    "mask_id",
    "mask_phone",
    "person",
    "person_for",
    "suspend",
    "suspend_account",
    "visible_to",
]

ALL_SCOPES: tuple[str, ...] = SCOPES
FAMILY_SCOPES: tuple[str, ...] = ("book", "pay")
"""What binding a relative gives by itself: nothing clinical."""


class _Staff(Protocol):
    @property
    def id(self) -> uuid.UUID: ...
    @property
    def permissions(self) -> Iterable[str]: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks: a member of staff, or a patient's account. `actor` is how the audit names it."""

    actor: str
    account_id: uuid.UUID | None = None
    sees_all: bool = False

    @classmethod
    def staff(cls, staff: _Staff) -> Subject:
        """A member of staff sees patients with the permission ``patient.read``, and nobody without it."""
        return cls(actor=f"staff:{staff.id}", sees_all="patient.read" in set(staff.permissions))

    @classmethod
    def account(cls, account_id: uuid.UUID) -> Subject:
        """A patient's account sees whom its live grants name."""
        return cls(actor=f"account:{account_id}", account_id=account_id)


def visible_to(subject: Subject, scope: str = "report") -> Select[uuid.UUID]:
    """The ids of the persons `subject` may see for `scope`, merged files included: use it with ``.in_()``."""
    if subject.sees_all:
        return select(Person.id)
    if subject.account_id is None:
        return select(Person.id).where(false())
    return with_merged(
        select(PersonGrant.person_id).where(
            PersonGrant.account_id == subject.account_id, PersonGrant.scope == scope, *_live(clock.now())
        )
    )


def person(session: Session, subject: Subject, person_id: uuid.UUID, scope: str = "report") -> Person:
    """The person, merges followed; `NotFound` alike for who is not there and who may not be seen."""
    found = session.scalar(
        select(Person).where(Person.id == surviving_id(session, person_id), Person.id.in_(visible_to(subject, scope)))
    )
    if found is None:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    return found


def person_for(session: Session, subject: Subject, person_id: uuid.UUID, scope: str) -> Person:
    """`person`, and the right stays until this transaction ends: whoever takes it away waits, and then finds what was
    begun with it. For acts that leave something behind (a booking, a payment)."""
    found = person(session, subject, person_id, scope)
    held = session.scalars(
        select(PersonGrant.id)
        .where(
            PersonGrant.account_id == subject.account_id,
            PersonGrant.person_id.in_(with_merged(select(Person.id).where(Person.id == found.id))),
            PersonGrant.scope == scope,
            *_live(clock.now()),
        )
        .with_for_update(read=True)
    ).all()
    if subject.account_id is not None and not held:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    return found


def grant(
    session: Session,
    *,
    account_id: uuid.UUID,
    person_id: uuid.UUID,
    scopes: Sequence[str],
    origin: str,
    by: str,
    expires_at: datetime | None = None,
) -> list[PersonGrant]:
    """Let `account_id` do `scopes` for the person; its older grants of these scopes end (suspended: verified again).

    The person's row is held while the grant is written, so that a merge at the same moment either waits and suspends
    it, or is seen here.
    """
    survivor = surviving_id(session, person_id)
    held = session.scalar(select(Person).where(Person.id == survivor).with_for_update(read=True))
    if held is None or surviving_id(session, survivor) != survivor:
        raise Conflict("person_merge_race", N_("这份档案刚刚被合并，请重试。"))
    same = with_merged(select(Person.id).where(Person.id == survivor))
    _end_where(session, "verified_again", account_id, same, scopes)
    now = clock.now()
    rows = [
        PersonGrant(
            account_id=account_id,
            person_id=survivor,
            scope=scope,
            origin=origin,
            by=by,
            granted_at=now,
            expires_at=expires_at,
        )
        for scope in scopes
    ]
    session.add_all(rows)
    session.flush()
    return rows


def suspend(session: Session, person_ids: Iterable[uuid.UUID], *, why: str) -> int:
    """Stop every account's access to these persons until it is verified again; how many grants that were."""
    return _suspend(session, why, PersonGrant.person_id.in_(list(person_ids)))


def suspend_account(session: Session, account_id: uuid.UUID, person_ids: Iterable[uuid.UUID], *, why: str) -> int:
    """Stop one account's access to these persons until it is verified again."""
    mine = (PersonGrant.account_id == account_id, PersonGrant.person_id.in_(list(person_ids)))
    return _suspend(session, why, *mine)


def _suspend(session: Session, why: str, *which: ColumnElement[bool]) -> int:
    done = session.execute(
        update(PersonGrant)
        .where(*which, PersonGrant.state == "active")
        .values(state="suspended", suspended_at=clock.now(), why=why)
        .returning(PersonGrant.id)
    )
    return len(done.all())


def end(
    session: Session,
    *,
    account_id: uuid.UUID,
    person_id: uuid.UUID,
    why: str,
    scopes: Sequence[str] = ALL_SCOPES,
) -> int:
    """End an account's grants for a person and the files merged into it; how many that were."""
    survivor = surviving_id(session, person_id)
    return _end_where(session, why, account_id, with_merged(select(Person.id).where(Person.id == survivor)), scopes)


def holders(session: Session, person_id: uuid.UUID, scope: str) -> list[uuid.UUID]:
    """The accounts that may see this person for `scope` now."""
    survivor = surviving_id(session, person_id)
    rows = session.scalars(
        select(PersonGrant.account_id)
        .where(PersonGrant.person_id == survivor, PersonGrant.scope == scope, *_live(clock.now()))
        .order_by(PersonGrant.granted_at)
    )
    return list(dict.fromkeys(rows))


def grants_on(session: Session, persons: Iterable[uuid.UUID]) -> list[PersonGrant]:
    """Every grant there ever was for these persons, newest first: for the person's own page."""
    return list(
        session.scalars(
            select(PersonGrant)
            .where(PersonGrant.person_id.in_(list(persons)))
            .order_by(PersonGrant.granted_at.desc(), PersonGrant.id.desc())
        )
    )


def grants_of(session: Session, account_id: uuid.UUID) -> list[PersonGrant]:
    """The account's grants that are not ended (active, suspended), oldest first."""
    return list(
        session.scalars(
            select(PersonGrant)
            .where(PersonGrant.account_id == account_id, PersonGrant.state != "ended")
            .order_by(PersonGrant.granted_at, PersonGrant.id)
        )
    )


def _live(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        PersonGrant.state == "active",
        func.coalesce(PersonGrant.expires_at > now, True),
    )


def _end_where(
    session: Session,
    why: str,
    account_id: uuid.UUID,
    persons: Select[uuid.UUID],
    scopes: Sequence[str],
) -> int:
    done = session.execute(
        update(PersonGrant)
        .where(
            PersonGrant.account_id == account_id,
            PersonGrant.person_id.in_(persons),
            PersonGrant.scope.in_(scopes),
            PersonGrant.state != "ended",
        )
        .values(state="ended", ended_at=clock.now(), why=why)
        .returning(PersonGrant.id)
    )
    return len(done.all())
