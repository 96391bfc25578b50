"""Outside production a page has no WeChat or Alipay around it: the simulators' cashier page stands in for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from cloud.config import settings
from cloud.payments import channels


def cashier(channel: str, phone: Mapping[str, Any], back: str) -> str:
    """The simulator's page on which a person taps "pay"; "" in production and where the channel's host is the real one.

    `back`: the full address to come back to.
    """
    known = settings()
    if known.environment == "production":
        return ""
    host = known.wechat_pay_url if channel == channels.WECHAT else known.alipay_url
    parts = urlsplit(host)
    if (parts.hostname or "").endswith((".qq.com", ".alipay.com")):
        return ""
    asked = {"prepay_id": phone.get("package")} if channel == channels.WECHAT else {"trade_no": phone.get("tradeNO")}
    if None in asked.values():
        return ""
    return f"{parts.scheme}://{parts.netloc}/cashier?" + urlencode({**asked, "back": back})
