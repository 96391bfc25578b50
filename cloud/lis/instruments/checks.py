"""What the configuration check asks of channels."""

from __future__ import annotations

from datetime import date

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.lis.catalog import checking
from cloud.lis.catalog.model import ApprovalState, Test
from cloud.lis.catalog.rules import Problem
from cloud.lis.instruments.model import Instrument, InstrumentChannel


@checking.add
def problems(session: Session, _on: date) -> list[Problem]:
    """Tests on two codes of one instrument, and channels of tests that are out of use."""
    codes = func.string_agg(InstrumentChannel.code, ", ")
    twice = session.execute(
        select(Instrument.code, Test.code, codes)
        .join(InstrumentChannel, InstrumentChannel.instrument_id == Instrument.id)
        .join(Test, Test.id == InstrumentChannel.test_id)
        .where(InstrumentChannel.state != ApprovalState.RETIRED)
        .group_by(Instrument.code, Test.code)
        .having(func.count() > 1)
        .order_by(Instrument.code, Test.code)
    )
    found = [Problem(code, "channel_mapped_twice", f"{test}: {names}") for code, test, names in twice]
    retired = session.execute(
        select(Instrument.code, InstrumentChannel.code, Test.code)
        .join(InstrumentChannel, InstrumentChannel.instrument_id == Instrument.id)
        .join(Test, Test.id == InstrumentChannel.test_id)
        .where(InstrumentChannel.state != ApprovalState.RETIRED, Test.state == ApprovalState.RETIRED)
    )
    return found + [Problem(code, "channel_of_retired_test", f"{name}: {test}") for code, name, test in retired]
