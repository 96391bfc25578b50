"""Words of bills for patients: kinds, states, and how far a refund is. No drug, test or department stands in them."""

from __future__ import annotations

from cloud.billing.model import ItemState
from cloud.billing.rules import Standing
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

STANDINGS: dict[Standing, tuple[str, str]] = {
    Standing.PAYABLE: (N_("待缴费"), "warn"),
    Standing.PAYING: (N_("支付中"), "info"),
    Standing.PAID: (N_("已缴费"), "good"),
    Standing.PARTLY_EXECUTED: (N_("部分已执行"), "good"),
    Standing.EXECUTED: (N_("已执行"), "good"),
    Standing.REFUNDING: (N_("退款中"), "info"),
    Standing.PARTLY_REFUNDED: (N_("部分已退"), ""),
    Standing.REFUNDED: (N_("已退费"), ""),
    Standing.VOID: (N_("已作废"), ""),
}
"""The word and the tone of its tag."""

ITEMS: dict[str, tuple[str, str]] = {
    ItemState.PAYABLE: (N_("待缴费"), "warn"),
    ItemState.PAYING: (N_("支付中"), "info"),
    ItemState.PAID: (N_("未执行"), ""),
    ItemState.EXECUTED: (N_("已执行"), "good"),
    ItemState.REFUNDING: (N_("退款中"), "info"),
    ItemState.REFUNDED: (N_("已退费"), ""),
    ItemState.VOID: (N_("已作废"), ""),
}

REASONS = (N_("不做了"), N_("重复缴费"), N_("开错了"), N_("改天再做"))
"""Offered when a refund is asked for; the patient's own words are not needed."""

STAGES = {
    "asked": N_("已受理"),
    "channel": N_("渠道处理中"),
    "arrived": N_("已到账"),
    "stuck": N_("需人工处理，医院会联系您或在窗口退款"),
    "dropped": N_("已撤销"),
}


def track(stage: str) -> tuple[tuple[str, str], ...]:
    """The road of a refund as (word, how it stands: ``done``, ``now``, ``bad``, "")."""
    if stage == "dropped":
        return ((STAGES["asked"], "done"), (STAGES["dropped"], "bad"))
    reached = {"asked": 0, "channel": 1, "stuck": 1, "arrived": 3}[stage]
    words = (STAGES["asked"], STAGES["stuck" if stage == "stuck" else "channel"], STAGES["arrived"])
    now = "bad" if stage == "stuck" else "now"
    return tuple((word, "done" if at < reached else now if at == reached else "") for at, word in enumerate(words))
