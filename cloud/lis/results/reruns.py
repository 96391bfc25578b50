"""The list of reruns (复检清单): values that wait to be measured again, with the dilution and who asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.lis.catalog.model import Test, ValueType
from cloud.lis.instruments.model import Instrument
from cloud.lis.results.diluting import BY_HAND
from cloud.lis.results.dilution import told_to
from cloud.lis.results.model import Result, ResultState
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person


@dataclass(frozen=True, slots=True)
class Waiting:
    """A value to be measured again."""

    specimen: Specimen
    person: Person
    test: Test
    result: Result
    instrument: Instrument | None
    diluting: tuple[Instrument, ...] = ()
    """Analyzers that are told to dilute; none: by hand."""

    @property
    def by_hand(self) -> str:
        """The factor of a dilution that a person has made; what comes next is multiplied by it."""
        return str(self.result.details.get("rerun", {}).get(BY_HAND, ""))

    @property
    def can_be_diluted(self) -> bool:
        return self.test.value_type == ValueType.NUMERIC

    @property
    def dilution(self) -> str:
        return str(self.result.details.get("rerun", {}).get("dilution", ""))

    @property
    def asked_by(self) -> str:
        """The rule's title, or "" where a person asked."""
        return str(self.result.details.get("rerun", {}).get("title", ""))


_WAITS = (Result.rerun_requested_at.is_not(None), Result.chosen, Result.state == ResultState.RECEIVED)


def waiting(session: Session, subject: Subject, *, limit: int = 300) -> list[Waiting]:
    """The oldest request first."""
    rows = session.execute(
        select(Specimen, Person, Test, Result, Instrument)
        .join(Result, Result.specimen_id == Specimen.id)
        .join(Person, Person.id == Specimen.person_id)
        .join(Test, Test.id == Result.test_id)
        .outerjoin(Instrument, Instrument.id == Result.instrument_id)
        .where(*_WAITS, Specimen.person_id.in_(visible_to(subject)))
        .order_by(Result.rerun_requested_at)
        .limit(limit)
    )
    found = [Waiting(*row) for row in rows]
    told = {key: tuple(told_to(session, *key)) for key in {(each.test.id, each.dilution) for each in found}}
    return [replace(each, diluting=told[each.test.id, each.dilution]) for each in found]


def waiting_count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Result).where(*_WAITS)) or 0
