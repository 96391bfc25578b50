"""What people call the codes of this slice; patient pages use them too."""

from __future__ import annotations

from datetime import date

from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

DEPARTMENT_KIND_NAMES = {
    "clinical": N_("临床科室"),
    "laboratory": N_("检验科室"),
    "executing": N_("执行科室"),
    "administrative": N_("行政科室"),
}
TITLE_NAMES = {
    "chief": N_("主任医师"),
    "associate": N_("副主任医师"),
    "attending": N_("主治医师"),
    "resident": N_("住院医师"),
}
HALF_NAMES = {"morning": N_("上午"), "afternoon": N_("下午"), "evening": N_("晚间")}
KIND_NAMES = {"expert": N_("专家号"), "general": N_("普通号")}
STATE_NAMES = {
    "open": (N_("出诊"), "good"),
    "stopped": (N_("已停诊"), "bad"),
    "closed": (N_("已停约"), "warn"),
}
OWNER_NAMES = {"ours": N_("本系统"), "his": N_("HIS")}
WEEKDAY_NAMES = (N_("周一"), N_("周二"), N_("周三"), N_("周四"), N_("周五"), N_("周六"), N_("周日"))
WEEKS_NAMES = {"every": N_("每周"), "odd": N_("单周"), "even": N_("双周")}
SETTLED_WHYS = (N_("医生外出会诊"), N_("医生病假"), N_("医生参加学术会议"), N_("院内急诊手术"), N_("设备或诊室故障"))
"""Offered where a stop is typed; anything else may be typed too."""


def weekday(day: date) -> str:
    return _(WEEKDAY_NAMES[day.isoweekday() - 1])
