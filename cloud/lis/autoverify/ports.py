"""What other slices tell the rules about a tube: QC of the channel, serum indices, what was noted at receipt.

Ports with the answer of today. The QC engine, once it judges runs, registers itself with `judge_qc_by`; until then
controls are only known to have been measured, and rules see "unknown" (a control in the last day) or "none".
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.lis.catalog.model import Test
from cloud.lis.qc.model import QcResult
from cloud.lis.results.model import Result
from cloud.lis.specimens.model import Specimen
from protocols.model import read_quantity

RECENT = timedelta(hours=24)
INDEX_TESTS = {"HIL_H": "H", "HIL_I": "I", "HIL_L": "L"}
"""Serum indices that were ordered or measured as tests of their own, by code."""


@dataclass(frozen=True, slots=True)
class QcState:
    """The channel's state when a value was measured (`verification.facts.QC_STATES`), and of which control run."""

    state: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class SpecimenFlags:
    concession: bool = False
    """Measured though it did not meet the criteria (让步检验)."""


QcPort = Callable[[Session, Sequence[Result]], Mapping[uuid.UUID, QcState]]
"""State by result id, for values of any instruments and tests; a typed value has none."""
FlagsPort = Callable[[Session, Specimen], SpecimenFlags]
IndexPort = Callable[[Session, uuid.UUID], Mapping[str, Decimal]]


def _measured_controls(session: Session, results: Sequence[Result]) -> Mapping[uuid.UUID, QcState]:
    """Whether a control of the channel was measured within a day before: all that is known without a QC engine."""
    pairs = {(each.instrument_id, each.test_id) for each in results if each.instrument_id is not None}
    if not pairs:
        return {}
    latest = {
        (row.instrument_id, row.test_id): row.at
        for row in session.execute(
            select(QcResult.instrument_id, QcResult.test_id, func.max(QcResult.received_at).label("at"))
            .where(
                QcResult.instrument_id.in_({each for each, _ in pairs}),
                QcResult.test_id.in_({each for _, each in pairs}),
                QcResult.superseded.is_(False),
                QcResult.received_at >= min(each.received_at for each in results) - RECENT,
            )
            .group_by(QcResult.instrument_id, QcResult.test_id)
        )
    }
    found = {}
    for each in results:
        if each.instrument_id is not None:
            at = latest.get((each.instrument_id, each.test_id))
            recent = at is not None and each.received_at - RECENT <= at <= each.received_at
            found[each.id] = QcState("unknown" if recent else "none", at if recent else None)
    return found


def _index_results(session: Session, specimen_id: uuid.UUID) -> Mapping[str, Decimal]:
    """Indices measured as tests of this tube."""
    rows = session.execute(
        select(Test.code, Result.value_text)
        .join(Result, Result.test_id == Test.id)
        .where(Result.specimen_id == specimen_id, Result.chosen, Test.code.in_(INDEX_TESTS))
    )
    found = {}
    for code, text in rows:
        quantity = read_quantity(text)
        if quantity is not None:
            found[INDEX_TESTS[code]] = quantity.number
    return found


def _nothing_noted(session: Session, specimen: Specimen) -> SpecimenFlags:
    return SpecimenFlags(concession=bool(getattr(specimen, "concession", False)))


_qc: QcPort = _measured_controls
_indices: IndexPort = _index_results
_flags: FlagsPort = _nothing_noted


def judge_qc_by(port: QcPort) -> None:
    """The QC engine's answer in place of the default."""
    global _qc
    _qc = port


def read_indices_by(port: IndexPort) -> None:
    global _indices
    _indices = port


def note_specimens_by(port: FlagsPort) -> None:
    global _flags
    _flags = port


def qc_states(session: Session, results: Sequence[Result]) -> Mapping[uuid.UUID, QcState]:
    return _qc(session, results)


def serum_indices(session: Session, specimen_id: uuid.UUID) -> Mapping[str, Decimal]:
    return _indices(session, specimen_id)


def specimen_flags(session: Session, specimen: Specimen) -> SpecimenFlags:
    return _flags(session, specimen)
