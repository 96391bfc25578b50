"""A rule set tried on the laboratory's own history: what it would have passed, beside what people did.

The same `decide` on the values as they first came. What a person did is read from what is stored, never guessed: a
result was held by a person who had it measured again, chose another run, typed over it, called it invalid, rejected the
tube, or amended or recalled its report. Everything else was accepted as it came.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Invalid
from cloud.kit.jobs import enqueue
from cloud.kit.live import announce
from cloud.lis.autoverify import rulesets
from cloud.lis.autoverify.gathering import Rows, first_facts, rows_of
from cloud.lis.autoverify.model import Backtest
from cloud.lis.autoverify.stopping import TOPIC
from cloud.lis.reports.model import Report, ReportState
from cloud.lis.results.model import Result, ResultState
from cloud.lis.results.signatory import Signatory, actor
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.verification import soundness
from cloud.lis.verification.checks import UNKNOWN
from cloud.lis.verification.confusion import count
from cloud.lis.verification.deciding import Decision, decide
from cloud.lis.verification.ruleset import RuleSet, rule_from_json
from cloud.web.i18n import mark as N_

MOST = 20_000
SHOWN = 30
"""Specimens named as examples, of each kind."""
FINISHED = (SpecimenState.DONE, SpecimenState.REJECTED)
CORRECTED = (ReportState.AMENDED, ReportState.RECALLED)


def ask(session: Session, set_id: uuid.UUID, *, by: Signatory, since: date, until: date, most: int = 2_000) -> Backtest:
    """Put a test on history in the queue; its page shows it when it is done."""
    if since > until or not 1 <= most <= MOST:
        raise Invalid("backtest.span", N_("请检查日期和标本数（1 到 {most}）。"), most=MOST)
    rules = rulesets.one(session, set_id)
    made = Backtest(
        rule_set_id=rules.id,
        revision=rules.revision,
        since=since,
        until=until,
        most=most,
        asked_at=clock.now(),
        asked_by=by.id,
        asked_by_name=by.name,
        rules=list(rules.rules),
    )
    session.add(made)
    session.flush()
    span = {"backtest": str(made.id), "since": since.isoformat(), "until": until.isoformat(), "most": most}
    record(session, actor=actor(by), action="rules.backtest", aggregate=("rule_set", rules.id), after=span)
    enqueue(session, "autoverify.backtest", backtest_id=str(made.id))
    return made


def run(session: Session, backtest_id: uuid.UUID) -> Backtest:
    """Do it. Done twice it gives the same and counts once."""
    asked = session.get_one(Backtest, backtest_id, with_for_update=True)
    if asked.state == "done":
        return asked
    rules = rulesets.one(session, asked.rule_set_id)
    tried = RuleSet(
        str(rules.id),
        rules.code,
        rules.version,
        tuple(rule_from_json(each) for each in asked.rules),
        tuple(rules.sections),
    )
    tally = try_out(session, tried, since=asked.since, until=asked.until, most=asked.most)
    asked = session.get_one(Backtest, backtest_id)
    asked.outcome = tally.to_json(soundness.problems(tried, rulesets.known_words(session)))
    asked.state, asked.done_at = "done", clock.now()
    session.flush()
    if tally.specimens:
        rulesets.tested(session, asked.rule_set_id, revision=asked.revision, backtest_id=asked.id)
    announce(session, TOPIC, {"backtest": str(asked.id)})
    return asked


def try_out(session: Session, tried: RuleSet, *, since: date, until: date, most: int) -> Tally:
    """Decide on the newest finished specimens of the span, oldest first; stores nothing."""
    tally = Tally(tried)
    for specimen_id in _specimens(session, since, until, most):
        rows = rows_of(session, specimen_id)
        if any(rows.results.values()):
            _try(session, rows, tried, tally)
        session.expire_all()
    return tally


def _specimens(session: Session, since: date, until: date, most: int) -> Sequence[uuid.UUID]:
    start, end = clock.day_begins(since), clock.day_begins(until + timedelta(days=1))
    found = session.scalars(
        select(Specimen.id)
        .where(Specimen.state.in_(FINISHED), Specimen.received_at >= start, Specimen.received_at < end)
        .order_by(Specimen.received_at.desc())
        .limit(most)
    ).all()
    return list(reversed(found))


def _try(session: Session, rows: Rows, tried: RuleSet, tally: Tally) -> None:
    facts = first_facts(session, rows)
    decided = decide(facts, tried)
    if not decided.tests:
        return
    if _by_rules(rows):
        tally.by_rules += 1
        return
    corrected = session.scalar(select(Report.state).where(Report.specimen_id == rows.specimen.id)) in CORRECTED
    rejected = rows.specimen.state == SpecimenState.REJECTED
    wanted = {test.code for item, test in rows.ordered if _handled([each for each, _ in rows.results.get(item.id, ())])}
    tally.add(rows.specimen, decided, wanted, whole=rejected or corrected)


def _by_rules(rows: Rows) -> bool:
    """Rules released it: nobody's own judgement is stored."""
    return any(each.decision.get("versions", {}).get("auto") for each in rows.open_results)


def _handled(runs: Iterable[Result]) -> bool:
    """Whether a person did not take the first value as it came."""
    found = list(runs)
    return len(found) > 1 or any(
        each.rerun_requested_at is not None or each.state == ResultState.REJECTED or each.entered_by is not None
        for each in found
    )


@dataclass(slots=True)
class Tally:
    """Counted while history goes by."""

    tried: RuleSet
    specimens: int = 0
    by_rules: int = 0
    whole: list[tuple[bool, bool]] = field(default_factory=list)
    """(held, a person held) of each specimen."""
    tests: dict[str, list[tuple[bool, bool]]] = field(default_factory=dict)
    hits: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    """Held by this rule and nothing else."""
    unknown: Counter[str] = field(default_factory=Counter)
    missed: list[dict[str, str]] = field(default_factory=list)
    needless: list[dict[str, str]] = field(default_factory=list)

    def add(self, specimen: Specimen, decided: Decision, wanted: set[str], *, whole: bool) -> None:
        self.specimens += 1
        positive = whole or bool(wanted & {each.code for each in decided.tests})
        held = not all(each.passed for each in decided.tests)
        self.whole.append((held, positive))
        if held != positive:
            named = {"id": str(specimen.id), "accession": specimen.accession}
            kind = self.missed if positive else self.needless
            if len(kind) < SHOWN:
                kind.append(named)
        for each in decided.tests:
            self.tests.setdefault(each.code, []).append((not each.passed, whole or each.code in wanted))
            by = {found.rule or found.kind for found in each.held_by}
            self.hits.update(by)
            if len(by) == 1:
                self.alone.update(by)
            self.unknown.update(found.rule for found in each.findings if found.outcome == UNKNOWN)

    def to_json(self, problems: Sequence[Any]) -> dict[str, Any]:
        active = [each for each in self.tried.rules if each.active and each.kind != "enable"]
        return {
            "specimens": self.specimens,
            "by_rules": self.by_rules,
            "confusion": count(self.whole).to_json(),
            "tests": {code: count(each).to_json() for code, each in sorted(self.tests.items())},
            "rules": {
                each.id: {"hits": self.hits[each.id], "alone": self.alone[each.id], "unknown": self.unknown[each.id]}
                for each in active
            },
            "guards": {name: n for name, n in sorted(self.hits.items()) if name not in {each.id for each in active}},
            "never": [each.id for each in active if not self.hits[each.id]],
            "problems": [{"rule": each.rule, "code": each.code, "fields": each.fields} for each in problems],
            "missed": self.missed,
            "needless": self.needless,
        }
