"""Bills, items and refunds in the words of the window."""

from __future__ import annotations

from cloud.web.i18n import mark as N_

KINDS = {
    "registration": N_("挂号费"),
    "exam": N_("检查费"),
    "lab": N_("检验费"),
    "drug": N_("药费"),
    "treatment": N_("治疗费"),
    "material": N_("材料费"),
    "other": N_("其他费用"),
}
STANDINGS = {
    "payable": (N_("待缴费"), "warn"),
    "paying": (N_("手机正在支付"), "info"),
    "paid": (N_("已缴费"), "good"),
    "partly_executed": (N_("部分已执行"), "good"),
    "executed": (N_("已执行"), "neutral"),
    "refunding": (N_("退费中"), "warn"),
    "partly_refunded": (N_("部分已退"), "neutral"),
    "refunded": (N_("已全部退费"), "neutral"),
    "void": (N_("已作废"), "neutral"),
}
ITEM_STATES = {
    "payable": (N_("待缴费"), "warn"),
    "paying": (N_("手机正在支付"), "info"),
    "paid": (N_("可退"), "good"),
    "executed": (N_("已执行"), "neutral"),
    "refunding": (N_("退费中"), "warn"),
    "refunded": (N_("已退"), "neutral"),
    "void": (N_("已作废"), "neutral"),
}
REFUND_STAGES = {
    "asked": (N_("待提交渠道"), "info"),
    "channel": (N_("渠道处理中"), "info"),
    "arrived": (N_("已退到账"), "good"),
    "stuck": (N_("渠道退不了，待人工处理"), "bad"),
    "dropped": (N_("已放弃"), "neutral"),
}
