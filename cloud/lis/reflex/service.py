"""The verbs of reflex rules: which act today, check, save a version, approve, retire. They never commit."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.lis.authority.service import require_authority
from cloud.lis.calculation.formula import Fault
from cloud.lis.calculation.service import Editor, known_tests
from cloud.lis.catalog.model import ApprovalState
from cloud.lis.reflex.model import ReflexRule
from cloud.lis.reflex.rule import Act, Rule, circle, faults
from cloud.web.i18n import mark as N_

_KEY = "lis.reflex.acting"


@dataclass(frozen=True, slots=True)
class Acting:
    row: ReflexRule
    rule: Rule


def acting(session: Session) -> list[Acting]:
    """Approved rules that hold today, by code; read once in a unit of work (a session is one)."""
    known: list[Acting] | None = session.info.get(_KEY)
    if known is None:
        today = clock.today()
        rows = session.scalars(
            select(ReflexRule)
            .where(
                ReflexRule.state == ApprovalState.APPROVED,
                ReflexRule.valid_from <= today,
                or_(ReflexRule.valid_to.is_(None), ReflexRule.valid_to > today),
            )
            .order_by(ReflexRule.code)
        )
        known = session.info[_KEY] = [Acting(row, row.rule()) for row in rows]
    return known


def newest(session: Session) -> list[ReflexRule]:
    """The newest version of every rule."""
    last = select(ReflexRule.code, func.max(ReflexRule.version).label("version")).group_by(ReflexRule.code).subquery()
    found = select(ReflexRule).join(last, (ReflexRule.code == last.c.code) & (ReflexRule.version == last.c.version))
    return list(session.scalars(found.order_by(ReflexRule.code)))


def check(session: Session, code: str, rule: Rule) -> list[Fault]:
    """Every fault by cell; a rule that would call itself back through others is one."""
    found = faults(rule, known_tests(session))
    if found:
        return found
    others = {
        each.code: (tuple(each.rule().judges), tuple(each.tests) if each.act == Act.ADD else ())
        for each in newest(session)
        if each.code != code and each.state != ApprovalState.RETIRED
    }
    way = circle(rule, others, code)
    return [Fault("tests", "rules_in_a_circle", {"way": " → ".join(way)})] if way else []


def save(
    session: Session, code: str, rule: Rule, *, title: str, source: str, by: Editor, reason: str = ""
) -> ReflexRule:
    """A new draft version. Nothing that was stored changes."""
    if "catalog.edit" not in by.permissions:
        raise Forbidden("forbidden", N_("您没有这项操作的权限，请联系管理员。"))
    require_authority(session, by, "rule.edit", rule.tests)
    if not code.strip() or not title.strip() or not source.strip():
        raise Invalid("reflex.incomplete", N_("请填写规则代码、名称与来源。"))
    if check(session, code, rule):
        raise Invalid("reflex.faults", N_("规则还有需要改正的地方，请看标红的位置。"))
    last = session.scalar(select(func.max(ReflexRule.version)).where(ReflexRule.code == code)) or 0
    row = ReflexRule(
        code=code.strip(),
        version=last + 1,
        title=title.strip(),
        condition=rule.condition,
        act=rule.act,
        tests=list(rule.tests),
        dilution=rule.dilution,
        text=rule.text,
        charged=rule.charged,
        times=rule.times,
        source=source.strip(),
        valid_from=clock.today(),
        edited_by=by.actor,
        edited_by_name=by.name,
        edited_reason=reason.strip(),
    )
    session.add(row)
    session.flush()
    _record(session, row, "reflex.edit", by.actor, reason)
    return row


def approve(session: Session, rule_id: uuid.UUID, *, by: Editor) -> ReflexRule:
    """A draft begins to act; the version before it ends. Never by who wrote it."""
    row = _for_decision(session, rule_id, by)
    if row.edited_by == by.actor:
        raise Forbidden("reflex.own", N_("编写规则的人不能批准它，请另一位有批准权限的人批准。"))
    if check(session, row.code, row.rule()):
        raise Conflict("reflex.faults_now", N_("按现在的项目字典与其他规则，这条规则有错误；请先改正再批准。"))
    done = session.scalar(
        update(ReflexRule)
        .where(ReflexRule.id == rule_id, ReflexRule.state == ApprovalState.DRAFT)
        .values(state=ApprovalState.APPROVED, approved_by=by.actor, approved_by_name=by.name, approved_at=clock.now())
        .returning(ReflexRule)
        .execution_options(populate_existing=True)
    )
    if done is None:
        raise Conflict("reflex.not_draft", N_("这一版已不是草案，可能已由他人处理。请刷新页面。"))
    session.execute(
        update(ReflexRule)
        .where(ReflexRule.code == row.code, ReflexRule.version < row.version, ReflexRule.valid_to.is_(None))
        .values(state=ApprovalState.RETIRED, valid_to=clock.today())
    )
    session.info.pop(_KEY, None)
    _record(session, done, "reflex.approve", by.actor, "")
    return done


def retire(session: Session, rule_id: uuid.UUID, *, by: Editor, reason: str) -> ReflexRule:
    """The rule acts no more; what it did stays."""
    row = _for_decision(session, rule_id, by)
    if not reason.strip():
        raise Invalid("reflex.reason", N_("请填写停用的原因。"))
    if row.state == ApprovalState.RETIRED:
        raise Conflict("reflex.retired", N_("这一版已经停用。"))
    row.state, row.valid_to = ApprovalState.RETIRED, clock.today()
    session.flush()
    session.info.pop(_KEY, None)
    _record(session, row, "reflex.retire", by.actor, reason)
    return row


def _for_decision(session: Session, rule_id: uuid.UUID, by: Editor) -> ReflexRule:
    if "catalog.approve" not in by.permissions:
        raise Forbidden("forbidden", N_("您没有这项操作的权限，请联系管理员。"))
    row = session.get(ReflexRule, rule_id, populate_existing=True, with_for_update=True)
    if row is None:
        raise NotFound("reflex.unknown", N_("没有这条规则。"))
    require_authority(session, by, "rule.approve", row.tests)
    return row


def _record(session: Session, row: ReflexRule, action: str, by: str, reason: str) -> None:
    audit.record(
        session,
        actor=by,
        action=action,
        aggregate=("reflex_rule", row.code),
        before=None,
        after={
            "version": row.version,
            "state": row.state,
            "condition": row.condition,
            "act": row.act,
            "tests": row.tests,
            "dilution": row.dilution,
            "charged": row.charged,
            "times": row.times,
            "source": row.source,
        },
        reason=reason.strip() or None,
    )
