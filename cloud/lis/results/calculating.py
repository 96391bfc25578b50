"""Calculated tests of one specimen: rows of their own beside the measured ones, made anew when an operand changes.

`follow` is called, with the specimen's sheet locked, after every change of its values. A value that is measured or
typed is never replaced by a calculated one; a released one is never replaced at all: the new value stands beside it,
marked `after_release`, and is listed for an amendment. Sex and age are the order's person's, never an instrument's.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.ids import new_id
from cloud.kit.jobs import enqueue, job
from cloud.lis.calculation import service as formulas
from cloud.lis.calculation.formula import PERSON, Outcome, calculate, printed
from cloud.lis.calculation.service import Current
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.results import judging, operands
from cloud.lis.results.adding import add_item, measured
from cloud.lis.results.choosing import choose_newest, settle_choice, withdraw
from cloud.lis.results.entry import Entry, new_result, write_verdict
from cloud.lis.results.matching import Match
from cloud.lis.results.model import OPEN_STATES, Result
from cloud.lis.results.operands import SILENT, Used
from cloud.lis.specimens.model import Specimen
from cloud.lis.verification.rules import Measured
from cloud.people.identity import lineage
from protocols.model import Observation, Quantity

CALCULATED = "calculated"
UNCALCULATED = "无法计算"
"""Stands in place of a value that cannot be calculated and was ordered; a limit says its own words."""


@dataclass(frozen=True, slots=True)
class _Line:
    item: OrderItem
    test: Test
    result: Result | None


def follow(session: Session, specimen: Specimen, *, changed: Collection[str] | None = None) -> list[Result]:
    """New rows of calculated tests after values of `changed` tests (None: any) changed. Idempotent."""
    current = formulas.current(session)
    wanted = _touched(current, changed)
    if not wanted:
        return []
    work = _Specimen(session, specimen, [current[code] for code in wanted])
    for code in wanted:
        work.calculate(current[code])
    _tell_other_specimens(session, specimen, current.values(), changed)
    return work.finish()


def codes(session: Session, results: Sequence[Result]) -> list[str]:
    """Which tests these rows are of."""
    ids = {each.test_id for each in results}
    return list(session.scalars(select(Test.code).where(Test.id.in_(ids)))) if ids else []


def _touched(current: Mapping[str, Current], changed: Collection[str] | None) -> list[str]:
    """Calculated tests that read one of `changed`, directly or through another, operands first."""
    reading = {code: tuple(operand.test for operand in each.reads) for code, each in current.items()}
    ordered = formulas.in_order(current, reading)
    if changed is None:
        return ordered
    moved, found = set(changed), list[str]()
    for code in ordered:
        if moved & set(reading[code]):
            moved.add(code)
            found.append(code)
    return found


class _Specimen:
    """The specimen's values while its calculated tests are gone through, operands before what reads them."""

    def __init__(self, session: Session, specimen: Specimen, wanted: Sequence[Current]) -> None:
        self.session, self.specimen = session, specimen
        self.lines = _lines(session, specimen)
        tests = [each.test for each in wanted if each.test.code in self.lines or each.formula.adds_itself]
        self.known = judging.background(session, specimen, tests)
        self.measured = measured(session, [each.id for each in tests])
        self.earlier = _earlier(session, [self.lines[each.code].item.id for each in tests if each.code in self.lines])
        self.patient = operands.patient_of(session, specimen)
        self.added: list[Result] = []

    def calculate(self, current: Current) -> None:
        """One calculated test."""
        line, formula = self.lines.get(current.test.code), current.formula
        before = line.result if line else None
        if (line is None and not formula.adds_itself) or (before is not None and before.source != CALCULATED):
            return
        if before is None and not formula.though_measured and current.test.id in self.measured:
            return
        used = [operands.find(self.session, self.specimen, each, self._chosen(each.test)) for each in current.reads]
        outcome = operands.problem_of(used) or self._outcome(current, used)
        if outcome.number is None and (outcome.code in SILENT or line is None):
            if line is not None and before is not None and before.state in OPEN_STATES:
                withdraw(self.session, before)
                self.lines[current.test.code] = _Line(line.item, line.test, None)
            return
        line = line or self._add_item(current, used)
        if line is not None:
            self._keep(line, current, used, outcome)

    def _chosen(self, code: str) -> Result | None:
        line = self.lines.get(code)
        return line.result if line else None

    def _outcome(self, current: Current, used: Sequence[Used]) -> Outcome:
        return calculate(
            current.definition,
            current.test.unit,
            operands.given(used),
            sex=self.patient.sex,
            age_days=self.patient.age_days,
            age_years=self.patient.age_years,
            specimen_type=self.specimen.specimen_type,
        )

    def _add_item(self, current: Current, used: Sequence[Used]) -> _Line | None:
        """The test joins the specimen, uncharged; None where the order has it on another specimen."""
        cause = next((each.result.id for each in used if each.result is not None), None)
        rule = current.formula.id
        test_id = current.test.id
        item = add_item(self.session, self.specimen, test_id, reason=CALCULATED, charged=False, rule=rule, cause=cause)
        return None if item is None else _Line(item, current.test, None)

    def _keep(self, line: _Line, current: Current, used: Sequence[Used], outcome: Outcome) -> None:
        details = {"calculation": operands.told(current, used, outcome, self.patient)}
        text, quantity = _shown(line.test, outcome)
        earlier = self.earlier.setdefault(line.item.id, [])
        before = line.result
        if before is not None and before.value_text == text and _same(before.details, details):
            self._still(before, line.test, details)
            return
        if line.item.state == ItemState.RELEASED and _listed(earlier, text, details, before):
            return
        times = [each.result.observed_at for each in used if each.result is not None and each.result.observed_at]
        result = self._row(line, text, quantity, details, max(times, default=None))
        result.formula_id = current.formula.id
        choose_newest(result, line.item, earlier)
        earlier.append(result)
        self.added.append(result)
        if result.chosen:
            self.lines[line.test.code] = _Line(line.item, line.test, result)

    def _still(self, result: Result, test: Test, details: dict[str, Any]) -> None:
        """The value stands; only which of its operands wait for a person may have changed."""
        if result.details["calculation"] == details["calculation"] or result.state not in OPEN_STATES:
            return
        result.details = {**result.details, **details}
        quantity = None if result.number is None else Quantity(result.number, result.comparator)
        verdict = judging.judged(test, _measured(test, result.value_text, quantity, result.observed_at), self.known)
        write_verdict(result, verdict, self.known.ranges.get(test.id))

    def _row(
        self,
        line: _Line,
        text: str,
        quantity: Quantity | None,
        details: dict[str, Any],
        taken_at: datetime | None,
    ) -> Result:
        test, known = line.test, self.known
        observation = Observation(specimen=self.specimen.accession, code=test.code, value=text)
        entry = Entry(
            0, observation, Match(self.specimen, line.item, test, None), _measured(test, text, quantity, taken_at)
        )
        entry.verdict = judging.judged(test, entry.measured, known)
        result = new_result(entry, self.specimen, known, received_at=clock.now(), details=details)
        result.id, result.source = new_id(), CALCULATED
        result.channel_code, result.raw_value = None, None
        return result

    def finish(self) -> list[Result]:
        """Write what is new."""
        if self.added:
            settle_choice(self.session, self.added)
        self.session.flush()
        return self.added


