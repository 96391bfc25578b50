"""What stands on the pages of boxes for what is stored: states, changes, limits and lengths of time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from cloud.gateways.model import Comparison, Reconciliation
from cloud.gateways.watch import rules
from cloud.gateways.watch.limits import hours as hours
from cloud.gateways.watch.model import GatewayChange, SilenceLimit
from cloud.gateways.watch.rules import Limit
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

PORTS = {
    "open": (N_("已连接"), "good"),
    "listening": (N_("等待连接"), "info"),
    "connecting": (N_("正在连接"), "warn"),
    "closed": (N_("已断开"), "warn"),
    "failed": (N_("故障"), "bad"),
}
COMPARISONS = {
    Comparison.ASKED: (N_("等待网关回答"), "info"),
    Comparison.NARROWING: (N_("正在查找差异"), "warn"),
    Comparison.REPAIRING: (N_("正在补齐"), "warn"),
    Comparison.EQUAL: (N_("一致"), "good"),
    Comparison.REPAIRED: (N_("已补齐"), "good"),
    Comparison.DIFFERENT: (N_("不一致"), "bad"),
}
FINDINGS = {
    "missing_here": N_("云端缺少"),
    "missing_on_box": N_("网关没有"),
    "altered": N_("内容不同"),
    "damaged_on_box": N_("网关上的副本损坏"),
}
DAYS = {1: N_("周一"), 2: N_("周二"), 3: N_("周三"), 4: N_("周四"), 5: N_("周五"), 6: N_("周六"), 7: N_("周日")}
_VALUES = {
    rules.OFF: N_("失去联系"),
    rules.ON: N_("恢复联系"),
    "sure": N_("已校准"),
    "unsure": N_("未校准"),
    "refusing": N_("已满，拒收"),
    "damaged": N_("有损坏"),
    "sound": N_("完好"),
}


def port(state: str) -> tuple[str, str]:
    """Words and tone; what the box does not name any more is old."""
    words, tone = PORTS.get(state, (N_("旧数据"), "neutral"))
    return _(words), tone


def change_name(change: GatewayChange) -> str:
    return _(rules.CHANGES.get(change.what, change.what))


def change_value(change: GatewayChange, value: str | None) -> str:
    if value is None:
        return "—"
    if change.what == "port":
        return port(value)[0]
    if change.what in ("contact", "clock", "room", "damage"):
        return _(_VALUES.get(value, value))
    return value or "—"


def limit(found: Limit | None) -> str:
    """``60 分钟 · 07:30–17:30 · 周一至周五`` in one line."""
    if found is None or found.minutes is None:
        return _("不报警")
    parts = [_("%(count)s 分钟") % {"count": found.minutes}]
    if found.all_day:
        parts.append(_("全天"))
    else:
        parts.append(f"{hours(found.opens)}–{hours(found.closes)}")
    if set(found.days) != set(rules.WEEK):
        parts.append(days(found.days))
    return " · ".join(parts)


def row(found: SilenceLimit) -> str:
    if found.inherits:
        return _("恢复默认")
    return limit(Limit(found.minutes, found.opens, found.closes, tuple(found.days)))


def days(chosen: tuple[int, ...]) -> str:
    run = list(chosen)
    if len(run) > 2 and run == list(range(run[0], run[-1] + 1)):
        return _("%(first)s至%(last)s") % {"first": _(DAYS[run[0]]), "last": _(DAYS[run[-1]])}
    return " ".join(_(DAYS[each]) for each in run)


def lasted(start: datetime, end: datetime) -> str:
    """How long: ``5 分钟``, ``3 小时 20 分``, ``2 天 4 小时``."""
    length = max(end - start, timedelta())
    minutes = int(length.total_seconds()) // 60
    if minutes < 60:
        return _("%(count)s 分钟") % {"count": minutes}
    if minutes < 24 * 60:
        return _("%(hours)s 小时 %(minutes)s 分") % {"hours": minutes // 60, "minutes": minutes % 60}
    return _("%(days)s 天 %(hours)s 小时") % {"days": minutes // (24 * 60), "hours": minutes // 60 % 24}


def size(count: Any) -> str:
    """Bytes as a person reads them."""
    number = float(count or 0)
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit in ("B", "KB") else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"


def seconds(value: float) -> str:
    """A clock's distance, with its sign."""
    if abs(value) < 0.05:
        return "0 s"
    return f"{value:+.1f} s" if abs(value) < 100 else f"{value:+.0f} s"


def finding(each: dict[str, Any]) -> str:
    first, last = each["first"], each["last"]
    where = str(first) if first == last else f"{first}–{last}"
    return f"{_(FINDINGS.get(each['what'], each['what']))} {where}"


def comparison(found: Reconciliation) -> tuple[str, str]:
    words, tone = COMPARISONS[Comparison(found.state)]
    return _(words), tone
