"""Which files are one person: the links of merges, followed both ways."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date

from sqlalchemy import CTE, Select, Uuid, bindparam, literal, select
from sqlalchemy.orm import Session, aliased

from cloud.kit.errors import NotFound
from cloud.people.model import Person, PersonLink
from cloud.web.i18n import mark as N_


def surviving_id(session: Session, person_id: uuid.UUID) -> uuid.UUID:
    """Who goes on as `person_id` today: itself, or the end of its chain of merges."""
    current = person_id
    while True:
        following = session.scalar(
            select(PersonLink.surviving_id).where(PersonLink.retired_id == current, PersonLink.unlinked_at.is_(None))
        )
        if following is None:
            return current
        current = following


@dataclass(frozen=True, slots=True)
class Lineage:
    """A person as a rule needs one: every id that its orders may carry, and what chooses a range."""

    person_ids: tuple[uuid.UUID, ...]
    sex: str
    birth_date: date | None


def lineage(session: Session, person_id: uuid.UUID) -> Lineage:
    """The person that goes on under `person_id` with every file merged into it, in one statement; raises `NotFound`."""
    rows = session.execute(_LINEAGE, {"person_id": person_id}).all()
    if not rows:
        raise NotFound("person_not_found", N_("没有这位患者的档案。"), person_id=str(person_id))
    return Lineage(tuple(row.person_id for row in rows), rows[0].sex, rows[0].birth_date)


def _lineage() -> Select[uuid.UUID, str, date | None]:
    """Up the links to who goes on, then down to everybody merged into it."""
    link, after = aliased(PersonLink), aliased(PersonLink)
    up: CTE = select(bindparam("person_id", type_=Uuid(as_uuid=True)).label("person_id")).cte("up", recursive=True)
    up = up.union(
        select(link.surviving_id).where(link.retired_id == up.c.person_id, link.unlinked_at.is_(None)),
    )
    merged = select(after.id).where(after.retired_id == up.c.person_id, after.unlinked_at.is_(None)).exists()
    down: CTE = with_merged(select(up.c.person_id).where(~merged)).cte("down")
    survivor = select(up.c.person_id).where(~merged).scalar_subquery()
    return select(down.c.person_id, Person.sex, Person.birth_date).join_from(down, Person, Person.id == survivor)


def with_merged(roots: Select[uuid.UUID]) -> Select[uuid.UUID]:
    """The persons of `roots` and every file merged into one of them, directly or through another."""
    seeds = roots.subquery()
    closure: CTE = select(seeds.c[0].label("person_id")).cte("one_person", recursive=True)
    link = aliased(PersonLink)
    closure = closure.union(
        select(link.retired_id).where(link.surviving_id == closure.c.person_id, link.unlinked_at.is_(None))
    )
    return select(closure.c.person_id)


def person_ids(session: Session, person_id: uuid.UUID) -> list[uuid.UUID]:
    """The person that goes on under `person_id` and every file merged into it: all the ids its orders may carry."""
    survivor = surviving_id(session, person_id)
    return list(session.scalars(with_merged(select(literal(survivor).label("id")))))


_LINEAGE = _lineage()
