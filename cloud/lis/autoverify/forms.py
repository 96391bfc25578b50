"""From the editor's form to a rule and back. Tests may be named by code, short name, name or pinyin initials."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.errors import Invalid
from cloud.lis.catalog.model import Test
from cloud.lis.catalog.rules import DAYS_PER_YEAR
from cloud.lis.verification.conditions import Unreadable, boxes, condition
from cloud.lis.verification.kinds import KINDS, Field
from cloud.lis.verification.ruleset import Rule, Scope
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

ROWS = 6
"""Conditions of one rule."""
LONGEST = 400
_SPLIT = re.compile(r"[\s,，、;；]+")
_AGE = re.compile(r"^(\d{1,5}(?:\.\d)?)\s*(岁|y|天|d|)$", re.IGNORECASE)

Form = Mapping[str, str]


def rule_from_form(session: Session, form: Form, *, rule_id: str, before: Rule | None, sections: Sequence[str]) -> Rule:
    """The rule as typed. `before`: the stored one, whose computed parts (spreads) stay. Raises `Invalid` in words."""
    kind = KINDS.get(form.get("kind", ""))
    if kind is None:
        raise Invalid("rules.kind", N_("请选择规则的种类。"))
    params = {each.name: _param(form, each, before) for each in kind.fields}
    return Rule(
        id=rule_id,
        kind=form["kind"],
        name=form.get("name", "").strip()[:LONGEST],
        scope=_scope(session, form, sections),
        params={name: value for name, value in params.items() if value not in (None, "", ())},
        whole=form.get("whole") == "yes",
        unknown="hold" if form.get("unknown") == "hold" else "pass",
        source=form.get("source", "").strip()[:LONGEST],
        active=form.get("active", "yes") == "yes",
    )


def _param(form: Form, field: Field, before: Rule | None) -> Any:
    text = form.get(f"p_{field.name}", "").strip()
    if field.type == "spreads":
        return before.params.get(field.name, {}) if before else {}
    if field.type == "conditions":
        return _conditions(form)
    if field.type == "words":
        return tuple(each for each in _SPLIT.split(text) if each)
    if field.type == "number":
        return _number(text, _(field.label))
    return text


def _number(text: str, label: str) -> Decimal | None:
    if not text:
        return None
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise Invalid("rules.number", N_("“{label}”不是数字：{text}"), label=label, text=text[:20])
    return found


def _conditions(form: Form) -> tuple[dict[str, Any], ...]:
    found = []
    for at in range(ROWS):
        left, op, right, high = (form.get(f"c{at}_{name}", "").strip() for name in ("left", "op", "right", "high"))
        if not left and not right:
            continue
        try:
            found.append(condition(left, op, right, high))
        except Unreadable as error:
            raise Invalid(
                "rules.condition",
                N_("第 {n} 个条件看不懂：{text}。请写项目代码和数字，例如 DBIL 或 3*HGB - 10*HCT。"),
                n=at + 1,
                text=str(error)[:60] or left,
            ) from error
    return tuple(found)


def _scope(session: Session, form: Form, sections: Sequence[str]) -> Scope:
    def words(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each for each in _SPLIT.split(form.get(name, "")) if each))

    sex = form.get("sex", "")
    return Scope(
        tests=resolve(session, words("tests"), sections),
        sections=tuple(each for each in words("sections")),
        instruments=words("instruments"),
        sex=sex if sex in ("M", "F") else "",
        age_min_days=_age(form.get("age_min", "")),
        age_max_days=_age(form.get("age_max", "")),
        departments=words("departments"),
        departments_except=words("departments_except"),
        diagnosis=words("diagnosis"),
        diagnosis_except=words("diagnosis_except"),
        specimen_types=words("specimen_types"),
        priority=form.get("priority", "") if form.get("priority") in ("S", "R") else "",
    )


def resolve(session: Session, typed: Sequence[str], sections: Sequence[str] = ()) -> tuple[str, ...]:
    """Codes of the tests that these words name; of two with one name the one of these sections."""
    if not typed:
        return ()
    rows = session.execute(select(Test.code, Test.short_name, Test.name, Test.pinyin, Test.section)).all()
    codes = []
    for word in typed:
        key = word.lower()
        exact = [row for row in rows if row.code.lower() == key]
        found = exact or [row for row in rows if key in (row.short_name.lower(), row.name.lower(), row.pinyin)]
        if len(found) > 1:
            found = [row for row in found if row.section in sections] or found
        if len(found) != 1:
            raise Invalid(
                "rules.test",
                N_("“{word}”不是项目字典里的一个项目（找到 {n} 个），请用项目代码。"),
                word=word[:30],
                n=len(found),
            )
        codes.append(found[0].code)
    return tuple(dict.fromkeys(codes))


def _age(text: str) -> int | None:
    """``18岁``, ``28天``; a number alone is years."""
    if not text.strip():
        return None
    found = _AGE.match(text.strip())
    if found is None:
        raise Invalid("rules.age", N_("年龄请写成 18岁 或 28天：{text}"), text=text[:20])
    number = Decimal(found[1])
    return int(number) if found[2].lower() in ("天", "d") else int(number * DAYS_PER_YEAR)


def age_box(days: int | None) -> str:
    """As it is typed again."""
    if days is None:
        return ""
    years = round(Decimal(days) / DAYS_PER_YEAR)
    return f"{years}岁" if years and int(years * DAYS_PER_YEAR) == days else f"{days}天"


def boxes_of(rule: Rule) -> dict[str, Any]:
    """What the form shows of a stored rule, by the names of its inputs."""
    scope = rule.scope
    shown: dict[str, Any] = {
        "kind": rule.kind,
        "name": rule.name,
        "source": rule.source,
        "whole": "yes" if rule.whole else "",
        "unknown": rule.unknown,
        "active": "yes" if rule.active else "",
        "sex": scope.sex,
        "priority": scope.priority,
        "age_min": age_box(scope.age_min_days),
        "age_max": age_box(scope.age_max_days),
    }
    for name in ("tests", "sections", "instruments", "departments", "departments_except"):
        shown[name] = " ".join(getattr(scope, name))
    for name in ("diagnosis", "diagnosis_except", "specimen_types"):
        shown[name] = " ".join(getattr(scope, name))
    for name, value in rule.params.items():
        if isinstance(value, Decimal):
            shown[f"p_{name}"] = f"{value:f}"
        elif name == "conditions":
            for at, each in enumerate(value):
                shown |= {f"c{at}_{key}": text for key, text in boxes(each).items()}
        elif isinstance(value, tuple):
            shown[f"p_{name}"] = " ".join(value)
        elif isinstance(value, str):
            shown[f"p_{name}"] = value
    return shown
