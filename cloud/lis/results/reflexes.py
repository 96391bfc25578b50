"""Reflex rules on a specimen, with its sheet locked, after its values changed: once for each time a rule may act.

A loop ends three ways: a rule's own number of times on a specimen, `MOST_ACTIONS` on one specimen, and the check that
no rule calls itself back through others. What could not be done is kept with why, and shown.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.lis.calculation.engine import Facts, Value
from cloud.lis.catalog.model import Test
from cloud.lis.reflex import service as rules
from cloud.lis.reflex.model import ReflexAction
from cloud.lis.reflex.rule import Act, applies
from cloud.lis.reflex.service import Acting
from cloud.lis.results import calculating, operands
from cloud.lis.results.adding import add_item
from cloud.lis.results.choosing import chosen_numbers
from cloud.lis.results.model import OPEN_STATES, Result, ResultState
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.verification.values import read_polarity, read_titre

MOST_ACTIONS = 10
ACTOR = "rule"
_GRADES = {"-": 0, "阴性": 0, "±": 1, "1+": 2, "2+": 3, "3+": 4, "4+": 5, "+": 2, "++": 3, "+++": 4, "++++": 5}
"""Grades in their order, as `data/choices.csv` ranks them."""


def react(session: Session, specimen: Specimen, *, changed: Collection[str]) -> list[ReflexAction]:
    """What the approved rules that read one of `changed` do now. Idempotent: a rule that acted its times is silent."""
    wanted = [each for each in rules.acting(session) if set(each.rule.reads) & set(changed)]
    if not wanted or specimen.state not in (SpecimenState.RECEIVED, SpecimenState.DONE):
        return []
    before = session.scalars(select(ReflexAction).where(ReflexAction.specimen_id == specimen.id)).all()
    done: list[ReflexAction] = []
    for each in wanted:
        times = sum(action.code == each.row.code for action in before)
        if times >= each.rule.times or len(before) + len(done) >= MOST_ACTIONS:
            continue
        chosen = chosen_numbers(session, specimen.id)
        if any(code in chosen and chosen[code].rerun_requested_at is not None for code in each.rule.reads):
            continue  # judged when the new measurement is there
        if applies(each.rule, facts_of(session, specimen, chosen)):
            done.append(_act(session, specimen, each, chosen, times + 1))
    return done


def facts_of(session: Session, specimen: Specimen, chosen: Mapping[str, Result]) -> Facts:
    """What a condition may read of the specimen."""
    patient = operands.patient_of(session, specimen)
    numbers = {
        code: (each.number, each.unit or "")
        for code, each in chosen.items()
        if each.number is not None and each.comparator is None
    }
    answers: dict[tuple[str, str], Value] = {}
    for code, each in chosen.items():
        answers.update({(question, code): answer for question, answer in _answers(each).items()})
    return Facts(numbers, patient.sex, patient.age_days, patient.age_years, specimen.specimen_type, answers)


def _answers(result: Result) -> dict[str, Value]:
    found: dict[str, Value] = {
        "flag": result.flag,
        "text": result.value_text,
        "critical": bool(result.critical),
        "held": bool(result.held),
        "run": Decimal(result.run),
        "alarm": any(str(each).strip() not in ("", "N", "L", "H", "LL", "HH") for each in result.instrument_flags),
        "known": True,
    }
    polarity, titre = read_polarity(result.value_text), read_titre(result.value_text)
    if polarity is not None:
        found["polarity"] = str(polarity)
    if titre is not None:
        found["titre"] = Decimal(titre.reciprocal)
    if result.value_text in _GRADES:
        found["grade"] = Decimal(_GRADES[result.value_text])
    if result.delta_percent is not None:
        found["delta"] = result.delta_percent
    return found


def _act(
    session: Session, specimen: Specimen, acting: Acting, chosen: Mapping[str, Result], number: int
) -> ReflexAction:
    rule, row = acting.rule, acting.row
    cause = next((chosen[code] for code in rule.reads if code in chosen), None)
    detail: dict[str, Any] = {"read": {code: chosen[code].value_text for code in rule.reads if code in chosen}}
    if rule.act == Act.ADD:
        why = _add(session, specimen, acting, cause.id if cause else None, detail)
    elif rule.act == Act.COMMENT:
        why = _comment(chosen.get(rule.tests[0]), rule.text)
    else:
        why = _again(session, specimen, acting, chosen.get(rule.tests[0]), detail)
    action = ReflexAction(
        specimen_id=specimen.id,
        code=row.code,
        number=number,
        rule_id=row.id,
        act=rule.act,
        result_id=cause.id if cause else None,
        done=not why,
        why=why,
        detail=detail,
    )
    session.add(action)
    session.flush()
    record(
        session,
        actor=f"{ACTOR}:{row.code}/{row.version}",
        action=f"reflex.{rule.act}",
        aggregate=("specimen", specimen.id),
        after={**detail, "done": not why, "why": why},
        reason=row.title,
    )
    return action


def _add(session: Session, specimen: Specimen, acting: Acting, cause: uuid.UUID | None, detail: dict[str, Any]) -> str:
    """Order the tests on this tube; why not, where none could be."""
    tests = session.scalars(select(Test).where(Test.code.in_(acting.rule.tests))).all()
    fitting = [each for each in tests if each.specimen_type == specimen.specimen_type]
    added = [
        each.code
        for each in fitting
        if add_item(
            session,
            specimen,
            each.id,
            reason="reflex",
            charged=acting.rule.charged,
            rule=acting.row.id,
            cause=cause,
        )
        is not None
    ]
    detail.update({"added": added, "charged": acting.rule.charged})
    session.flush()
    if added:
        by = f"{ACTOR}:{acting.row.code}"
        specimens.append(session, specimen.id, "tests_added", by=by, detail={"tests": len(added), "codes": added})
        specimens.tests_changed(session, specimen)
        return ""
    return "other_specimen" if len(fitting) < len(tests) else "ordered_already"


def _again(session: Session, specimen: Specimen, acting: Acting, result: Result | None, detail: dict[str, Any]) -> str:
    """Ask for another measurement; the dilution stands with the request, on the list of reruns."""
    if result is None or result.state not in OPEN_STATES:
        return "released" if result is not None else "no_result"
    if result.state == ResultState.REVIEWED:
        result.move_to(ResultState.RECEIVED)
    asked = {"rule": acting.row.code, "title": acting.row.title, "dilution": acting.rule.dilution}
    result.rerun_requested_at = clock.now()
    result.details = {**result.details, "rerun": asked}
    detail.update({"test": acting.rule.tests[0], "dilution": acting.rule.dilution})
    session.flush()
    specimens.tests_changed(session, specimen)
    calculating.follow(session, specimen, changed=[acting.rule.tests[0]])
    return ""


def _comment(result: Result | None, text: str) -> str:
    if result is None:
        return "no_result"
    if text not in result.comments:
        result.comments = [*result.comments, text]
    return ""
