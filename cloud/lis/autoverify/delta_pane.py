"""The delta section on a test's own page: the limit that every value is held by, and the delta rules about the test."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.lis.autoverify import reading, rulesets
from cloud.lis.autoverify.model import RuleSetState
from cloud.lis.catalog.model import Test
from cloud.lis.verification import delta
from cloud.lis.verification.facts import TestFact
from cloud.lis.verification.sentences import rule_sentence


@dataclass(frozen=True, slots=True)
class SaidRule:
    """A delta rule of a rule set that speaks about the test."""

    set_id: uuid.UUID
    set_name: str
    version: int
    state: str
    shadow: bool
    sentence: str
    source: str


@dataclass(frozen=True, slots=True)
class Delta:
    limit: delta.SourcedLimit | None
    in_force: bool
    """A draft limit holds nothing in production."""
    rules: tuple[SaidRule, ...]


def delta_of(session: Session, test: Test) -> Delta:
    """What holds a value of the test for its change since the last one."""
    names = reading.short_names(session)
    fact = TestFact(test.code, section=test.section, value_type=test.value_type)
    said: list[SaidRule] = []
    for each in rulesets.versions(session):
        if each.state == RuleSetState.RETIRED:
            continue
        for rule in rulesets.compiled(each).rules_for(fact):
            if rule.kind == "delta":
                sentence = rule_sentence(rule, names)
                said.append(SaidRule(each.id, each.name, each.version, each.state, each.shadow, sentence, rule.source))
    in_force = delta.limit_for(test.code, production=settings().environment == "production") is not None
    return Delta(delta.LIMITS.get(test.code), in_force, tuple(said))
