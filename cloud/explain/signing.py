"""Who signed, and the right they had at that second: from the audit trail of accounts and from the grants."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.explain.again import Check
from cloud.kit import clock
from cloud.kit.audit import AuditEntry, body, chained_hash
from cloud.lis.authority.reading import grants_of, keys_of, policies
from cloud.lis.authority.rules import Moment, answer
from cloud.lis.authority.words import ACTS
from cloud.lis.autoverify.model import AutoDecision, AutoFacts, RuleSetVersion
from cloud.lis.autoverify.rulesets import as_decided
from cloud.lis.verification.deciding import decide
from cloud.lis.verification.facts import from_json
from cloud.staff.roles import permissions_of


def right(session: Session, staff_id: uuid.UUID, name: str, act: str, at: datetime, tests: Sequence[str]) -> Check:
    """Whether the roles of that second allow the act and, where grants were enforced, one stood for each test."""
    rules = session.get(RuleSetVersion, staff_id)
    if rules is not None:
        says = (
            f"{name}: rule set {rules.code} version {rules.version}, approved by {rules.approved_by_name or 'nobody'}"
        )
        live = rules.approved_at is not None and rules.approved_at <= at
        return Check(act, f"{says}, {at:%F %T}Z", live)
    roles = roles_at(session, staff_id, at)
    who = f"{name} ({staff_id}), {at:%F %T}Z"
    if roles is None:
        return Check(act, f"{who}: no account of that id stands in the audit trail", False)
    allowed = ACTS[act][1] in permissions_of(roles)
    says = f"{who}, roles {', '.join(sorted(roles)) or 'none'}"
    ruling = policies(session, at).get(act)
    if ruling is None or not ruling.enforced:
        return Check(act, f"{says}; grants were not enforced", allowed)
    moment = Moment(at, clock.local(at).date())
    held = grants_of(session, staff_id, act)
    lacking = [code for code, key in keys_of(session, tests).items() if not answer(held, key, moment).allowed]
    says += f"; grant for {len(tests) - len(lacking)} of {len(tests)} tests"
    return Check(act, says + (f", lacking {', '.join(lacking)}" if lacking else ""), allowed and not lacking)


def roles_at(session: Session, staff_id: uuid.UUID, at: datetime) -> set[str] | None:
    """As the account's own chain tells them; None before it was made."""
    entries = session.scalars(
        select(AuditEntry)
        .where(AuditEntry.kind == "staff", AuditEntry.aggregate_id == str(staff_id), AuditEntry.at <= at)
        .order_by(AuditEntry.number)
    )
    roles: set[str] | None = None
    for each in entries:
        if each.action in ("staff.create", "staff.set_roles") and each.after is not None:
            roles = set(each.after.get("roles", ()))
    return roles


def chain(session: Session, kind: str, aggregate_id: object) -> tuple[Check, list[AuditEntry]]:
    """The audit entries of one thing, each hash worked out again."""
    entries = list(
        session.scalars(
            select(AuditEntry)
            .where(AuditEntry.kind == kind, AuditEntry.aggregate_id == str(aggregate_id))
            .order_by(AuditEntry.number)
        )
    )
    previous, whole = b"", True
    for number, each in enumerate(entries, 1):
        content = body(
            each.kind, each.aggregate_id, each.at, each.actor, each.action, each.before, each.after, each.reason
        )
        whole = whole and each.number == number and chained_hash(previous, number, content) == each.hash
        previous = each.hash
    says = f"{kind} {aggregate_id}: {len(entries)} entries ({', '.join(each.action for each in entries) or 'none'})"
    return Check("audit", says, whole and bool(entries)), entries


def decisions(session: Session, specimen_id: uuid.UUID) -> Iterable[Check]:
    """What rule sets said of the tube, decided again from the facts they saw."""
    rows = session.execute(
        select(AutoDecision, AutoFacts, RuleSetVersion)
        .join(AutoFacts, AutoFacts.id == AutoDecision.facts_id)
        .join(RuleSetVersion, RuleSetVersion.id == AutoDecision.rule_set_id)
        .where(AutoDecision.specimen_id == specimen_id)
        .order_by(AutoDecision.at, AutoDecision.id)
    )
    for decision, facts, rules in rows:
        again = decide(from_json(facts.facts), as_decided(session, decision)).to_json()
        says = f"{rules.code} version {rules.version} ({decision.mode}) {decision.at:%F %T}Z:"
        says += f" {'passed' if decision.passed else 'held'}, {decision.action}"
        yield Check("rule set", says, again == decision.outcome)
