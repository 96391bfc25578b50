"""The acts that are granted test by test, with the permission that a role must give besides, and their words."""

from __future__ import annotations

from cloud.web.i18n import mark as N_

ACTS = {
    "result.enter": (N_("录入结果"), "result.review"),
    "result.review": (N_("技术审核"), "result.review"),
    "result.release": (N_("医学审核（签发）"), "result.release"),
    "report.amend": (N_("更正报告"), "report.amend"),
    "report.recall": (N_("召回报告"), "report.amend"),
    "critical.confirm": (N_("危急值确认与通知"), "result.review"),
    "qc.handle": (N_("失控处理"), "result.review"),
    "specimen.concession": (N_("让步检验"), "specimen.receive"),
    "rule.edit": (N_("编辑审核规则"), "catalog.edit"),
    "rule.approve": (N_("批准审核规则"), "rule.approve"),
    "catalog.edit": (N_("编辑区间与公式"), "catalog.edit"),
    "catalog.approve": (N_("批准区间与公式"), "catalog.approve"),
}
"""Act -> its word and the permission without which a grant is worth nothing. A new act is a line here."""

SCOPES = {
    "all": N_("全部项目"),
    "section": N_("专业组"),
    "panel": N_("组合"),
    "test": N_("单个项目"),
}
STANDINGS = {
    "valid": (N_("有效"), "good"),
    "not_yet": (N_("未生效"), "info"),
    "expired": (N_("已到期"), "warn"),
    "revoked": (N_("已撤销"), "neutral"),
}
