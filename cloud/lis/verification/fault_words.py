"""The findings about a rule set as sentences."""

from __future__ import annotations

from cloud.lis.verification.kinds import Fault
from cloud.lis.verification.sentences import Names
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

_FAULTS = {
    "unknown_kind": N_("没有这种规则：{kind}"),
    "no_source": N_("没有写明依据"),
    "no_tests": N_("没有说明适用的项目"),
    "field_missing": N_("缺少“{field}”"),
    "no_number": N_("“{field}”不是数字"),
    "not_positive": N_("“{field}”必须大于 0"),
    "no_choice": N_("“{field}”的选择无效"),
    "bad_condition": N_("有一个条件不完整"),
    "bounds_reversed": N_("下限 {low} 不小于上限 {high}"),
    "no_bounds": N_("上限和下限至少填一个"),
    "ages_reversed": N_("年龄范围上下颠倒"),
    "unknown_test": N_("项目字典里没有：{tests}"),
    "nobody": N_("适用范围里没有任何患者：限定与排除互相抵消"),
    "never_true": N_("条件互相矛盾，永远不会成立"),
    "duplicate": N_("与规则 {other} 完全相同"),
    "covered": N_("永远轮不到它：规则 {other} 已经拦下它会拦下的全部结果"),
    "idle": N_("它所说的项目都没有开通自动审核，不起作用"),
    "always_excluded": N_("{test} 已开通，但这条规则使它永远不能通过"),
    "nothing_passes": N_("{test} 的各条范围没有交集，任何结果都不能通过"),
    "unchecked": N_("{test} 已开通，但没有任何范围、定性、荒谬值或差值规则检查它"),
}


def fault_sentence(fault: Fault, names: Names) -> str:
    said = {key: _(value) if key == "field" else value for key, value in fault.fields.items()}
    if "test" in said:
        said["test"] = names.get(said["test"], said["test"])
    return _(_FAULTS[fault.code]).format(**said)
