"""Reactions: decide when values have come; back-tests; the day's pass rates and their drift."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from cloud.kit.events import on
from cloud.kit.jobs import job
from cloud.lis.autoverify import backtesting, drift, live
from cloud.lis.results.events import ResultsReceived


@on(ResultsReceived, "autoverify.consider")
def consider(session: Session, event: ResultsReceived) -> None:
    if not event.after_release:
        live.consider(session, event.aggregate_id)


@job("autoverify.backtest")
def backtest(session: Session, backtest_id: str) -> None:
    backtesting.run(session, uuid.UUID(backtest_id))


@job("autoverify.days", every="*/20 * * * *")
def days(session: Session, **_scheduled: object) -> None:
    """Count today and yesterday from the decisions again; yesterday is compared with the days before it."""
    drift.count_and_compare(session)
