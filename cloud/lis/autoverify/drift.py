"""Pass rates by test and day, counted from the stored decisions, and an alarm where a day does not fit those before."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Forbidden, Invalid
from cloud.kit.ids import new_id
from cloud.kit.live import announce
from cloud.lis.autoverify.model import AutoAlarm, AutoDay
from cloud.lis.autoverify.stopping import TOPIC
from cloud.lis.results.signatory import Signatory, actor
from cloud.lis.verification.pass_rate import DayCount, judge
from cloud.web.i18n import mark as N_

BASELINE = timedelta(days=60)


def count_and_compare(session: Session) -> list[AutoAlarm]:
    """Count yesterday and today anew, and judge yesterday (today is not over)."""
    today = clock.today()
    for day in (today - timedelta(days=1), today):
        count(session, day)
    return compare(session, today - timedelta(days=1))


def count(session: Session, day: date) -> None:
    """The day's numbers from its decisions; as often as one likes."""
    bounds = {"day": day, "start": clock.day_begins(day), "end": clock.day_begins(day + timedelta(days=1))}
    session.execute(_COUNT, bounds)


_COUNT = text(
    """
    WITH one AS (
        SELECT decision.rule_set_id, decision.mode, test.key AS code, test.value AS said
        FROM lab_auto_decision decision, jsonb_each(decision.outcome -> 'tests') test
        WHERE decision.at >= :start AND decision.at < :end
    ), held AS (
        SELECT rule_set_id, mode, code, jsonb_object_agg(rule, times) AS hits FROM (
            SELECT rule_set_id, mode, code, coalesce(nullif(found ->> 'rule', ''), found ->> 'kind') AS rule,
                   count(*) AS times
            FROM one, jsonb_array_elements(said -> 'findings') found
            WHERE found ->> 'outcome' = 'hold' GROUP BY 1, 2, 3, 4
        ) each_rule GROUP BY 1, 2, 3
    )
    INSERT INTO lab_auto_day (rule_set_id, mode, day, test_code, decided, passed, hits)
    SELECT one.rule_set_id, one.mode, :day, one.code, count(*), count(*) FILTER (WHERE (said ->> 'passed')::boolean),
           coalesce(held.hits, '{}'::jsonb)
    FROM one LEFT JOIN held USING (rule_set_id, mode, code)
    GROUP BY one.rule_set_id, one.mode, one.code, held.hits
    ON CONFLICT (rule_set_id, mode, day, test_code)
    DO UPDATE SET decided = excluded.decided, passed = excluded.passed, hits = excluded.hits
    """
)


def compare(session: Session, day: date) -> list[AutoAlarm]:
    """Alarms of that day, once each. Days that had an alarm are no baseline."""
    alarmed = {
        (each.rule_set_id, each.mode, each.test_code, each.day)
        for each in session.scalars(select(AutoAlarm).where(AutoAlarm.day >= day - BASELINE))
    }
    days: dict[tuple[uuid.UUID, str, str], list[AutoDay]] = {}
    rows = select(AutoDay).where(AutoDay.day >= day - BASELINE, AutoDay.day <= day).order_by(AutoDay.day)
    for row in session.scalars(rows.execution_options(populate_existing=True)):
        days.setdefault((row.rule_set_id, row.mode, row.test_code), []).append(row)
    made = []
    for key, counted in sorted(days.items()):
        last = counted[-1]
        before = [each for each in counted[:-1] if (*key, each.day) not in alarmed]
        if last.day != day or (*key, day) in alarmed:
            continue
        judged = judge(DayCount(last.decided, last.passed), [DayCount(each.decided, each.passed) for each in before])
        if judged is None or not judged.drifted:
            continue
        values = {
            "id": new_id(),
            "rule_set_id": key[0],
            "mode": key[1],
            "test_code": key[2],
            "day": day,
            "rate": judged.rate,
            "expected": judged.expected,
            "low": judged.low,
            "high": judged.high,
            "decided": last.decided,
            "raised_at": clock.now(),
        }
        raised = insert(AutoAlarm).values(values).on_conflict_do_nothing().returning(AutoAlarm)
        made += list(session.scalars(raised))
    if made:
        announce(session, TOPIC)
    return made


def open_alarms(session: Session) -> Sequence[AutoAlarm]:
    waiting = select(AutoAlarm).where(AutoAlarm.acknowledged_at.is_(None))
    return session.scalars(waiting.order_by(AutoAlarm.day.desc(), AutoAlarm.test_code)).all()


def acknowledge(session: Session, alarm_id: uuid.UUID, *, by: Signatory, reason: str) -> None:
    """Somebody looked, and says what it was."""
    if "result.release" not in by.permissions:
        raise Forbidden("alarm.forbidden", N_("您没有处置通过率报警的权限。"))
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    found = session.scalar(
        update(AutoAlarm)
        .where(AutoAlarm.id == alarm_id, AutoAlarm.acknowledged_at.is_(None))
        .values(
            acknowledged_at=clock.now(),
            acknowledged_by=by.id,
            acknowledged_by_name=by.name,
            reason=reason.strip(),
        )
        .returning(AutoAlarm.test_code)
    )
    if found is None:
        raise Conflict("alarm.already", N_("这条报警已经处置。"))
    record(
        session,
        actor=actor(by),
        action="autoverify.alarm",
        aggregate=("auto_alarm", alarm_id),
        after={"test": found},
        reason=reason.strip(),
    )
    announce(session, TOPIC)


def rates(session: Session, *, since: date, rule_set_id: uuid.UUID | None = None) -> Sequence[AutoDay]:
    """Every counted day from then on."""
    found = select(AutoDay).where(AutoDay.day >= since)
    if rule_set_id is not None:
        found = found.where(AutoDay.rule_set_id == rule_set_id)
    return session.scalars(found.order_by(AutoDay.test_code, AutoDay.day)).all()
