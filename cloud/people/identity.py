"""Which files are one person: the links of merges, followed both ways."""

from __future__ import annotations

import uuid

from sqlalchemy import CTE, Select, literal, select
from sqlalchemy.orm import Session, aliased

from cloud.people.model import PersonLink


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
