"""A formula tried on a real specimen: every version beside the value that is there. Nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.errors import NotFound
from cloud.lis.calculation import service as formulas
from cloud.lis.calculation.formula import Outcome, calculate, printed
from cloud.lis.calculation.model import Formula
from cloud.lis.calculation.service import Current
from cloud.lis.catalog.model import Test
from cloud.lis.results import operands
from cloud.lis.results.choosing import chosen_numbers
from cloud.lis.results.operands import Used
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject, person
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Trial:
    """One version on the specimen."""

    formula: Formula
    used: tuple[Used, ...]
    outcome: Outcome
    text: str


@dataclass(frozen=True, slots=True)
class Tried:
    specimen: Specimen
    test: Test
    there: str
    """The value that the specimen has of the test; "" none."""
    sex: str
    age: int | None
    trials: tuple[Trial, ...]


def on_specimen(session: Session, subject: Subject, test_code: str, barcode: str) -> Tried:
    """Raises `NotFound` for an unknown test or barcode, and for a person who may not be seen."""
    test = session.scalar(select(Test).where(Test.code == test_code))
    if test is None:
        raise NotFound("formula.unknown", N_("没有这个公式。"))
    specimen = specimens.by_barcode(session, barcode)
    person(session, subject, specimen.person_id)
    chosen = chosen_numbers(session, specimen.id)
    patient = operands.patient_of(session, specimen)
    trials = []
    for row in formulas.versions(session, test.id):
        current = Current(row, row.definition(test.code), test)
        used = tuple(operands.find(session, specimen, each, chosen.get(each.test)) for each in current.reads)
        outcome = operands.problem_of(used) or calculate(
            current.definition,
            test.unit,
            operands.given(used),
            sex=patient.sex,
            age_days=patient.age_days,
            age_years=patient.age_years,
            specimen_type=specimen.specimen_type,
        )
        text = "" if outcome.number is None else f"{printed(outcome.number, test.decimals):f}"
        trials.append(Trial(row, used, outcome, text))
    there = chosen.get(test.code)
    return Tried(specimen, test, there.value_text if there else "", patient.sex, patient.age_years, tuple(trials))
