"""The catalogue's coded words as a person reads them (sections, specimens, value types, states)."""

from __future__ import annotations

from cloud.lis.catalog.model import ReferenceRange
from cloud.web.i18n import mark as N_

SECTIONS = {
    "hematology": N_("临床血液"),
    "coagulation": N_("凝血"),
    "chemistry": N_("生化"),
    "immunology": N_("免疫"),
    "bloodgas": N_("血气"),
    "urine": N_("体液"),
    "molecular": N_("分子诊断"),
    "microbiology": N_("微生物"),
}
SPECIMENS = {
    "blood": N_("全血"),
    "serum": N_("血清"),
    "plasma": N_("血浆"),
    "arterial": N_("动脉血"),
    "urine": N_("尿液"),
    "stool": N_("粪便"),
    "swab": N_("拭子"),
    "blood_culture": N_("血培养"),
}
VALUE_TYPES = {
    "numeric": N_("定量"),
    "qualitative": N_("定性"),
    "ratio": N_("比值"),
    "titre": N_("滴度"),
    "text": N_("描述"),
}
STATES = {
    "draft": (N_("草案"), "warn"),
    "approved": (N_("已批准"), "good"),
    "retired": (N_("已停用"), "neutral"),
}
SEXES = {"": N_("不限"), "M": N_("男"), "F": N_("女")}
PHASES = {
    "follicular": N_("卵泡期"),
    "midcycle": N_("排卵期"),
    "luteal": N_("黄体期"),
    "postmenopausal": N_("绝经期"),
    "pregnant": N_("妊娠期"),
}
SENSITIVE = {
    "hiv": N_("HIV 检测"),
    "syphilis": N_("梅毒检测"),
    "genetics": N_("遗传检测"),
    "pathology": N_("病理"),
}
PROBLEMS = {
    "unit_missing": N_("缺少单位（也未标明无单位）"),
    "decimals_missing": N_("定量项目未设小数位"),
    "age_gap": N_("年龄段之间有空档（天）"),
    "age_overlap": N_("年龄段重叠（天）"),
    "bounds_reversed": N_("下限不低于上限"),
    "critical_inside_normal": N_("危急值界限落在参考区间内"),
    "panel_empty": N_("组合没有项目"),
    "source_missing": N_("没有写明来源"),
    "tube_missing": N_("没有在用的试管"),
    "weeks_gap": N_("孕周之间有空档"),
    "weeks_overlap": N_("孕周重叠"),
    "channel_mapped_twice": N_("一个项目对应同一仪器的两个通道"),
    "channel_of_retired_test": N_("通道对应的项目已停用"),
    "formula_cycle": N_("计算公式循环引用"),
    "formula_wrong": N_("计算公式有误"),
    "tea_unset": N_("未设允许总误差"),
    "range_missing": N_("没有参考区间"),
    "phase_incomplete": N_("月经周期有的阶段没有区间"),
    "ratio_unit": N_("比值的单位应为两个量之比，或无单位"),
    "range_unit_differs": N_("参考区间写的单位与项目单位不同"),
    "channel_unit_differs": N_("通道的单位与项目单位不是同一种量，无法换算"),
    "channel_factor_differs": N_("通道的换算系数与单位不符"),
    "tube_specimen_differs": N_("试管的标本类型与项目不同"),
}


def phase_label(band: ReferenceRange) -> str:
    """What of cycle and pregnancy a range is for, as the report prints it (in the report's Chinese)."""
    parts = [PHASES[band.phase]] if band.phase else []
    low, high = band.gestation_min_weeks, band.gestation_max_weeks
    if low is not None and high is not None:
        parts.append(f"孕{low}～{high - 1}周" if high - 1 > low else f"孕{low}周")
    elif low is not None:
        parts.append(f"孕{low}周起")
    elif high is not None:
        parts.append(f"孕{high}周前")
    return " ".join(parts)


KINDS = {
    "test": N_("检验项目"),
    "panel": N_("组合"),
    "tube": N_("试管"),
    "range": N_("参考区间"),
    "critical": N_("危急值界限"),
    "goal": N_("质量目标"),
    "channel": N_("仪器通道"),
}
CHANGE_STATES = {
    "waiting": (N_("待批准"), "warn"),
    "approved": (N_("已批准，待生效"), "info"),
    "applied": (N_("已生效"), "good"),
    "refused": (N_("已退回"), "bad"),
    "superseded": (N_("已被后来的修改取代"), "neutral"),
}
