"""Alipay's life account (生活号) as the hospital's users meet it: sign-in by a code, messages, and their phones.

From Alipay's open documentation (publicAppAuthorize, alipay.system.oauth.token, open.public.message.single.send): a
code is good once; a new app is told open ids; parameters of the token call stand at the top and not in biz_content.
Who holds the phone is told by the cookie `alipay_user`; a browser without it is asked.
"""

from __future__ import annotations

import html
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from simulators.http_service import Answer, Request, as_json, as_page, redirect
from simulators.ledger import Ledger

CODE_LIFETIME_S = 300
AUTHORIZE = "/oauth2/publicAppAuthorize.htm"


class LifeRefusal(Exception):
    """The call's `sub_code`."""


@dataclass(slots=True)
class LifeAccount:
    app_id: str
    ledger: Ledger
    templates: tuple[str, ...] = ("visit-news",)
    users: list[str] = field(default_factory=list)
    unfollowed: set[str] = field(default_factory=set)
    messages: list[dict[str, Any]] = field(default_factory=list)
    codes: dict[str, tuple[str, float]] = field(default_factory=dict)
    old_kind: bool = False
    """An app of the older kind: users are told by numbers that begin with 2088."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def authorize(self, request: Request) -> Answer:
        query = request.query
        target = query.get("redirect_uri", "")
        if query.get("app_id") != self.app_id or not target or query.get("scope") not in ("auth_base", "auth_user"):
            return as_page("<h1>app_id、redirect_uri 或 scope 参数错误</h1>", 200)
        user = query.get("simulated_user") or request.cookies.get("alipay_user", "")
        if not user:
            return as_page(self._who(urlencode(query)))
        code = secrets.token_hex(16)
        with self.lock:
            self.codes[code] = (user, time.time())
            if user not in self.users:
                self.users.append(user)
        self.ledger.write("authorized", user=user)
        parts = urlsplit(target)
        told = [
            *parse_qsl(parts.query),
            ("app_id", self.app_id),
            ("scope", str(query["scope"])),
            ("state", query.get("state", "")),
            ("auth_code", code),
        ]
        return redirect(
            urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(told), "")),
            ("Set-Cookie", f"alipay_user={user}; Path=/; HttpOnly"),
        )

    def token(self, _content: dict[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
        if fields.get("grant_type") != "authorization_code":
            raise LifeRefusal("isv.grant-type-invalid")
        with self.lock:
            user, made_at = self.codes.pop(fields.get("code", ""), ("", 0.0))
        if not user or made_at + CODE_LIFETIME_S < time.time():
            raise LifeRefusal("isv.code-invalid")
        name = "user_id" if self.old_kind else "open_id"
        return {
            name: user,
            "access_token": secrets.token_urlsafe(24),
            "expires_in": "300",
            "refresh_token": secrets.token_urlsafe(24),
            "re_expires_in": "300",
        }

    def send(self, content: dict[str, Any], _fields: Mapping[str, str]) -> dict[str, Any]:
        user = str(content.get("to_open_id") or content.get("to_user_id") or "")
        template = content.get("template") or {}
        context = template.get("context") or {}
        if user not in self.users:
            raise LifeRefusal("isv.user-id-invalid")
        if user in self.unfollowed:
            raise LifeRefusal("isv.not-follow")
        if template.get("template_id") not in self.templates:
            raise LifeRefusal("isv.template-not-exist")
        fields = {name: each for name, each in context.items() if name.startswith("keyword")}
        if not fields or any(not isinstance(each, dict) or not each.get("value") for each in fields.values()):
            raise LifeRefusal("isv.template-param-invalid")
        with self.lock:
            number = f"{2026_0000_0000 + len(self.messages)}"
            self.messages.append(
                {"t": time.time(), "user": user, "msg_id": number, "data": fields, "url": context.get("url", "")}
            )
        self.ledger.write("message delivered", user=user, msg_id=number)
        return {"msg_id": number}

    # -- phones --------------------------------------------------------------------------------------------------

    def inbox(self, request: Request) -> Answer:
        """Messages of one follower (without `user`: of all), oldest first."""
        user = request.query.get("user", "")
        with self.lock:
            return as_json({"messages": [each for each in self.messages if not user or each["user"] == user]})

    def become(self, request: Request) -> Answer:
        """A visitor of the demo takes up somebody's phone."""
        back = request.query.get("back", "")
        target = f"{AUTHORIZE}?{back}" if back else "/life"
        return redirect(target, ("Set-Cookie", f"alipay_user={quote(request.query.get('user', ''))}; Path=/; HttpOnly"))

    def page(self, request: Request) -> Answer:
        """The messages of the phone in hand, newest first."""
        user = request.cookies.get("alipay_user", "")
        with self.lock:
            mine = [each for each in self.messages if each["user"] == user][::-1]
        cards = "".join(
            "<li>"
            + "".join(f"<div>{html.escape(str(word['value']))}</div>" for word in each["data"].values())
            + f"<a href='{html.escape(str(each['url']), quote=True)}'>查看详情</a></li>"
            for each in mine
        )
        return as_page(_frame(f"<p>{html.escape(user) or '（还没有拿起手机）'}</p><ul>{cards or '没有消息'}</ul>"))

    def _who(self, back: str) -> str:
        rows = "".join(
            f"<li><a href='/simulator/become?user={quote(each)}&amp;back={quote(back)}'>{html.escape(each)}</a></li>"
            for each in self.users
        )
        form = (
            "<form action='/simulator/become'><input name='user' placeholder='新的支付宝用户，例如 visitor' required>"
            f"<input type='hidden' name='back' value='{html.escape(back, quote=True)}'>"
            "<button>用这个支付宝登录</button></form>"
        )
        return _frame(f"<p>您现在拿着谁的手机？</p><ul>{rows}</ul>{form}")


def _frame(body: str) -> str:
    return (
        "<!doctype html><html lang='zh-CN'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        "<title>支付宝模拟器</title><body style='font:16px sans-serif;max-width:32rem;margin:1rem auto'>"
        f"<h1>支付宝模拟器</h1>{body}</body></html>"
    )
