"""Finding the one person who fits a name and a number, for somebody who is about to prove it.

Gives a person only when exactly one fits; nobody, several and a name that differs are the same answer.
"""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.people.identity import surviving_id
from cloud.people.model import Person, PersonIdentifier, id_number_index
from cloud.people.rules import normal_name

CARD_SYSTEMS = ("card", "mrn")
"""What is printed on a visit card: its own number, or the hospital's number of the patient."""


def match(session: Session, *, name: str, id_number: str | None = None, card: str | None = None) -> Person | None:
    """The person with this name and this ID number (or card); None unless it is exactly one, merges followed."""
    found: set[uuid.UUID] = set()
    if id_number:
        found |= set(session.scalars(select(Person.id).where(Person.id_number_index == id_number_index(id_number))))
    if card:
        same_card = (PersonIdentifier.system.in_(CARD_SYSTEMS), PersonIdentifier.value == card)
        found |= set(session.scalars(select(PersonIdentifier.person_id).where(*same_card)))
    survivors = {surviving_id(session, person_id) for person_id in found}
    if len(survivors) != 1:
        return None
    person = session.get(Person, survivors.pop())
    if person is None or not person.name or normal_name(person.name) != normal_name(name):
        return None
    return person


def by_card(session: Session, card: str) -> Person | None:
    """Whose card is on the window's scanner; None when nobody's or more than one's."""
    rows = session.scalars(
        select(PersonIdentifier.person_id).where(
            PersonIdentifier.system.in_(CARD_SYSTEMS), PersonIdentifier.value == card.strip()
        )
    )
    survivors = {surviving_id(session, person_id) for person_id in rows}
    return session.get(Person, survivors.pop()) if len(survivors) == 1 else None


def by_id_number(session: Session, id_number: str) -> Person | None:
    """Whose identity card is on the reader; None when nobody's or more than one's."""
    rows = session.scalars(select(Person.id).where(Person.id_number_index == id_number_index(id_number)))
    survivors = {surviving_id(session, person_id) for person_id in rows}
    return session.get(Person, survivors.pop()) if len(survivors) == 1 else None
