"""How cases are said on a page."""

from __future__ import annotations

from collections.abc import Sequence

from cloud.kit.errors import NotFound, XinglinError
from cloud.lis.infectious.model import CaseState, CaseStep, Condition, Disease, Marker
from cloud.lis.infectious.rules import DISMISSALS, Dismissal
from cloud.web.i18n import gettext as _
from cloud.web.i18n import language
from cloud.web.i18n import mark as N_

STATES = {
    CaseState.OPEN: (N_("待告知医生"), "bad"),
    CaseState.TOLD: (N_("已告知，待报告"), "warn"),
    CaseState.REPORTED: (N_("已报告"), "good"),
    CaseState.DISMISSED: (N_("已排除"), "neutral"),
    CaseState.DUPLICATE: (N_("重复病例"), "neutral"),
}
CLASSES = {"A": N_("甲类"), "B": N_("乙类"), "C": N_("丙类")}
CONDITIONS = {
    Condition.POSITIVE: N_("阳性或弱阳性"),
    Condition.DETECTED: N_("检出"),
    Condition.ABOVE: N_("大于界值"),
    Condition.TITRE: N_("滴度达到 1:n"),
}
STEPS = {
    "opened": N_("阳性指标发布，建立病例"),
    "told": N_("告知医生"),
    "reported": N_("报告"),
    "dismissed": N_("排除"),
    "duplicate": N_("标记为重复"),
    "reopened": N_("重新打开"),
    "withdrawn": N_("检验报告修正或召回，依据撤回"),
}
WAYS = {"phone": N_("电话"), "message": N_("消息"), "in_person": N_("当面")}


def state(which: str) -> tuple[str, str]:
    name, tone = STATES[CaseState(which)]
    return _(name), tone


def classes() -> list[tuple[str, str]]:
    return [(key, _(name)) for key, name in CLASSES.items()]


def legal_class(which: str) -> str:
    return _(CLASSES[which])


def disease_name(disease: Disease) -> str:
    return disease.name if language().startswith("zh") else disease.name_en


def condition(marker: Marker) -> str:
    if marker.condition == Condition.TITRE:
        return f"≥ 1:{marker.threshold:f}".rstrip("0").rstrip(".") if marker.threshold else _("阳性或弱阳性")
    if marker.condition == Condition.ABOVE and marker.threshold is not None:
        text = f"{marker.threshold:f}"
        return "> " + (text.rstrip("0").rstrip(".") if "." in text else text)
    return _(CONDITIONS[Condition(marker.condition)])


def conditions() -> list[tuple[str, str]]:
    return [(str(key), _(name)) for key, name in CONDITIONS.items()]


def ways() -> list[tuple[str, str]]:
    return [(key, _(name)) for key, name in WAYS.items()]


def clock_text(minutes: int | None) -> str:
    """``剩 3 小时 05 分`` or ``超 25 分``."""
    if minutes is None:
        return "—"
    whole = abs(minutes)
    span = (
        _("{h} 小时 {m} 分").format(h=whole // 60, m=f"{whole % 60:02}") if whole >= 60 else _("{n} 分").format(n=whole)
    )
    return _("超 {span}").format(span=span) if minutes < 0 else _("剩 {span}").format(span=span)


def step(each: CaseStep) -> str:
    """What was done, in one sentence."""
    said = _(STEPS.get(each.what, each.what))
    if each.what == "told":
        way = WAYS.get(each.detail.get("how", ""), "")
        return f"{said}：{each.detail.get('told', '')}" + (f"（{_(way)}）" if way else "")
    if each.what == "reported":
        return _("报告，卡片编号 {number}").format(number=each.detail.get("card", ""))
    if each.what == "duplicate":
        return _("与 {number} 号病例重复").format(number=each.detail.get("of", ""))
    if each.what == "dismissed" and each.reason in {str(d) for d in Dismissal}:
        return f"{said}：{_(DISMISSALS[Dismissal(each.reason)])}"
    return said


def share(value: float | None) -> str:
    return "—" if value is None else f"{value * 100:.1f} %"


def whole_number(text: str) -> int:
    """0 for what is none: no case and no version has it."""
    said = text.strip()
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0


def no_such_act() -> XinglinError:
    return NotFound("infectious.act", N_("没有这项操作。"))


def disease_options(diseases: Sequence[Disease]) -> list[tuple[str, str]]:
    return [(each.code, disease_name(each)) for each in diseases]
