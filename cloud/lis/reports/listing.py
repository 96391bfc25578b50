"""Finding released reports: of a day, by barcode, by name or medical record number."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.lis.reports.model import Report
from cloud.lis.specimens.model import Specimen, SpecimenBarcode
from cloud.lis.specimens.rules import clean_barcode
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person, PersonIdentifier

SHOWN = 200


@dataclass(frozen=True, slots=True)
class Found:
    report: Report
    specimen: Specimen
    person: Person


def day_of(text: str) -> date:
    """A civil day from an address; today where it is none."""
    return clock.typed_day(text) or clock.today()


def find(session: Session, subject: Subject, *, text: str = "", day: str = "") -> list[Found]:
    """Newest first; a text is searched in every day, no text shows the day."""
    query = (
        select(Report, Specimen, Person)
        .join(Specimen, Specimen.id == Report.specimen_id)
        .join(Person, Person.id == Report.person_id)
        .where(Report.person_id.in_(visible_to(subject)))
        .order_by(Report.released_at.desc())
        .limit(SHOWN)
    )
    wanted = clean_barcode(text)
    if wanted:
        by_barcode = select(SpecimenBarcode.specimen_id).where(SpecimenBarcode.barcode == wanted)
        by_number = select(PersonIdentifier.person_id).where(PersonIdentifier.value == wanted)
        query = query.where(
            or_(Report.specimen_id.in_(by_barcode), Report.person_id.in_(by_number), Person.name == wanted)
        )
    else:
        shown = day_of(day)
        query = query.where(
            Report.released_at >= clock.day_begins(shown),
            Report.released_at < clock.day_begins(shown + timedelta(days=1)),
        )
    return [Found(report, specimen, person) for report, specimen, person in session.execute(query)]