def _lines(session: Session, specimen: Specimen) -> dict[str, _Line]:
    """Live tests of the specimen by code, with their chosen values."""
    rows = session.execute(
        select(OrderItem, Test, Result)
        .join(Test, Test.id == OrderItem.test_id)
        .outerjoin(
            Result,
            (Result.order_item_id == OrderItem.id) & (Result.specimen_id == OrderItem.specimen_id) & Result.chosen,
        )
        .where(OrderItem.specimen_id == specimen.id, OrderItem.state != ItemState.CANCELLED)
        .execution_options(populate_existing=True)
    )
    return {test.code: _Line(item, test, result) for item, test, result in rows}


def _earlier(session: Session, item_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[Result]]:
    """Every run of these items, oldest first."""
    found: dict[uuid.UUID, list[Result]] = {}
    if item_ids:
        for row in session.scalars(select(Result).where(Result.order_item_id.in_(item_ids)).order_by(Result.run)):
            found.setdefault(row.order_item_id, []).append(row)
    return found


_ALIKE = ("formula", "operands", "parameters", "sex", "age", "code")


def _same(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Calculated from the same rows with the same formula."""
    was, new = before.get("calculation", {}), now["calculation"]
    return bool(was) and all(was[key] == new[key] for key in _ALIKE)


def _listed(earlier: Iterable[Result], text: str, details: dict[str, Any], released: Result | None) -> bool:
    """Whether the released value says so already, or the new one is listed beside it."""
    if released is not None and released.value_text == text:
        return True
    return any(each.after_release and each.value_text == text and _same(each.details, details) for each in earlier)


def _shown(test: Test, outcome: Outcome) -> tuple[str, Quantity | None]:
    if outcome.number is None:
        return (outcome.fields.get("say") or UNCALCULATED), None
    number = printed(outcome.number, test.decimals)
    return f"{number:f}", Quantity(number, None)


def _measured(test: Test, text: str, quantity: Quantity | None, taken_at: datetime | None) -> Measured:
    return Measured(text=text, quantity=quantity, value_type=test.value_type, taken_at=taken_at)


def _tell_other_specimens(
    session: Session, specimen: Specimen, current: Iterable[Current], changed: Collection[str] | None
) -> None:
    """A value of this tube may be an operand of a test that was ordered on another: that one is calculated by a job,
    which locks the other sheet by itself."""
    window, targets = 0, list[uuid.UUID]()
    for each in current:
        across = [operand for operand in each.definition.operands if operand.scope == PERSON]
        if any(changed is None or operand.test in changed for operand in across):
            targets.append(each.test.id)
            window = max([window, *(operand.window_h or 0 for operand in across)])
    when = specimen.collected_at or specimen.received_at
    if not targets or when is None:
        return
    reach = timedelta(hours=window)
    waiting = session.scalars(
        select(Specimen.id)
        .join(OrderItem, OrderItem.specimen_id == Specimen.id)
        .where(
            Specimen.person_id.in_(lineage(session, specimen.person_id).person_ids),
            Specimen.id != specimen.id,
            OrderItem.test_id.in_(targets),
            OrderItem.state.in_((ItemState.RECEIVED, ItemState.RESULTED, ItemState.RELEASED)),
            func.coalesce(Specimen.collected_at, Specimen.received_at).between(when - reach, when + reach),
        )
        .distinct()
    )
    for found in waiting:
        enqueue(session, "lis.results.calculate", specimen_id=str(found))


@job("lis.results.calculate")
def calculate_specimen(session: Session, specimen_id: str) -> None:
    """Calculated tests of a specimen whose operands stand on another one."""
    from cloud.lis.results.sheets import touch
    from cloud.lis.results.storing import announce_results

    found = uuid.UUID(specimen_id)
    touch(session, [found])
    specimen = session.get_one(Specimen, found, populate_existing=True)
    announce_results(session, specimen, follow(session, specimen))
