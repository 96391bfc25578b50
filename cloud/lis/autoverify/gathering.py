"""From stored rows to the facts that rules decide on: the same for live, shadow and back-test.

The previous value is the one that was the newest when the result came (kept with it), so that history is judged as it
was then and never against its future.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.lis.autoverify.qc_port import QcState, qc_states
from cloud.lis.catalog import rules as catalog_rules
from cloud.lis.catalog.model import Test
from cloud.lis.instruments.model import Instrument
from cloud.lis.orders.model import ItemState, Order, OrderItem
from cloud.lis.results.indices import indices_of
from cloud.lis.results.model import Result
from cloud.lis.specimens import concession as concessions
from cloud.lis.specimens.model import Specimen
from cloud.lis.verification.facts import Earlier, Facts, TestFact
from cloud.people.identity import lineage
from protocols.model import read_quantity

UNDILUTED = frozenset({"", "1", "1.0", "0"})
OURS = frozenset({"rule"})
"""Reasons that rules themselves wrote: they are no facts."""


@dataclass(slots=True)
class Rows:
    """What is stored of one specimen, before it is facts."""

    specimen: Specimen
    order: Order
    department: str
    sex: str
    age_days: int | None
    ordered: list[tuple[OrderItem, Test]] = field(default_factory=list)
    results: dict[uuid.UUID, list[tuple[Result, str]]] = field(default_factory=dict)
    """(result, instrument's code) by order item, in the order of the runs."""

    @property
    def open_results(self) -> list[Result]:
        """The chosen values."""
        found = (_chosen(self.results.get(item.id, ())) for item, _ in self.ordered)
        return [each[0] for each in found if each is not None]


def rows_of(session: Session, specimen_id: uuid.UUID) -> Rows:
    specimen, order, department = session.execute(
        select(Specimen, Order, Department.code)
        .join(Order, Order.id == Specimen.order_id)
        .join(Department, Department.id == Order.department_id)
        .where(Specimen.id == specimen_id)
        .execution_options(populate_existing=True)
    ).one()
    person = lineage(session, specimen.person_id)
    on = clock.local(specimen.collected_at or specimen.received_at or clock.now()).date()
    rows = Rows(specimen, order, department, person.sex, catalog_rules.age_days(person.birth_date, on))
    rows.ordered = [(each.OrderItem, each.Test) for each in session.execute(_ORDERED.where(_live(specimen_id)))]
    found = select(Result, Instrument.code).outerjoin(Instrument, Instrument.id == Result.instrument_id)
    for result, code in session.execute(
        found.where(Result.specimen_id == specimen_id).order_by(Result.run).execution_options(populate_existing=True)
    ):
        rows.results.setdefault(result.order_item_id, []).append((result, code or ""))
    return rows


_ORDERED = (
    select(OrderItem, Test)
    .join(Test, Test.id == OrderItem.test_id)
    .order_by(OrderItem.position, Test.position)
    .execution_options(populate_existing=True)
)


def _live(specimen_id: uuid.UUID) -> Any:
    return (OrderItem.specimen_id == specimen_id) & (OrderItem.state != ItemState.CANCELLED)


def live_facts(session: Session, rows: Rows, stops: Sequence[str]) -> Facts:
    """What is known now, of the chosen values."""
    chosen = {item.id: _chosen(rows.results.get(item.id, ())) for item, _ in rows.ordered}
    measured = [each[0] for each in chosen.values() if each is not None]
    return assemble(
        rows,
        chosen,
        qc=qc_states(session, measured),
        indices=indices_of(session, rows.specimen.id),
        concession=bool(concessions.standing(session, rows.specimen)),
        stops=stops,
    )


def first_facts(session: Session, rows: Rows) -> Facts:
    """As the values first came, before anybody did anything about them: what a back-test decides on."""
    first = {item.id: next(iter(rows.results.get(item.id, ())), None) for item, _ in rows.ordered}
    return assemble(
        rows,
        first,
        qc=qc_states(session, [each[0] for each in first.values() if each is not None]),
        indices=indices_of(session, rows.specimen.id),
        concession=bool(concessions.standing(session, rows.specimen)),
        stops=(),
        as_first=True,
    )


def assemble(
    rows: Rows,
    chosen: Mapping[uuid.UUID, tuple[Result, str] | None],
    *,
    qc: Mapping[uuid.UUID, QcState],
    indices: Mapping[str, Decimal],
    concession: bool,
    stops: Sequence[str],
    as_first: bool = False,
) -> Facts:
    tests, missing = [], []
    for item, test in rows.ordered:
        found = chosen.get(item.id)
        if found is None:
            missing.append(test.code)
            continue
        result, instrument = found
        earlier_runs = [each for each, _ in rows.results.get(item.id, ()) if each.run < result.run]
        tests.append(_test(test, result, instrument, [] if as_first else earlier_runs, qc.get(result.id), as_first))
    specimen, order = rows.specimen, rows.order
    return Facts(
        specimen=str(specimen.id),
        tests=tuple(tests),
        missing=tuple(missing),
        sex=rows.sex,
        age_days=rows.age_days,
        department=rows.department,
        diagnosis=order.diagnosis or "",
        priority=specimen.priority,
        specimen_type=specimen.specimen_type,
        concession=concession,
        collected_at=specimen.collected_at,
        received_at=specimen.received_at,
        indices=indices,
        stops=tuple(stops),
        production=settings().environment == "production",
    )


def _test(
    test: Test, result: Result, instrument: str, runs: Iterable[Result], qc: QcState | None, as_first: bool
) -> TestFact:
    dilution = str(result.details.get("dilution") or "").strip()
    state = QcState("unknown", None) if qc is None else qc
    return TestFact(
        code=test.code,
        section=test.section,
        value_type=test.value_type,
        text=result.value_text,
        number=result.number,
        comparator=result.comparator or "",
        flag=result.flag,
        critical=result.critical,
        draft=result.draft,
        holds=_holds(result),
        low=result.range_low,
        high=result.range_high,
        instrument=instrument,
        flags=tuple(result.instrument_flags),
        status=str(result.details.get("status") or ""),
        dilution="" if dilution in UNDILUTED else dilution,
        typed=result.entered_by is not None,
        rerun=not as_first and result.rerun_requested_at is not None,
        run=1 if as_first else result.run,
        runs=tuple(each.number for each in runs if each.number is not None and each.comparator is None),
        at=result.observed_at or result.received_at,
        earlier=_earlier(result),
        qc=state.state,
        qc_at=state.at,
    )


def _holds(result: Result) -> tuple[str, ...]:
    reasons: list[dict[str, Any]] = result.decision.get("reasons", [])
    return tuple(sorted({each["code"] for each in reasons if each["holds"] and each["code"] not in OURS}))


def _earlier(result: Result) -> Earlier | None:
    """The newest released value when this one came; its words where it is no exact number."""
    if result.previous_at is None or not result.previous_value:
        return None
    specimen = str(result.previous_result_id or "")
    quantity = read_quantity(result.previous_value)
    if quantity is None:
        return Earlier(None, result.previous_at, specimen, text=result.previous_value)
    sign = quantity.comparator or ""
    return Earlier(quantity.number, result.previous_at, specimen, sign, result.previous_value if sign else "")


def _chosen(results: Iterable[tuple[Result, str]]) -> tuple[Result, str] | None:
    return next((each for each in results if each[0].chosen), None)
