"""The kinds of rule and what each asks of its author: the editor's forms and the checks are made from this table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cloud.lis.verification.change import METHODS
from cloud.lis.verification.ruleset import Rule
from cloud.web.i18n import mark as N_

OPERATORS = (">", ">=", "<", "<=", "outside", "inside")


@dataclass(frozen=True, slots=True)
class Field:
    """One input of a form. `type`: number, choice, words, conditions or spreads."""

    name: str
    label: str
    type: str = "number"
    choices: Mapping[str, str] | None = None
    required: bool = False
    positive: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of rule. `names_tests`: it must say which tests."""

    label: str
    hint: str
    fields: tuple[Field, ...] = ()
    names_tests: bool = False


_METHOD_NAMES = {
    "difference": N_("差值（项目单位）"),
    "percent": N_("变化百分比（除以上次结果）"),
    "rate": N_("每日变化（项目单位/天）"),
    "percent_rate": N_("每日变化百分比"),
    "steps": N_("级差（滴度的倍比级、等级的格数）"),
}
_DIRECTIONS = {"both": N_("升高或降低"), "up": N_("只看升高"), "down": N_("只看降低")}
_HOLD_OR_PASS = {"hold": N_("转人工"), "pass": N_("不影响")}

KINDS: dict[str, Kind] = {
    "enable": Kind(N_("允许自动审核的项目"), N_("没有列在这里的项目一律由人工审核"), names_tests=True),
    "range": Kind(
        N_("审核范围"),
        N_("超出参考区间，或超出本规则自定的审核范围时转人工"),
        (
            Field(
                "basis",
                N_("依据"),
                "choice",
                {"reference": N_("报告上的参考区间"), "limits": N_("自定范围")},
                required=True,
            ),
            Field("low", N_("下限")),
            Field("high", N_("上限")),
        ),
    ),
    "words": Kind(
        N_("定性结果"),
        N_("只有列出的文字可以自动通过，例如 阴性"),
        (Field("allowed", N_("可以通过的文字"), "words", required=True),),
        names_tests=True,
    ),
    "delta": Kind(
        N_("差值校验"),
        N_("与同一患者上次结果相比变化过大时转人工；上次结果为 0 时百分比无法计算"),
        (
            Field("method", N_("方法"), "choice", _METHOD_NAMES, required=True),
            Field("limit", N_("限值"), required=True, positive=True),
            Field("hours", N_("与上次结果相隔不超过（小时）"), required=True, positive=True),
            Field("direction", N_("方向"), "choice", _DIRECTIONS),
        ),
        names_tests=True,
    ),
    "plausible": Kind(
        N_("荒谬值"),
        N_("超出生理或技术上可能的范围"),
        (Field("low", N_("下限")), Field("high", N_("上限"))),
        names_tests=True,
    ),
    "relation": Kind(
        N_("项目间逻辑"),
        N_("所有条件同时成立时转人工，例如 直接胆红素 > 总胆红素"),
        (Field("conditions", N_("条件"), "conditions", required=True),),
    ),
    "index": Kind(
        N_("血清指数"),
        N_("溶血（H）、黄疸（I）、脂血（L）指数超过限值时，受干扰的项目转人工"),
        (
            Field(
                "index", N_("指数"), "choice", {"H": N_("溶血 H"), "I": N_("黄疸 I"), "L": N_("脂血 L")}, required=True
            ),
            Field("limit", N_("限值"), required=True),
        ),
        names_tests=True,
    ),
    "flags": Kind(
        N_("仪器报警"),
        N_("仪器随结果发来的报警标志"),
        (
            Field(
                "mode",
                N_("哪些标志转人工"),
                "choice",
                {"any_except": N_("除下列以外的任何标志"), "only": N_("只有下列标志")},
                required=True,
            ),
            Field("letters", N_("报警标志"), "words"),
        ),
    ),
    "qc": Kind(
        N_("质控状态"),
        N_("通道失控时一律转人工；这里规定警告和没有质控时怎么办"),
        (
            Field("warning", N_("质控警告时"), "choice", _HOLD_OR_PASS, required=True),
            Field("none", N_("没有有效质控时"), "choice", _HOLD_OR_PASS, required=True),
            Field("hours", N_("质控结果有效期（小时）"), positive=True),
        ),
    ),
    "reportable": Kind(
        N_("可报告范围"),
        N_("超出仪器的分析测量范围（AMR），或结果带 < > 时转人工"),
        (
            Field("low", N_("下限")),
            Field("high", N_("上限")),
            Field("diluted", N_("稀释后测定的结果"), "choice", _HOLD_OR_PASS),
        ),
        names_tests=True,
    ),
    "repeat": Kind(
        N_("复检一致性"),
        N_("同一标本多次测定相差过大，或经过稀释时转人工"),
        (
            Field("percent", N_("允许相差百分之几"), positive=True),
            Field("diluted", N_("稀释后测定的结果"), "choice", _HOLD_OR_PASS),
        ),
    ),
    "age": Kind(
        N_("标本时效"),
        N_("采集到测定的时间超过项目的稳定时间时转人工"),
        (Field("hours", N_("不超过（小时）"), required=True, positive=True),),
        names_tests=True,
    ),
    "exclude": Kind(N_("不自动审核的患者"), N_("适用范围内（科室、诊断、年龄等）的结果一律转人工")),
    "wrong_tube": Kind(
        N_("错管识别（综合差值）"),
        N_("多个项目的变化合起来像另一个人的血时，整份标本转人工；限值由本实验室历史数据计算"),
        (
            Field("limit", N_("综合分限值"), required=True),
            Field("fewest", N_("至少几个项目有上次结果"), required=True, positive=True),
            Field("hours", N_("与上次结果相隔不超过（小时）"), required=True, positive=True),
            Field("spreads", N_("各项目的离散度"), "spreads"),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a rule. `code` is stable; `fields` fill its sentence."""

    rule: str
    code: str
    fields: dict[str, Any]


def faults(rule: Rule) -> Iterable[Fault]:
    """What keeps the rule from being used at all."""
    kind = KINDS.get(rule.kind)
    if kind is None:
        yield Fault(rule.id, "unknown_kind", {"kind": rule.kind})
        return
    if not rule.source.strip():
        yield Fault(rule.id, "no_source", {})
    if kind.names_tests and not (rule.scope.tests or rule.scope.sections):
        yield Fault(rule.id, "no_tests", {})
    for each in kind.fields:
        yield from _field_faults(rule, each)
    yield from _bound_faults(rule)
    scope = rule.scope
    if scope.age_min_days is not None and scope.age_max_days is not None and scope.age_min_days >= scope.age_max_days:
        yield Fault(rule.id, "ages_reversed", {})


def _field_faults(rule: Rule, asked: Field) -> Iterable[Fault]:
    value = rule.params.get(asked.name)
    if value in (None, "", ()):
        if asked.required:
            yield Fault(rule.id, "field_missing", {"field": asked.label})
        return
    if asked.type == "number":
        if not isinstance(value, Decimal) or not value.is_finite():
            yield Fault(rule.id, "no_number", {"field": asked.label})
        elif asked.positive and value <= 0:
            yield Fault(rule.id, "not_positive", {"field": asked.label})
    elif asked.type == "choice" and value not in (asked.choices or {}):
        yield Fault(rule.id, "no_choice", {"field": asked.label})
    elif asked.type == "conditions":
        yield from _condition_faults(rule, value)


def _condition_faults(rule: Rule, conditions: Any) -> Iterable[Fault]:
    for each in conditions:
        terms = each.get("terms", ())
        right = each.get("high") if each.get("op") in ("outside", "inside") else each.get("value")
        whole = terms and all(isinstance(factor, Decimal) and factor != 0 for _, factor in terms)
        if not whole or each.get("op") not in OPERATORS or not isinstance(right, Decimal):
            yield Fault(rule.id, "bad_condition", {})


def _bound_faults(rule: Rule) -> Iterable[Fault]:
    low, high = rule.params.get("low"), rule.params.get("high")
    if isinstance(low, Decimal) and isinstance(high, Decimal) and low >= high:
        yield Fault(rule.id, "bounds_reversed", {"low": str(low), "high": str(high)})
    needs = rule.kind == "plausible" or (rule.kind == "range" and rule.params.get("basis") == "limits")
    if needs and low is None and high is None:
        yield Fault(rule.id, "no_bounds", {})


assert set(_METHOD_NAMES) == set(METHODS)
