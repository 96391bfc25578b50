"""What the QC engine tells the rules about a channel: a port, with the answer of today.

The QC engine, once it judges runs, registers itself with `judge_qc_by`; until then controls are only known to have been
measured, and rules see "unknown" (a control in the last day) or "none".
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.lis.qc.model import QcResult
from cloud.lis.results.model import Result

RECENT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class QcState:
    """The channel's state when a value was measured (`verification.facts.QC_STATES`), and of which control run."""

    state: str
    at: datetime | None


QcPort = Callable[[Session, Sequence[Result]], Mapping[uuid.UUID, QcState]]
"""State by result id, for values of any instruments and tests; a typed value has none."""


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


_qc: QcPort = _measured_controls


def judge_qc_by(port: QcPort) -> None:
    """The QC engine's answer in place of the default."""
    global _qc
    _qc = port


def qc_states(session: Session, results: Sequence[Result]) -> Mapping[uuid.UUID, QcState]:
    return _qc(session, results)
