"""What the states of bookings are called, and how a moment of a session is said."""

from __future__ import annotations

from cloud.hospital.words import HALF_NAMES, KIND_NAMES, TITLE_NAMES, weekday
from cloud.web.i18n import mark as N_

__all__ = ["HALVES", "KINDS", "REASONS", "STATES", "TITLES", "WHY", "weekday"]

STATES: dict[str, tuple[str, str]] = {
    "held": (N_("待支付"), "warn"),
    "paying": (N_("支付中"), "info"),
    "confirming": (N_("确认中"), "info"),
    "confirmed": (N_("预约成功"), "good"),
    "moving": (N_("改约中"), "info"),
    "cancelling": (N_("退号中"), "info"),
    "cancelled": (N_("已退号"), ""),
    "expired": (N_("已失效"), ""),
    "used": (N_("已就诊"), ""),
    "no_show": (N_("爽约"), "bad"),
    "stopped": (N_("停诊，待处理"), "bad"),
}
WHY = {
    "unpaid": N_("超时未支付，号已释放，没有扣款。"),
    "patient": N_("您已退号。"),
    "staff": N_("窗口已退号。"),
    "late": N_("支付到账时号已被他人挂走，费用会自动原路退回，无需您办理。"),
    "his": N_("医院没有为这个号留位，已付的费用会自动原路退回。"),
    "stopped": N_("医生停诊，已付的费用会自动原路退回。"),
    "changed": N_("已改约到另一个时间。"),
    "not_moved": N_("改约未成功，原来的号没有变动。"),
    "rebooked": N_("已改约到另一次出诊。"),
}
HALVES, KINDS, TITLES = HALF_NAMES, KIND_NAMES, TITLE_NAMES
REASONS = (N_("时间不合适"), N_("挂错科室或医生"), N_("病情好转"), N_("其他原因"))
