"""A person's file as the HIS is told of it."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from cloud.his.port import PatientFacts
from cloud.people import service as people


def facts_of(session: Session, person_id: uuid.UUID) -> PatientFacts:
    """Of the person that goes on, where two files were joined."""
    person = people.get(session, people.surviving_id(session, person_id))
    numbers = {each.system: each.value for each in person.identifiers}
    return PatientFacts(
        mrn=numbers.get("mrn", ""),
        card=numbers.get("card", ""),
        name=person.name,
        sex=person.sex,
        birth_date=person.birth_date,
        id_number=person.id_number or "",
        phone=person.phone or "",
    )
