"""Rules and findings as sentences that a lab person reads: what a rule says, and why a result was held, with values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from cloud.lis.catalog.words import SECTIONS, SPECIMENS
from cloud.lis.verification.kinds import KINDS
from cloud.lis.verification.ruleset import Rule, Scope
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

Names = Mapping[str, str]
"""What a test is called on the page, by code."""

_UNITS = {"difference": "", "percent": "%", "rate": N_("/天"), "percent_rate": N_("%/天"), "steps": N_(" 级")}
_SIDES = {"both": N_("变化"), "up": N_("升高"), "down": N_("降低")}
_QC = {
    "in_control": N_("在控"),
    "warning": N_("警告"),
    "out_of_control": N_("失控"),
    "none": N_("没有有效质控"),
    "unknown": N_("未判定"),
}
_FINDINGS = {
    "range": N_("{value} 不在 {low}～{high} 之内"),
    "plausible": N_("{value} 超出可能的范围 {low}～{high}"),
    "words": N_("“{value}”不是可以自动通过的结果（{allowed}）"),
    "delta": N_("与上次 {previous}（{hours} 小时前）相差 {change}{unit}，超过 {limit}{unit}"),
    "relation": N_("项目之间不合逻辑：{numbers}"),
    "index": N_("血清指数 {index} = {value}，超过 {limit}"),
    "flags": N_("仪器报警：{flags}"),
    "qc": N_("质控状态：{state}"),
    "reportable": N_("{value} 超出可报告范围 {low}～{high}"),
    "repeat": N_("复检 {value} 与前一次 {previous} 相差 {change}%，超过 {limit}%"),
    "age": N_("采集到测定 {hours} 小时，超过 {limit} 小时"),
    "exclude": N_("该患者不自动审核：{department} {diagnosis}"),
    "wrong_tube": N_("{tests} 个项目的变化合起来像另一个人的血（{score} 分，限值 {limit}）：{numbers}"),
    "no_value": N_("没有结果值"),
    "critical": N_("危急值 {value}"),
    "verdict": N_("结果本身需要人工查看"),
    "draft": N_("参考区间或界限仍是草案"),
    "rerun": N_("等待复检"),
    "typed": N_("手工录入的结果"),
    "qc_out": N_("{instrument} 该项目失控"),
    "concession": N_("让步检验的标本"),
    "stopped": N_("自动审核已停用：{which}"),
    "not_enabled": N_("该项目没有开通自动审核"),
}
GUARDS = {
    "no_value": N_("没有结果值"),
    "critical": N_("危急值"),
    "verdict": N_("结果本身需要人工查看"),
    "draft": N_("参考区间或界限仍是草案"),
    "rerun": N_("等待复检"),
    "typed": N_("手工录入的结果"),
    "qc_out": N_("失控"),
    "concession": N_("让步检验的标本"),
    "stopped": N_("已停用"),
    "not_enabled": N_("该项目没有开通自动审核"),
}
"""What holds a value whatever the rules say, in a word, where hits are counted."""
_WHY = {
    "no_range": N_("没有适用的参考区间"),
    "no_number": N_("结果不是数字"),
    "no_previous": N_("没有上次结果"),
    "window": N_("上次结果太久"),
    "not_evaluable": N_("上次结果为 0 或没有间隔，无法计算"),
    "no_index": N_("没有血清指数 {index}"),
    "qc_unknown": N_("质控未判定"),
    "no_time": N_("缺少采集或测定时间"),
    "few_tests": N_("有上次结果的项目太少"),
}
_DILUTED = N_("稀释 {dilution} 后测定")


def finding_sentence(found: Mapping[str, Any], names: Names) -> str:
    """Why one rule holds (or could not be evaluated), with the values it used. `found`: `Finding.to_json`."""
    values = dict(found["values"])
    why = values.get("why")
    if why is not None:
        return _(_WHY[why]).format_map(_Lenient(values)) if why in _WHY else str(why)
    if found["kind"] in ("reportable", "repeat") and values.get("dilution"):
        return _(_DILUTED).format(dilution=values["dilution"])
    if "numbers" in values:
        shown = {code: values["numbers"][code] for code in values["numbers"]}
        values["numbers"] = "，".join(f"{names.get(code, code)} {number}" for code, number in shown.items())
    if "method" in values:
        values["unit"] = _(_UNITS[values["method"]]) if _UNITS[values["method"]] else ""
    if found["kind"] == "qc":
        values["state"] = _(_QC[values["state"]])
    if "which" in values:
        values["which"] = "、".join(stop_name(each, names) for each in values["which"])
    sentence = _FINDINGS.get(found["kind"])
    return found["kind"] if sentence is None else _(sentence).format_map(_Lenient(values)).strip().rstrip(":：")


def stop_name(scope: str, names: Names) -> str:
    """``all``, ``test:K``, ``instrument:BS-1`` in words."""
    kind, _colon, key = scope.partition(":")
    if kind == "all":
        return _("全部")
    return names.get(key, key) if kind == "test" else key


def rule_sentence(rule: Rule, names: Names) -> str:
    """The whole rule in one sentence."""
    who = _scope_sentence(rule.scope, names)
    body = _body(rule, names)
    parts = [f"{who}：{body}" if who else body]
    if rule.kind not in ("enable", "wrong_tube") and rule.whole:
        parts.append(_("整份标本转人工"))
    if rule.unknown == "hold":
        parts.append(_("无法判断时也转人工"))
    return "；".join(parts) + "。"


def _scope_sentence(scope: Scope, names: Names) -> str:
    parts = []
    if scope.tests:
        parts.append("、".join(names.get(each, each) for each in scope.tests))
    if scope.sections:
        parts.append("、".join(_(SECTIONS.get(each, each)) for each in scope.sections))
    if scope.instruments:
        parts.append(_("仪器 {names}").format(names="、".join(scope.instruments)))
    if scope.sex:
        parts.append(_("男性") if scope.sex == "M" else _("女性"))
    ages = _ages(scope)
    if ages:
        parts.append(ages)
    if scope.specimen_types:
        parts.append("、".join(_(SPECIMENS.get(each, each)) for each in scope.specimen_types))
    if scope.departments:
        parts.append(_("科室 {names}").format(names="、".join(scope.departments)))
    if scope.departments_except:
        parts.append(_("除科室 {names} 外").format(names="、".join(scope.departments_except)))
    if scope.diagnosis:
        parts.append(_("诊断含 {names}").format(names=_("或").join(scope.diagnosis)))
    if scope.diagnosis_except:
        parts.append(_("诊断不含 {names}").format(names=_("或").join(scope.diagnosis_except)))
    if scope.priority:
        parts.append(_("急诊") if scope.priority == "S" else _("平诊"))
    return "，".join(parts)


def _ages(scope: Scope) -> str:
    low, high = scope.age_min_days, scope.age_max_days
    if low is None and high is None:
        return ""
    if high is None:
        return _("满 {low} 天").format(low=low)
    return _("{low} 至不满 {high} 天").format(low=low or 0, high=high)


def _body(rule: Rule, names: Names) -> str:
    params = rule.params
    if rule.kind == "delta":
        unit = _UNITS[params["method"]]
        return _("{hours} 小时内与上次结果相比{side}超过 {limit}{unit} 时转人工").format(
            hours=_number(params["hours"]),
            side=_(_SIDES[params.get("direction") or "both"]),
            limit=_number(params["limit"]),
            unit=_(unit) if unit else "",
        )
    if rule.kind == "relation":
        said = _(" 且 ").join(condition_sentence(each, names) for each in params["conditions"])
        return _("{conditions} 时转人工").format(conditions=said)
    if rule.kind in ("plausible", "reportable", "range"):
        return _bounds(rule)
    if rule.kind == "words":
        return _("结果不是 {words} 时转人工").format(words="、".join(params["allowed"]))
    if rule.kind == "index":
        return _("血清指数 {index} 超过 {limit} 时转人工").format(index=params["index"], limit=_number(params["limit"]))
    if rule.kind == "flags":
        letters = "、".join(params.get("letters") or ())
        if params["mode"] == "only":
            return _("仪器报警 {letters} 时转人工").format(letters=letters)
        if not letters:
            return _("有任何仪器报警时转人工")
        return _("有仪器报警（{letters} 除外）时转人工").format(letters=letters)
    if rule.kind == "qc":
        return _qc_body(params)
    if rule.kind == "repeat":
        return _repeat_body(params)
    if rule.kind == "age":
        return _("采集到测定超过 {hours} 小时时转人工").format(hours=_number(params["hours"]))
    if rule.kind == "wrong_tube":
        return _("{hours} 小时内至少 {fewest} 个项目有上次结果，综合分超过 {limit} 时整份标本转人工").format(
            hours=_number(params["hours"]), fewest=_number(params["fewest"]), limit=_number(params["limit"])
        )
    return _("可以自动审核") if rule.kind == "enable" else _("一律转人工")


def _bounds(rule: Rule) -> str:
    params = rule.params
    if params.get("basis") == "reference":
        return _("超出参考区间时转人工")
    low, high = params.get("low"), params.get("high")
    span = f"{_number(low)}～{_number(high)}" if low is not None and high is not None else ""
    span = span or (f"≥{_number(low)}" if low is not None else f"≤{_number(high)}")
    if rule.kind == "plausible":
        return _("超出可能的范围 {span} 时转人工").format(span=span)
    if rule.kind == "reportable":
        if low is None and high is None:
            return _("结果带 < > 时转人工")
        return _("超出可报告范围 {span} 时转人工").format(span=span)
    return _("超出审核范围 {span} 时转人工").format(span=span)


def _repeat_body(params: Mapping[str, Any]) -> str:
    said = []
    if params.get("percent") is not None:
        said.append(_("多次测定相差超过 {percent}% 时转人工").format(percent=_number(params["percent"])))
    if params.get("diluted") == "hold":
        said.append(_("稀释后测定的转人工"))
    return "，".join(said)


def _qc_body(params: Mapping[str, Any]) -> str:
    said = [_("失控时转人工")]
    if params["warning"] == "hold":
        said.append(_("警告时转人工"))
    if params["none"] == "hold":
        said.append(_("没有有效质控时转人工"))
    if params.get("hours") is not None:
        said.append(_("质控结果 {hours} 小时内有效").format(hours=_number(params["hours"])))
    return "，".join(said)


def condition_sentence(condition: Mapping[str, Any], names: Names) -> str:
    """``直接胆红素 > 总胆红素``; ``3×HGB − 1000×HCT 不在 −30～30 之间``."""
    terms: Sequence[tuple[str, Decimal]] = [(code, factor) for code, factor in condition["terms"]]
    op, value = condition["op"], condition.get("value")
    if op in ("outside", "inside"):
        left, low, high = _sum(terms, names), _number(value), _number(condition["high"])
        if op == "outside":
            return _("{left} 不在 {low}～{high} 之间").format(left=left, low=low, high=high)
        return _("{left} 在 {low}～{high} 之间").format(left=left, low=low, high=high)
    plus = [each for each in terms if each[1] > 0]
    minus = [(code, -factor) for code, factor in terms if factor < 0]
    if plus and minus and value == 0:
        return f"{_sum(plus, names)} {op} {_sum(minus, names)}"
    return f"{_sum(terms, names)} {op} {_number(value)}"


def _sum(terms: Sequence[tuple[str, Decimal]], names: Names) -> str:
    text = ""
    for code, factor in terms:
        size = abs(factor)
        said = names.get(code, code) if size == 1 else f"{_number(size)}×{names.get(code, code)}"
        sign = " − " if factor < 0 else " + "
        text = f"{text}{sign}{said}" if text else (f"−{said}" if factor < 0 else said)
    return text


def _number(value: Decimal | None) -> str:
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class _Lenient(dict[str, Any]):
    """A field that is not there is a dash, never a page that fails."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__({key: "—" if each is None else each for key, each in values.items()})

    def __missing__(self, key: str) -> str:
        return ""


def kind_label(kind: str) -> str:
    return _(KINDS[kind].label) if kind in KINDS else kind
