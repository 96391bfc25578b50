"""Whose file a message means: found by its numbers and brought up to date, or made. Never commits."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from cloud.his.mapping import Mapper
from cloud.his.reading import Identifier, Patient, Unreadable
from cloud.people import service as people
from cloud.people.model import Person
from cloud.people.rules import PersonDetails

BY = "his"


def file_of(session: Session, patient: Patient) -> Person:
    """The file that carries one of the numbers, brought up to date; else a new one."""
    details = _details(session, patient)
    known = known_file(session, patient.identifiers)
    if known is not None:
        return people.update(session, known.id, details, by=BY)
    mother = known_file(session, patient.mother)
    if mother is not None:
        return people.register_newborn(session, details, mother_id=mother.id, by=BY)
    if not details.name:
        return people.register_unknown(session, details, by=BY)
    return people.register(session, details, by=BY)


def _details(session: Session, patient: Patient) -> PersonDetails:
    numbers = filed(session, patient.identifiers)
    if not numbers:
        raise Unreadable("PID-3 carries no number of a type that is filed here")
    return PersonDetails(
        name=patient.name,
        sex=Mapper(session).ours("sex", patient.sex) or "U",
        birth_date=patient.birth_date,
        phone=patient.phone,
        id_number=next((value for kind, value in _mapped(session, patient.identifiers) if kind == "id_number"), None),
        identifiers=numbers,
    )


def _mapped(session: Session, identifiers: Iterable[Identifier]) -> list[tuple[str, str]]:
    mapper = Mapper(session)
    systems = ((mapper.ours("identifier", each.type.upper()), each.value) for each in identifiers)
    return [(system, value) for system, value in systems if system is not None]


def filed(session: Session, identifiers: Iterable[Identifier]) -> tuple[tuple[str, str], ...]:
    """Numbers that name the person for good: not the citizen number (kept sealed), not the visit's."""
    return tuple(each for each in _mapped(session, identifiers) if each[0] not in ("id_number", "visit"))


def known_file(session: Session, identifiers: Iterable[Identifier]) -> Person | None:
    for system, value in filed(session, identifiers):
        found = people.find(session, system, value)
        if found is not None:
            return found
    return None
