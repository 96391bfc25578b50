"""Sentences for codes: why a result is held, why one is unmatched, the state of a value."""

from __future__ import annotations

from typing import Any

from cloud.lis.calculation.wording import outcome_sentence
from cloud.lis.verification.sentences import finding_sentence
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

REASONS = {
    "instrument_flag": N_("仪器报警：{flags}"),
    "instrument_status": N_("仪器状态 {status}：不是最终结果"),
    "no_value": N_("没有结果值"),
    "no_number": N_("不是数字：{text}"),
    "no_titre": N_("不是滴度：{text}"),
    "no_range": N_("没有适用的参考区间"),
    "phase_unknown": N_("申请单未注明月经周期或孕周，列出各期参考区间，不作判断"),
    "not_comparable": N_("无法与参考区间比较：{text}"),
    "unit_unexpected": N_("仪器发来的单位 {unit} 与设定的 {expected} 不符，未换算"),
    "unit_converted": N_("已按单位表换算：{by}"),
    "hand_dilution": N_("手工稀释 {factor} 倍，结果已乘"),
    "dilution_doubt": N_("已登记手工稀释 {factor} 倍，但本结果可能已乘或不是稀释后测定，未再乘，请核对"),
    "critical": N_("危急值（界限 {limit}）"),
    "delta": N_("与上次相差过大"),
    "delta_unsure": N_("上次 {previous}，带 < > 的结果无法确定变化是否过大"),
    "part_exceeds_whole": N_("部分大于总量：{tests}"),
    "operand_held": N_("算式所用的项目尚待核对：{tests}"),
    "differential_sum": N_("五分类合计 {sum}%，不是 100%"),
}
UNMATCHED = {
    "no_barcode": N_("没有读到条码"),
    "unknown_specimen": N_("没有这个条码的标本"),
    "unknown_instrument": N_("仪器未登记"),
    "unknown_code": N_("项目代码未对照"),
    "not_ordered": N_("未申请该项目"),
    "closed_specimen": N_("标本已拒收或申请已取消"),
    "undecoded": N_("无法解码"),
}
STATES = {
    "received": N_("待初审"),
    "reviewed": N_("已初审"),
    "released": N_("已发布"),
    "superseded": N_("已被取代"),
    "rejected": N_("无效"),
}


def reason_text(reason: dict[str, Any]) -> str:
    """One reason of a verdict as a sentence."""
    if reason["code"] == "rule":
        return _("规则：{text}").format(text=finding_sentence(reason["fields"], {}))
    if reason["code"] == "not_calculated":
        return outcome_sentence(reason["fields"]["code"], reason["fields"]["fields"])
    fields = {
        key: "、".join(value) if isinstance(value, list) else str(value or "") if key == "text" else _plain(value)
        for key, value in reason["fields"].items()
    }
    if reason["code"] == "unit_unexpected" and not fields.get("expected"):
        return _("单位与设定不符：{unit}").format(**fields)
    sentence = _(REASONS[reason["code"]]) if reason["code"] in REASONS else str(reason["code"])
    try:
        return sentence.format(**fields)
    except KeyError:
        return sentence


def _plain(value: Any) -> str:
    text = "" if value is None else str(value)
    return text.rstrip("0").rstrip(".") if "." in text and text.replace(".", "").lstrip("-").isdigit() else text


def unmatched_text(code: str) -> str:
    return _(UNMATCHED[code]) if code in UNMATCHED else code


def state_text(code: str) -> str:
    return _(STATES[code]) if code in STATES else code
