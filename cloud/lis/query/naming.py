"""From words to what they name: patients by name, initials or number, tubes by barcode, tests by short code."""

from __future__ import annotations

import uuid

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from cloud.kit.db import among
from cloud.lis.catalog.model import Test
from cloud.lis.query.rules import is_initials
from cloud.lis.specimens.model import SpecimenBarcode
from cloud.lis.specimens.rules import clean_barcode
from cloud.people.access import Subject, visible_to
from cloud.people.identity import with_merged
from cloud.people.model import Person, PersonIdentifier, PersonLink, id_number_index, phone_index
from cloud.people.rules import normal_id_number, normal_phone

MOST_PERSONS = 300
SHORT_CODES = 15


def persons_of(session: Session, subject: Subject, word: str) -> list[uuid.UUID]:
    """Files that a name (or how it begins), its initials, a number of the hospital, an ID number or a telephone number
    finds, with every file of the same persons.
    """
    ways: list[Select[uuid.UUID]] = [
        select(PersonIdentifier.person_id).where(PersonIdentifier.value == word.upper()),
        select(PersonIdentifier.person_id).where(PersonIdentifier.value == word),
    ]
    if is_initials(word):
        ways.append(select(Person.id).where(Person.initials.startswith(word.lower(), autoescape=True)))
    elif not word.isascii():
        ways.append(select(Person.id).where(Person.name.startswith(word, autoescape=True)))
    if len(normal_phone(word)) == 11:
        ways.append(select(Person.id).where(Person.phone_index == phone_index(word)))
    if len(normal_id_number(word)) >= 15:
        ways.append(select(Person.id).where(Person.id_number_index == id_number_index(word)))
    found: list[uuid.UUID] = []
    for way in ways:
        found += session.scalars(way.limit(MOST_PERSONS + 1))
        if len(found) > MOST_PERSONS:
            return found
    if not found:
        return []
    roots = select(PersonLink.surviving_id).where(among(PersonLink.retired_id, found), PersonLink.unlinked_at.is_(None))
    named = select(Person.id).where(among(Person.id, found)).union(roots).subquery()
    everybody = with_merged(select(named.c[0]))
    if subject.sees_all:
        return list(session.scalars(everybody))
    return list(session.scalars(select(Person.id).where(Person.id.in_(everybody), Person.id.in_(visible_to(subject)))))


def specimen_of(session: Session, barcode: str) -> uuid.UUID | None:
    if not barcode:
        return None
    known = session.get(SpecimenBarcode, clean_barcode(barcode))
    return None if known is None else known.specimen_id


def by_short_code(session: Session, word: str) -> list[Test]:
    """Tests whose code, short name, name or pinyin initials begin so; what equals comes first."""
    wanted = word.strip().lower()
    if not wanted:
        return []
    columns = (func.lower(Test.code), func.lower(Test.short_name), func.lower(Test.pinyin), func.lower(Test.name))
    begins = or_(*(each.startswith(wanted, autoescape=True) for each in columns))
    equals = or_(*(each == wanted for each in columns))
    return list(session.scalars(select(Test).where(begins).order_by(equals.desc(), Test.code).limit(SHORT_CODES)))
