"""What the pages of the automatic verification show, put together from the tables."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.lis.autoverify import rulesets
from cloud.lis.autoverify.model import AutoDay, AutoDecision, AutoFacts, Backtest, RuleSetState, RuleSetVersion
from cloud.lis.catalog.model import Test
from cloud.lis.verification.sentences import Names, finding_sentence
from cloud.web.i18n import language


def names(session: Session) -> Names:
    """What a test is called, by code."""
    english = language() == "en"
    rows = session.execute(select(Test.code, Test.name, Test.name_en))
    return {row.code: row.name_en if english else row.name for row in rows}


def short_names(session: Session) -> Names:
    """As a dense table and the laboratory itself say it (ALT), by code."""
    return {row.code: row.short_name for row in session.execute(select(Test.code, Test.short_name))}


@dataclass(frozen=True, slots=True)
class Standing:
    """One version as the list shows it."""

    rules: RuleSetVersion
    live: bool
    problems: int
    decided: int
    passed: int
    """Specimens of the last seven days."""

    @property
    def rate(self) -> float | None:
        return self.passed * 100 / self.decided if self.decided else None


def standings(session: Session, *, all_versions: bool = False) -> list[Standing]:
    """Live versions, drafts and those ahead; with `all_versions` the replaced and retired too."""
    now = clock.now()
    live = {each.id for each in rulesets.live(session, now)}
    counted = {
        row.rule_set_id: (row.decided, row.passed)
        for row in session.execute(
            select(
                AutoDecision.rule_set_id,
                func.count().label("decided"),
                func.count().filter(AutoDecision.passed).label("passed"),
            )
            .where(AutoDecision.at >= now - timedelta(days=7))
            .group_by(AutoDecision.rule_set_id)
        )
    }
    found = []
    for each in rulesets.versions(session):
        ahead = each.state == RuleSetState.APPROVED and each.live_from is not None and each.live_from > now
        if all_versions or each.id in live or ahead or each.state in rulesets.EDITABLE:
            problems = len(rulesets.problems(session, each))
            found.append(Standing(each, each.id in live, problems, *counted.get(each.id, (0, 0))))
    return found


@dataclass(frozen=True, slots=True)
class Rate:
    """Pass rate of one test over a span, with its days."""

    code: str
    decided: int
    passed: int
    days: tuple[tuple[date, int, int], ...]
    hits: tuple[tuple[str, int], ...]

    @property
    def percent(self) -> float:
        return self.passed * 100 / self.decided


def rates(session: Session, rule_set_id: uuid.UUID, mode: str, *, since: date) -> list[Rate]:
    """By test, the lowest rate first: where work is."""
    rows = session.scalars(
        select(AutoDay)
        .where(AutoDay.rule_set_id == rule_set_id, AutoDay.mode == mode, AutoDay.day >= since)
        .order_by(AutoDay.day)
    )
    by_test: dict[str, list[AutoDay]] = {}
    for row in rows:
        by_test.setdefault(row.test_code, []).append(row)
    found = []
    for code, days in by_test.items():
        hits: dict[str, int] = {}
        for each in days:
            for rule, times in each.hits.items():
                hits[rule] = hits.get(rule, 0) + times
        most = tuple(sorted(hits.items(), key=lambda one: (-one[1], one[0]))[:5])
        counted = tuple((each.day, each.decided, each.passed) for each in days)
        found.append(Rate(code, sum(each[1] for each in counted), sum(each[2] for each in counted), counted, most))
    return sorted(found, key=lambda each: (each.percent, each.code))


def backtests(session: Session, rule_set_id: uuid.UUID) -> Sequence[Backtest]:
    mine = select(Backtest).where(Backtest.rule_set_id == rule_set_id)
    return session.scalars(mine.order_by(Backtest.asked_at.desc()).limit(20)).all()


@dataclass(frozen=True, slots=True)
class Explained:
    """One decision with its sentences."""

    decision: AutoDecision
    rules: RuleSetVersion
    facts: dict[str, Any]
    tests: tuple[tuple[str, bool, tuple[str, ...], tuple[str, ...]], ...]
    """(test, passed, why it was held, what could not be evaluated)."""


def explained(session: Session, specimen_id: uuid.UUID) -> list[Explained]:
    """Every decision on a specimen, the newest first, from what is stored."""
    rows = session.execute(
        select(AutoDecision, AutoFacts, RuleSetVersion)
        .join(AutoFacts, AutoFacts.id == AutoDecision.facts_id)
        .join(RuleSetVersion, RuleSetVersion.id == AutoDecision.rule_set_id)
        .where(AutoDecision.specimen_id == specimen_id)
        .order_by(AutoDecision.id.desc())
    )
    called = names(session)
    return [Explained(decision, rules, facts.facts, _sentences(decision, called)) for decision, facts, rules in rows]


def _sentences(decision: AutoDecision, called: Names) -> tuple[tuple[str, bool, tuple[str, ...], tuple[str, ...]], ...]:
    return tuple(
        (
            called.get(code, code),
            said["passed"],
            _of(said["findings"], "hold", called),
            _of(said["findings"], "unknown", called),
        )
        for code, said in decision.outcome["tests"].items()
    )


def _of(findings: Sequence[dict[str, Any]], outcome: str, called: Names) -> tuple[str, ...]:
    return tuple(finding_sentence(each, called) for each in findings if each["outcome"] == outcome)
