"""The states, kinds and purposes of money in words; each marked for translation, shown by the staff's pages."""

from __future__ import annotations

from cloud.web.i18n import mark as N_

CHANNEL_NAMES = {"wechat": N_("微信支付"), "alipay": N_("支付宝"), "cash": N_("现金")}
PURPOSE_NAMES = {"booking": N_("挂号"), "bills": N_("缴费"), "deposit": N_("预交金")}
"""A purpose without a word here is shown as it is stored."""
PAYMENT_STATES = {
    "open": (N_("已提交"), "neutral"),
    "prepared": (N_("待支付"), "info"),
    "closing": (N_("正在关闭"), "warn"),
    "closed": (N_("已关闭"), "neutral"),
    "paid": (N_("已支付"), "good"),
}
REFUND_STATES = {
    "waiting": (N_("待提交渠道"), "info"),
    "asked": (N_("正在提交渠道"), "info"),
    "processing": (N_("渠道处理中"), "info"),
    "done": (N_("已退到账"), "good"),
    "stuck": (N_("渠道退不了，待人工处理"), "bad"),
    "dropped": (N_("已放弃"), "neutral"),
}
REFUND_ROUTES = {"channel": N_("原路退回"), "cash": N_("退现金"), "outside": N_("在渠道后台退款")}
SETTLED_BY = {
    "notice": N_("渠道通知"),
    "query": N_("主动查询"),
    "close": N_("关单时查得"),
    "bill": N_("渠道账单"),
    "window": N_("窗口收款"),
}
CASE_KINDS = {
    "no_payment": (N_("渠道收了钱，本院没有这笔订单"), N_("到渠道商户后台核对后退回，或找到所属订单。")),
    "amount": (N_("渠道金额与订单不符"), N_("先到渠道商户后台核对实收金额，再退款或补录。")),
    "currency": (N_("渠道币种与订单不符"), N_("到渠道商户后台核对。")),
    "app": (N_("收款应用与订单不符"), N_("可能是伪造，或密钥配置有误。请联系信息科。")),
    "merchant": (N_("收款商户与订单不符"), N_("可能是伪造，或密钥配置有误。请联系信息科。")),
    "payer": (N_("付款人与订单不符"), N_("核对付款人后再处理。")),
    "paid_twice": (N_("同一订单收款两次"), N_("到渠道商户后台将多收的一笔退回。")),
    "booking_cash": (N_("退号的现金等待领取"), N_("患者到窗口时，在挂号管理里打开该号，退现金给患者。")),
    "refund_no_payment": (N_("渠道退款找不到所属订单"), N_("到渠道商户后台核对退款单号。")),
    "refund_amount": (N_("渠道退款金额与本院不符"), N_("核对后在渠道商户后台处理。")),
    "refund_stuck": (N_("渠道退不了款"), N_("原因排除后再退一次，或请患者到窗口退现金。")),
    "refund_outside": (N_("在渠道后台直接退的款"), N_("已记账，不会重复退款；请补登业务原因。")),
    "refunded_twice": (N_("已退现金，渠道又退了款"), N_("联系患者追回其中一笔。")),
    "dropped_refund_done": (N_("已放弃的退款，渠道却退了"), N_("核对后补登。")),
    "charge_changed_after_payment": (N_("HIS 改了已缴费的账单"), N_("核对后先退费，再请 HIS 重开账单。")),
    "charge_voided_after_payment": (N_("HIS 作废了已缴费的账单"), N_("核对后给患者退费。")),
    "charge_changed_after_execution": (N_("HIS 改了已执行的账单"), N_("与执行科室核对，由 HIS 补开或冲销差额。")),
    "charge_voided_after_execution": (N_("HIS 作废了已执行的账单"), N_("与执行科室核对是否确已执行，再决定收费。")),
    "charge_paid_twice": (N_("账单已在本院缴费，HIS 窗口又收了一次"), N_("联系患者，退还其中一笔。")),
    "void_charge_paid": (N_("账单已作废，HIS 窗口仍收了费"), N_("请 HIS 窗口退还患者。")),
    "executed_after_refund": (N_("已退费的项目在 HIS 执行了"), N_("联系患者补缴，或请执行科室说明。")),
}
DIFFERENCE_KINDS = {
    "channel_only": N_("渠道有，本院没有（长款）"),
    "ours_only": N_("本院有，渠道没有（短款）"),
    "amount": N_("收款金额不一致"),
    "refund_channel_only": N_("渠道有退款，本院没有"),
    "refund_ours_only": N_("本院有退款，渠道没有"),
    "refund_amount": N_("退款金额不一致"),
}
DAY_STATES = {
    "unread": (N_("账单未读取"), "neutral"),
    "open": (N_("有差异待处理"), "bad"),
    "ready": (N_("可关账"), "info"),
    "closed": (N_("已关账"), "good"),
}
VERDICTS = {
    "settled": N_("已入账"),
    "known": N_("重复，已入账"),
    "hint": N_("已向渠道核实"),
    "case": N_("不符，转人工"),
    "no_payment": N_("没有这笔订单"),
    "refund": N_("已记退款"),
}
