"""Reading grants: of a person, of all on a date, those about to end, and whether they are enforced."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.lis.authority.model import AuthorityGrant, AuthorityPolicy
from cloud.lis.authority.rules import Moment, Standing, TestKey, answer, standing
from cloud.lis.authority.words import ACTS
from cloud.lis.catalog.model import Panel, PanelTest, Test
from cloud.staff.model import StaffAccount
from cloud.staff.roles import permissions_of

WARN_DAYS = 30
"""A grant that ends within so many days is listed for renewal."""


def now() -> Moment:
    return Moment(clock.now(), clock.today())


def moment_of(day: date) -> Moment:
    """What was in force on a civil day: at its end, or now for today."""
    if day == clock.today():
        return now()
    ends = clock.day_begins(day + timedelta(days=1))
    return Moment(ends - timedelta(microseconds=1), day)


def grants_of(session: Session, staff_id: uuid.UUID, act: str) -> Sequence[AuthorityGrant]:
    """Every grant of this act to this person, ended ones too; the newest first."""
    return session.scalars(
        select(AuthorityGrant)
        .where(AuthorityGrant.staff_id == staff_id, AuthorityGrant.act == act)
        .order_by(AuthorityGrant.created_at.desc())
    ).all()


def keys_of(session: Session, codes: Sequence[str]) -> dict[str, TestKey]:
    """By code, in the order given; an unknown code belongs to no section and no panel."""
    sections = {row[0]: row[1] for row in session.execute(select(Test.code, Test.section).where(Test.code.in_(codes)))}
    panels: dict[str, set[str]] = {}
    for code, panel in session.execute(
        select(Test.code, Panel.code)
        .join(PanelTest, PanelTest.test_id == Test.id)
        .join(Panel, Panel.id == PanelTest.panel_id)
        .where(Test.code.in_(codes))
    ):
        panels.setdefault(code, set()).add(panel)
    return {code: TestKey(code, sections.get(code, ""), frozenset(panels.get(code, ()))) for code in codes}


def policies(session: Session, at: datetime | None = None) -> dict[str, AuthorityPolicy | None]:
    """The decision that rules each act at a moment (now by default); None: nobody has decided."""
    rows = session.scalars(
        select(AuthorityPolicy)
        .where(AuthorityPolicy.valid_from <= (at or clock.now()))
        .order_by(AuthorityPolicy.valid_from.desc(), AuthorityPolicy.id.desc())
    ).all()
    newest: dict[str, AuthorityPolicy] = {}
    for row in rows:
        newest.setdefault(row.act, row)
    every = newest.get("")
    found: dict[str, AuthorityPolicy | None] = {}
    for act in ACTS:
        own = newest.get(act)
        # A decision on every act made later than that on one act rules it too.
        found[act] = every if own is None or (every is not None and every.valid_from > own.valid_from) else own
    return found


def enforced(session: Session, act: str) -> bool:
    """Whether `act` needs a grant now."""
    ruling = policies(session)[act]
    return ruling is not None and ruling.enforced


@dataclass(frozen=True, slots=True)
class Cell:
    """What a person may do by one act: the grants in force, and whether the role allows it at all."""

    grants: tuple[AuthorityGrant, ...]
    role: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One person of the matrix."""

    person: StaffAccount
    cells: dict[str, Cell]


def matrix(session: Session, day: date, test: str = "") -> list[Row]:
    """Who might do what on that day (to `test` only, where a code is given): persons with a laboratory role or a grant.

    Roles are those of now; they are not dated (the audit trail of the account has their changes).
    """
    moment = moment_of(day)
    key = keys_of(session, [test])[test] if test else None
    held: dict[tuple[uuid.UUID, str], list[AuthorityGrant]] = {}
    for grant in session.scalars(select(AuthorityGrant).order_by(AuthorityGrant.scope, AuthorityGrant.target)):
        if answer([grant], key, moment).allowed:
            held.setdefault((grant.staff_id, grant.act), []).append(grant)
    rows = []
    for person in session.scalars(select(StaffAccount).order_by(StaffAccount.name, StaffAccount.login)):
        may = permissions_of(person.roles) if person.active else frozenset()
        cells = {
            act: Cell(tuple(held.get((person.id, act), ())), permission in may) for act, (_, permission) in ACTS.items()
        }
        if any(cell.grants for cell in cells.values()) or any(cell.role for cell in cells.values()):
            rows.append(Row(person, cells))
    return rows


@dataclass(frozen=True, slots=True)
class Listed:
    """A grant with its person and what it is worth now."""

    grant: AuthorityGrant
    person: StaffAccount
    standing: Standing
    days_left: int | None


def listed(session: Session, staff_id: uuid.UUID | None = None) -> list[Listed]:
    """Every grant (of one person), those in force first, the ones that end soonest at the top."""
    query = select(AuthorityGrant, StaffAccount).join(StaffAccount, StaffAccount.id == AuthorityGrant.staff_id)
    if staff_id is not None:
        query = query.where(AuthorityGrant.staff_id == staff_id)
    moment = now()
    found = [
        Listed(grant, person, standing(grant, moment), _days_left(grant, moment.day))
        for grant, person in session.execute(query)
    ]
    order = list(Standing)
    far = date.max
    return sorted(
        found,
        key=lambda each: (
            order.index(each.standing),
            each.grant.valid_to or far,
            each.person.name,
            each.grant.act,
            each.grant.target,
        ),
    )


def _days_left(grant: AuthorityGrant, today: date) -> int | None:
    return None if grant.valid_to is None else (grant.valid_to - today).days


def ending(session: Session, within_days: int = WARN_DAYS, staff_id: uuid.UUID | None = None) -> list[Listed]:
    """Grants in force that end within so many days and that no other grant in force outlasts."""
    every = [each for each in listed(session, staff_id) if each.standing is Standing.VALID]
    lasts: dict[tuple[uuid.UUID, str, str, str], date] = {}
    for each in every:
        key = (each.grant.staff_id, each.grant.act, each.grant.scope, each.grant.target)
        lasts[key] = max(lasts.get(key, date.min), each.grant.valid_to or date.max)
    limit = clock.today() + timedelta(days=within_days)
    return [
        each
        for each in every
        if each.person.active
        and lasts[each.grant.staff_id, each.grant.act, each.grant.scope, each.grant.target] <= limit
    ]


def ending_count(session: Session) -> int:
    """How many end soon, for the home page."""
    return len(ending(session))
