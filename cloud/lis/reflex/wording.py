"""Words of reflex rules: what they do, why they could not, what is wrong with one."""

from __future__ import annotations

from collections.abc import Mapping

from cloud.lis.calculation import wording
from cloud.lis.reflex.rule import Act
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

ACTS = {
    Act.ADD: N_("加做项目"),
    Act.REPEAT: N_("复检"),
    Act.DILUTE: N_("稀释复检"),
    Act.COMMENT: N_("加说明"),
}
WHY = {
    "": N_("已执行"),
    "other_specimen": N_("需要另一种标本"),
    "ordered_already": N_("已申请"),
    "released": N_("结果已发布"),
    "no_result": N_("没有结果"),
}
FAULTS = {
    "one_test": N_("加做请写一个或多个项目，其他动作请写一个项目。"),
    "dilution_wrong": N_("稀释倍数“{text}”不正确，请写 2 到 100000 的整数。"),
    "text_missing": N_("请写说明的内容。"),
    "times_wrong": N_("同一标本的执行次数须为 1 到 {most}。"),
    "adds_its_own": N_("{test} 已在条件中，不能由自己加做。"),
    "rules_in_a_circle": N_("规则互相触发成环：{way}。"),
}


def sentence(code: str, fields: Mapping[str, str]) -> str:
    """A fault of a rule; those of its condition are the formula's."""
    return _(FAULTS[code]).format(**fields) if code in FAULTS else wording.sentence(code, fields)
