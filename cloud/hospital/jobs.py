"""Every night sessions are published as far ahead as the settings say."""

from __future__ import annotations

import structlog

from cloud.hospital import rolling
from cloud.kit.jobs import Begin, job

log = structlog.get_logger()


@job("hospital.publish_ahead", own_transactions=True, every="40 17 * * *")
def publish_ahead(begin: Begin, by: str = "system") -> None:
    """A day in each unit of work; at 01:40 in China."""
    with begin() as session:
        days = list(rolling.days_ahead(session))
    for day in days:
        with begin() as session:
            rolled = rolling.publish_day(session, day, by=by)
        if rolled.kept_out:
            log.warning("timetable lines kept out", day=day.isoformat(), lines=rolled.kept_out)
