"""The wrong-tube detector's spreads and limit from the laboratory's own pairs, put into a draft as data."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import Conflict, NotFound
from cloud.lis.autoverify import rulesets
from cloud.lis.catalog.model import Test
from cloud.lis.results.model import Result, ResultState
from cloud.lis.results.signatory import Signatory
from cloud.lis.verification import wrong_tube
from cloud.lis.verification.ruleset import Rule, rule_from_json
from cloud.lis.verification.wrong_tube import Fitted, Pair
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from protocols.model import read_quantity

MOST_RESULTS = 400_000


def fit_rule(
    session: Session, set_id: uuid.UUID, *, by: Signatory, revision: int, rule_id: str, percent: Decimal
) -> Fitted:
    """Fit the rule's spreads, and the limit that holds `percent` of the laboratory's own specimens."""
    rules = rulesets.one(session, set_id)
    stored = next((each for each in rules.rules if each["id"] == rule_id and each["kind"] == "wrong_tube"), None)
    if stored is None:
        raise NotFound("rules.no_rule", N_("没有这条规则，可能已被他人删除。"))
    rule = rule_from_json(stored)
    pairs = own_pairs(session, rule)
    fitted = wrong_tube.fit(pairs, rate=float(percent) / 100, fewest_tests=int(rule.params["fewest"]))
    if not fitted.spreads or not fitted.pairs:
        raise Conflict("fit.few", N_("历史数据不足：至少需要 {n} 对同一患者的前后结果。"), n=wrong_tube.FEWEST_PAIRS)
    spreads = {
        code: {
            "within": _number(each.within),
            "between": _number(each.between),
            "log": each.log,
            "pairs": each.pairs,
            "weight": _number(each.weight),
        }
        for code, each in fitted.spreads.items()
    }
    source = _("本实验室历史 {n} 对标本，{day} 计算，限值使其中 {percent}% 转人工").format(
        n=fitted.pairs, day=clock.today().isoformat(), percent=percent
    )
    changed = Rule(
        id=rule.id,
        kind=rule.kind,
        name=rule.name,
        scope=rule.scope,
        params={**rule.params, "spreads": spreads, "limit": _number(fitted.limit)},
        unknown=rule.unknown,
        source=source,
        active=True,
    )
    rulesets.put_rule(session, set_id, by=by, revision=revision, rule=changed)
    return fitted


def own_pairs(session: Session, rule: Rule) -> Sequence[Pair]:
    """Released values with the one before, by specimen, the newest history first in, in the order of the tubes."""
    hours = rule.params["hours"]
    wanted = (
        select(Result.specimen_id, Test.code, Result.number, Result.previous_value, Result.previous_at)
        .add_columns(Result.received_at)
        .join(Test, Test.id == Result.test_id)
        .where(
            Result.chosen,
            Result.state == ResultState.RELEASED,
            Result.number.is_not(None),
            Result.comparator.is_(None),
            Result.previous_at.is_not(None),
        )
    )
    if rule.scope.tests:
        wanted = wanted.where(Test.code.in_(rule.scope.tests))
    if rule.scope.sections:
        wanted = wanted.where(Test.section.in_(rule.scope.sections))
    pairs: dict[uuid.UUID, dict[str, tuple[float, float]]] = {}
    for row in session.execute(wanted.order_by(Result.id.desc()).limit(MOST_RESULTS)):
        before = read_quantity(row.previous_value)
        age = (row.received_at - row.previous_at).total_seconds() / 3600
        if before is not None and not before.comparator and 0 <= age <= hours:
            pairs.setdefault(row.specimen_id, {})[row.code] = (float(before.number), float(row.number))
    return [pairs[each] for each in sorted(pairs)]


def _number(value: float) -> Decimal:
    return Decimal(f"{value:.6g}")
