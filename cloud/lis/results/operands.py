"""What a calculated test reads: the specimen's chosen values, or the person's nearest; and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.lis.calculation.formula import PERSON, Given, Operand, Outcome
from cloud.lis.calculation.service import Current
from cloud.lis.catalog.model import Test
from cloud.lis.results.model import Result, ResultState
from cloud.lis.specimens.model import Specimen
from cloud.people.identity import Lineage, lineage

SILENT = frozenset({"operand_missing", "operand_away", "parameter_blank"})
"""Nothing is to be said of these: the value is still to come, or nobody set the formula up."""


@dataclass(frozen=True, slots=True)
class Used:
    """An operand as it was found; `problem` is why it cannot be used."""

    operand: Operand
    result: Result | None
    problem: str = ""
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Patient:
    """From the hospital's file, on the day of collection; never from an instrument."""

    sex: str
    age_days: int | None
    age_years: int | None


def patient_of(session: Session, specimen: Specimen) -> Patient:
    person: Lineage = lineage(session, specimen.person_id)
    on = clock.local(specimen.collected_at or specimen.received_at or clock.now()).date()
    return Patient(person.sex, _days(person.birth_date, on), completed_years(person.birth_date, on))


def find(session: Session, specimen: Specimen, operand: Operand, chosen: Result | None) -> Used:
    """The operand's value: `chosen` of this specimen, else the person's nearest where the formula allows it."""
    result = chosen
    if result is None and operand.scope == PERSON:
        result = _elsewhere(session, specimen, operand)
    if result is None:
        return Used(operand, None, "operand_missing", {"name": operand.name})
    if result.rerun_requested_at is not None or result.state in (ResultState.REJECTED, ResultState.SUPERSEDED):
        return Used(operand, result, "operand_away", {"name": operand.name})
    if result.comparator is not None:
        fields = {"name": operand.name, "sign": result.comparator, "text": result.value_text}
        return Used(operand, result, "operand_sign", fields)
    if result.number is None:
        return Used(operand, result, "operand_text", {"name": operand.name, "text": result.value_text[:40]})
    if any(each["code"] == "unit_unexpected" for each in result.decision.get("reasons", ())):
        return Used(operand, result, "operand_unit", {"name": operand.name, "unit": result.unit or ""})
    return Used(operand, result)


def problem_of(used: Sequence[Used]) -> Outcome | None:
    """What keeps the formula from being calculated; what is still to come before what never will."""
    for silent in (True, False):
        for each in used:
            if each.problem and (each.problem in SILENT) is silent:
                return Outcome(code=each.problem, fields=each.fields)
    return None


def given(used: Sequence[Used]) -> dict[str, Given]:
    return {
        each.operand.name: Given(each.result.number, each.result.unit or "")
        for each in used
        if each.result is not None and each.result.number is not None
    }


def _elsewhere(session: Session, specimen: Specimen, operand: Operand) -> Result | None:
    """The person's value of another specimen that was collected nearest to this one, within the operand's window."""
    when = specimen.collected_at or specimen.received_at
    if when is None or not operand.window_h:
        return None
    taken = func.coalesce(Specimen.collected_at, Specimen.received_at)
    window = timedelta(hours=operand.window_h)
    return session.scalar(
        select(Result)
        .join(Specimen, Specimen.id == Result.specimen_id)
        .join(Test, (Test.id == Result.test_id) & (Test.code == operand.test))
        .where(
            Result.person_id.in_(lineage(session, specimen.person_id).person_ids),
            Result.chosen,
            Specimen.id != specimen.id,
            taken.between(when - window, when + window),
        )
        .order_by(func.abs(func.extract("epoch", taken - when)))
        .limit(1)
    )


def told(current: Current, used: Sequence[Used], outcome: Outcome, patient: Patient) -> dict[str, Any]:
    """What the review page, the report's file and `explain` show of a calculation."""
    formula, definition = current.formula, current.definition
    return {
        "formula": {"id": str(formula.id), "version": formula.version, "state": str(formula.state)},
        "expression": definition.expression,
        "operands": [_operand_told(each) for each in used],
        "parameters": [{"name": each.name, "value": each.value, "unit": each.unit} for each in definition.parameters],
        "sex": patient.sex,
        "age": patient.age_years,
        "number": None if outcome.number is None else str(outcome.number),
        "code": outcome.code,
        "fields": outcome.fields,
        "waiting": [each.operand.test for each in used if each.result is not None and _waits(each.result)],
    }


def _operand_told(used: Used) -> dict[str, Any]:
    result = used.result
    return {
        "name": used.operand.name,
        "test": used.operand.test,
        "value": result.value_text if result else None,
        "unit": result.unit if result else None,
        "result": str(result.id) if result else None,
        "specimen": str(result.specimen_id) if result else None,
    }


def _waits(result: Result) -> bool:
    """Held, and no person has looked at it yet."""
    return result.held and result.state == ResultState.RECEIVED


def _days(birth: date | None, on: date) -> int | None:
    return None if birth is None or birth > on else (on - birth).days


def completed_years(birth: date | None, on: date) -> int | None:
    """Birthdays that have passed."""
    if birth is None or birth > on:
        return None
    return on.year - birth.year - ((on.month, on.day) < (birth.month, birth.day))
