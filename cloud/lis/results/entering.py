"""A typed value becomes a judged row, with what was typed kept beside it."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.lis.results import judging
from cloud.lis.results.choices import choices_of, typed_test
from cloud.lis.results.choosing import chosen_numbers
from cloud.lis.results.diluting import Declared
from cloud.lis.results.entry import Entry, judge_entries, new_result
from cloud.lis.results.matching import Match
from cloud.lis.results.model import Result
from cloud.lis.results.typed import Typed, read_typed
from cloud.lis.specimens.model import Specimen
from cloud.lis.verification.rules import Measured
from protocols.model import Observation

TYPED = "typed"


def typed_row(
    session: Session,
    specimen: Specimen,
    match: Match,
    text: str,
    *,
    by_id: uuid.UUID,
    unit: str = "",
    dilution: str = "",
    strict: bool = True,
    hand: Declared | None = None,
) -> Result:
    """The row of a value typed by `by_id`; run and choice are the caller's, it is not in the session yet.

    `hand`: the tube was diluted by a person; a value typed without a factor is not multiplied by itself but looked at.

    Raises `Invalid` for what cannot be this test's value (`typed.read_typed`).
    """
    test = match.test
    choices = choices_of(session, [test.id]).get(test.id, ())
    typed = read_typed(text, typed_test(test, choices), unit=unit, dilution=dilution, strict=strict)
    entry = _entry(match, typed, "" if hand is None or typed.dilution else f"{hand.factor:f}")
    known = judging.background(session, specimen, [test])
    judge_entries([entry], known, chosen_numbers(session, specimen.id))
    result = new_result(entry, specimen, known, received_at=clock.now(), details={"typed": typed.raw})
    result.source, result.entered_by, result.channel_code = TYPED, by_id, None
    same = typed.raw_unit is None and typed.dilution is None
    result.raw_value = None if same else typed.raw
    return result


def _entry(match: Match, typed: Typed, doubt: str) -> Entry:
    observation = Observation(
        specimen=match.specimen.accession, code="", value=typed.raw, unit=typed.raw_unit, dilution=typed.dilution
    )
    measured = Measured(
        text=typed.text,
        quantity=typed.quantity,
        value_type=match.test.value_type,
        raw_unit=typed.raw_unit,
        dilution_doubt=doubt,
    )
    return Entry(0, observation, match, measured)
