"""The life of a rule set: draft → tested on history → approved by another person → live from a date → retired.

A version that was ever approved is never changed; a correction is the next version. Who edited a version does not
approve it (the database refuses it too). What nobody approved runs in shadow only.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, defer

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.lis.authority.service import require_authority
from cloud.lis.autoverify.model import AutoDecision, RuleRevision, RuleSetState, RuleSetVersion
from cloud.lis.autoverify.stopping import decisions_wait
from cloud.lis.catalog.model import Test
from cloud.lis.results.signatory import Signatory, actor
from cloud.lis.verification import soundness
from cloud.lis.verification.kinds import Fault, faults
from cloud.lis.verification.ruleset import Rule, RuleSet, rule_from_json, rule_to_json
from cloud.lis.verification.soundness import Known
from cloud.web.i18n import mark as N_

ACTS = ("release", "review", "partial")
EDITABLE = (RuleSetState.DRAFT, RuleSetState.TESTED)
STALE = N_("规则集刚刚被他人修改，请核对更新后的页面再操作。")


def one(session: Session, set_id: uuid.UUID) -> RuleSetVersion:
    found = session.get(RuleSetVersion, set_id)
    if found is None:
        raise NotFound("rules.none", N_("没有这个规则集。"))
    return found


def versions(session: Session) -> Sequence[RuleSetVersion]:
    """Every version of every set, the newest of each first."""
    return session.scalars(select(RuleSetVersion).order_by(RuleSetVersion.code, RuleSetVersion.version.desc())).all()


def create(session: Session, *, by: Signatory, code: str, name: str, sections: Sequence[str]) -> RuleSetVersion:
    """A new, empty rule set."""
    _editor(by)
    if not code.strip() or not name.strip() or len(code) > 32:
        raise Invalid("rules.name", N_("请填写规则集的代码（不超过 32 字）和名称。"))
    if session.scalar(select(func.count()).where(RuleSetVersion.code == code.strip())):
        raise Conflict("rules.code", N_("已有代码为 {name} 的规则集。"), name=code.strip())
    return _add(session, by, code=code.strip(), version=1, name=name.strip(), sections=list(sections))


def next_version(session: Session, set_id: uuid.UUID, *, by: Signatory) -> RuleSetVersion:
    """A draft that begins as a copy of this version."""
    _editor(by)
    before = one(session, set_id)
    newest = session.scalars(
        select(RuleSetVersion)
        .where(RuleSetVersion.code == before.code)
        .order_by(RuleSetVersion.version.desc())
        .with_for_update()
    ).all()
    if newest[0].state in EDITABLE:
        raise Conflict(
            "rules.draft_open", N_("该规则集已有未批准的草案（第 {version} 版）。"), version=newest[0].version
        )
    return _add(
        session,
        by,
        code=before.code,
        version=newest[0].version + 1,
        name=before.name,
        sections=list(before.sections),
        rules=list(before.rules),
        act=before.act,
    )


def _add(session: Session, by: Signatory, **values: Any) -> RuleSetVersion:
    made = RuleSetVersion(**values, editors=[str(by.id)], edited_by_name=by.name, edited_at=clock.now())
    session.add(made)
    session.flush()
    _recorded(session, by, made, "rules.create", after={"code": made.code, "version": made.version})
    return made


def put_rule(session: Session, set_id: uuid.UUID, *, by: Signatory, revision: int, rule: Rule) -> Rule:
    """Add a rule (its id empty: the next free one) or put it in the place of the one with its id."""
    found = next(iter(faults(rule)), None)
    if found is not None and rule.active:
        raise RuleRefused(found)
    rules = _claim(session, set_id, by, revision)
    require_authority(session, by, "rule.edit", rule.scope.tests)
    known = [each["id"] for each in rules.rules]
    if not rule.id:
        rule = Rule(**{**_fields(rule), "id": _free_id(known)})
    stored = rule_to_json(rule)
    before = next((each for each in rules.rules if each["id"] == rule.id), None)
    kept = [stored if each["id"] == rule.id else each for each in rules.rules]
    rules.rules = kept if rule.id in known else [*kept, stored]
    _recorded(session, by, rules, "rules.rule", before={"rule": before}, after={"rule": stored})
    return rule


class RuleRefused(Invalid):
    """A rule that says something impossible; `fault` names the sentence."""

    def __init__(self, fault: Fault) -> None:
        super().__init__("rules.fault", N_("规则不完整：请看标出的内容。"), fault=fault.code)
        self.fault = fault


def drop_rule(session: Session, set_id: uuid.UUID, *, by: Signatory, revision: int, rule_id: str) -> None:
    rules = _claim(session, set_id, by, revision)
    before = next((each for each in rules.rules if each["id"] == rule_id), None)
    if before is None:
        raise NotFound("rules.no_rule", N_("没有这条规则，可能已被他人删除。"))
    rules.rules = [each for each in rules.rules if each["id"] != rule_id]
    _recorded(session, by, rules, "rules.rule_dropped", before={"rule": before})


def describe(
    session: Session,
    set_id: uuid.UUID,
    *,
    by: Signatory,
    revision: int,
    name: str,
    sections: Sequence[str],
    act: str,
    note: str,
) -> None:
    """Name, sections, what a pass does, and what the version changes."""
    if not name.strip() or act not in ACTS:
        raise Invalid("rules.describe", N_("请填写名称，并选择通过后做什么。"))
    rules = _claim(session, set_id, by, revision)
    was = {"name": rules.name, "sections": rules.sections, "act": rules.act, "note": rules.note}
    rules.name, rules.sections, rules.act, rules.note = name.strip(), list(sections), act, note.strip()
    now = {"name": rules.name, "sections": rules.sections, "act": rules.act, "note": rules.note}
    _recorded(session, by, rules, "rules.describe", before=was, after=now)


def set_shadow(session: Session, set_id: uuid.UUID, *, by: Signatory, on: bool) -> None:
    """Let it decide beside the laboratory, without any effect."""
    _editor(by)
    rules = one(session, set_id)
    rules.shadow = on
    _recorded(session, by, rules, "rules.shadow", after={"shadow": on})


def tested(session: Session, set_id: uuid.UUID, *, revision: int, backtest_id: uuid.UUID) -> bool:
    """A back-test of this revision is done. False: somebody edited it meanwhile, or something blocks it."""
    rules = session.get_one(RuleSetVersion, set_id, with_for_update=True)
    if rules.revision != revision or rules.state not in EDITABLE:
        return False
    if soundness.blocking(soundness.problems(compiled(rules), known_words(session))):
        return False
    if rules.state == RuleSetState.DRAFT:
        rules.move_to(RuleSetState.TESTED)
    rules.tested_at, rules.backtest_id = clock.now(), backtest_id
    return True


def approve(
    session: Session, set_id: uuid.UUID, *, by: Signatory, revision: int, live_from: datetime, reason: str
) -> RuleSetVersion:
    """Live from that moment on. Refused to whoever edited it, and before a test on history of what it says now."""
    if "rule.approve" not in by.permissions:
        raise Forbidden("rules.approve", N_("您没有批准规则集的权限。"))
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    decisions_wait(session)
    rules = session.get_one(RuleSetVersion, set_id, with_for_update=True, populate_existing=True)
    if rules.revision != revision:
        raise Conflict("rules.stale", STALE)
    if rules.state != RuleSetState.TESTED:
        raise Conflict("rules.untested", N_("规则集必须先用历史数据验证，且验证后没有再修改，才能批准。"))
    require_authority(session, by, "rule.approve", named_tests(rules))
    if str(by.id) in rules.editors:
        raise Forbidden("rules.own", N_("修改规则的人不能批准同一版本，请由另一位有权限的人批准。"))
    now = clock.now()
    if live_from < now:
        live_from = now
    _refuse_overlap(session, rules)
    rules.move_to(RuleSetState.APPROVED)
    rules.approved_by, rules.approved_by_name, rules.approved_at = by.id, by.name, now
    rules.live_from, rules.revision = live_from, rules.revision + 1
    _recorded(session, by, rules, "rules.approve", after={"live_from": live_from.isoformat()}, reason=reason.strip())
    return rules


def _refuse_overlap(session: Session, rules: RuleSetVersion) -> None:
    """A section is decided by one rule set."""
    for other in live(session, clock.now()):
        shared = set(other.sections) & set(rules.sections)
        if other.code != rules.code and (shared or not other.sections or not rules.sections):
            raise Conflict("rules.overlap", N_("规则集“{name}”已在同一专业组上线，请先停用它。"), name=other.name)


def retire(session: Session, set_id: uuid.UUID, *, by: Signatory, reason: str) -> None:
    """No longer used from this moment; earlier versions do not come back by themselves."""
    _editor(by)
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    decisions_wait(session)
    rules = session.get_one(RuleSetVersion, set_id, with_for_update=True, populate_existing=True)
    rules.move_to(RuleSetState.RETIRED)
    rules.shadow = False
    rules.retired_at, rules.retired_by_name, rules.retired_reason = clock.now(), by.name, reason.strip()
    _recorded(session, by, rules, "rules.retire", reason=reason.strip())


def live(session: Session, at: datetime) -> list[RuleSetVersion]:
    """The version of each set that decides at that moment: the newest begun, if it was not retired since."""
    begun = session.scalars(
        select(RuleSetVersion)
        .where(RuleSetVersion.approved_at.is_not(None), RuleSetVersion.live_from <= at)
        .order_by(RuleSetVersion.code, RuleSetVersion.live_from.desc(), RuleSetVersion.version.desc())
        .options(defer(RuleSetVersion.rules))
    )
    newest: dict[str, RuleSetVersion] = {}
    for each in begun:
        newest.setdefault(each.code, each)
    return [each for each in newest.values() if each.retired_at is None or each.retired_at > at]


def shadows(session: Session, at: datetime) -> list[RuleSetVersion]:
    """Those that run beside, besides what is live."""
    ids = {each.id for each in live(session, at)}
    found = session.scalars(
        select(RuleSetVersion)
        .where(RuleSetVersion.shadow)
        .order_by(RuleSetVersion.code)
        .options(defer(RuleSetVersion.rules))
    )
    return [each for each in found if each.id not in ids and each.state != RuleSetState.RETIRED]


def compiled(rules: RuleSetVersion) -> RuleSet:
    """As the decision reads it; kept while the revision is the same, so that the rules are read once."""
    return _compiled(rules.id, rules.revision, _Held(rules))


def keep_revision(session: Session, rules: RuleSetVersion) -> None:
    """Keep the rules as they stand at this revision; after a flush."""
    session.execute(
        insert(RuleRevision)
        .values(rule_set_id=rules.id, revision=rules.revision, rules=rules.rules, sections=rules.sections)
        .on_conflict_do_nothing()
    )


def as_decided(session: Session, decision: AutoDecision) -> RuleSet:
    """The rules with which this decision was taken, whatever became of them since."""
    rules = one(session, decision.rule_set_id)
    kept = session.get_one(RuleRevision, (decision.rule_set_id, decision.revision))
    parsed = tuple(rule_from_json(each) for each in kept.rules)
    return RuleSet(str(rules.id), rules.code, rules.version, parsed, tuple(kept.sections))


class _Held:
    """Carries a row past the cache, which compares ids and revisions only."""

    def __init__(self, rules: RuleSetVersion) -> None:
        self.rules = rules

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)


@lru_cache(maxsize=64)
def _compiled(set_id: uuid.UUID, revision: int, held: _Held) -> RuleSet:
    rules = held.rules
    parsed = tuple(rule_from_json(each) for each in rules.rules)
    return RuleSet(str(set_id), rules.code, rules.version, parsed, tuple(rules.sections))


def known_words(session: Session) -> Known:
    """What rules may name."""
    return Known({row.code: row.section for row in session.execute(select(Test.code, Test.section))})


def problems(session: Session, rules: RuleSetVersion) -> list[Fault]:
    """What is wrong with it, found by reading it."""
    return soundness.problems(compiled(rules), known_words(session))


def _claim(session: Session, set_id: uuid.UUID, by: Signatory, revision: int) -> RuleSetVersion:
    """Take the next revision of a version that may be edited; a tested one is a draft again."""
    _editor(by)
    claimed = session.execute(
        update(RuleSetVersion)
        .where(RuleSetVersion.id == set_id, RuleSetVersion.revision == revision, RuleSetVersion.state.in_(EDITABLE))
        .values(revision=RuleSetVersion.revision + 1)
        .returning(RuleSetVersion.id)
    ).first()
    if claimed is None:
        if one(session, set_id).state not in EDITABLE:
            raise Conflict("rules.closed", N_("已批准或停用的版本不能修改，请新建一版。"))
        raise Conflict("rules.stale", STALE)
    rules = session.get_one(RuleSetVersion, set_id, populate_existing=True)
    require_authority(session, by, "rule.edit", named_tests(rules))
    if rules.state == RuleSetState.TESTED:
        rules.move_to(RuleSetState.DRAFT)
    rules.tested_at = rules.backtest_id = None
    rules.edited_by_name, rules.edited_at = by.name, clock.now()
    if str(by.id) not in rules.editors:
        rules.editors = [*rules.editors, str(by.id)]
    return rules


def named_tests(rules: RuleSetVersion) -> list[str]:
    """Codes of the tests that its rules name: those whoever edits or approves it answers for."""
    return sorted({code for each in rules.rules for code in rule_from_json(each).scope.tests})


def _editor(by: Signatory) -> None:
    if "catalog.edit" not in by.permissions:
        raise Forbidden("rules.edit", N_("您没有维护规则集的权限。"))


def _fields(rule: Rule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in Rule.__slots__}


def _free_id(known: Sequence[str]) -> str:
    numbers = [int(each[1:]) for each in known if each[:1] == "r" and each[1:].isdigit()]
    return f"r{max(numbers, default=0) + 1}"


def _recorded(
    session: Session,
    by: Signatory,
    rules: RuleSetVersion,
    action: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str | None = None,
) -> None:
    session.flush()
    keep_revision(session, rules)
    record(
        session,
        actor=actor(by),
        action=action,
        aggregate=("rule_set", rules.id),
        before=before,
        after=after,
        reason=reason,
    )
