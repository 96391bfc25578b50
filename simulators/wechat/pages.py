"""The few pages a visitor of the demo sees of the simulated WeChat."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

_FRAME = (
    "<!doctype html><html lang='zh-CN'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
    "<title>微信模拟器</title><body style='font:16px sans-serif;max-width:32rem;margin:1rem auto'>{}</body></html>"
)


def who_are_you(users: Sequence[str], back: str) -> str:
    """Asked by the web view when the browser has no cookie yet."""
    rows = "".join(
        f"<li><a href='/simulator/become?user={quote(each)}&amp;back={quote(back)}'>{escape(each)}</a></li>"
        for each in users
    )
    form = (
        "<form action='/simulator/become'><input name='user' placeholder='新的微信用户，例如 visitor' required>"
        f"<input type='hidden' name='back' value='{escape(back, quote=True)}'><button>用这个微信登录</button></form>"
    )
    return _FRAME.format(f"<h1>微信模拟器</h1><p>您现在拿着谁的手机？</p><ul>{rows}</ul>{form}")


def phone(openid: str, users: Sequence[str], messages: Sequence[dict[str, Any]]) -> str:
    """The messages of the phone in hand, newest first, and the other phones."""
    others = " ".join(f"<a href='/simulator/become?user={quote(each)}'>{escape(each)}</a>" for each in users[:200])
    mine = [each for each in messages if each["openid"] == openid][::-1]
    cards = "".join(
        f"<li style='border:1px solid #ccc;margin:.5rem 0;padding:.5rem'>{_fields(each)}"
        f"<a href='{escape(str(each['url']), quote=True)}'>查看详情</a></li>"
        for each in mine
    )
    return _FRAME.format(
        f"<h1>微信模拟器</h1><p>{escape(openid) or '（还没有拿起手机）'}</p>"
        f"<ul>{cards or '没有消息'}</ul><p>{others}</p>"
    )


def _fields(message: dict[str, Any]) -> str:
    return "".join(f"<div>{escape(str(each.get('value', '')))}</div>" for each in message["data"].values())
