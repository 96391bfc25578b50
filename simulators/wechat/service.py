"""WeChat's endpoints that a hospital's official account uses, with their checks and their error numbers.

From WeChat's open documentation of web-page authorisation, the basic access token and template messages: a code is good
once and for five minutes, a new access token leaves the old one good for five minutes, every refusal is HTTP 200 with
`errcode`. Who is holding the phone is told by the cookie `wechat_user` (or `?simulated_user=`); a browser without it is
asked.
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from simulators.http_service import Answer, HttpService, Request, as_json, as_page, redirect, wait_for_end
from simulators.ledger import Ledger
from simulators.wechat import pages

CODE_LIFETIME_S = 300
TOKEN_LIFETIME_S = 7200
OLD_TOKEN_GRACE_S = 300
FIELD_CHARACTERS = 20
"""Since 2023-05-04 a field of a template message holds at most this many characters."""


@dataclass(slots=True)
class Code:
    openid: str
    scope: str
    made_at: float
    used: bool = False


@dataclass(slots=True)
class Account:
    """The official account that may use this stand-in."""

    app_id: str
    secret: str
    templates: Sequence[str]
    tokens: dict[str, float] = field(default_factory=dict)
    """Token → when it ends (epoch seconds)."""


def refusal(number: int, text: str) -> Answer:
    return as_json({"errcode": number, "errmsg": f"{text} rid: simulated"})


class WechatService(HttpService):
    def __init__(self, ledger: Ledger, account: Account, users: Sequence[str] = ()) -> None:
        super().__init__(ledger)
        self.account = account
        self.users = list(users)
        self.unfollowed: set[str] = set()
        self.tickets: list[str] = []
        self.codes: dict[str, Code] = {}
        self.messages: list[dict[str, Any]] = []
        self._client_numbers: dict[str, int] = {}
        self.routes |= {
            ("GET", "/connect/oauth2/authorize"): self.authorize,
            ("GET", "/sns/oauth2/access_token"): self.exchange_code,
            ("GET", "/cgi-bin/token"): self.token,
            ("GET", "/cgi-bin/ticket/getticket"): self.ticket,
            ("POST", "/cgi-bin/message/template/send"): self.send_template,
            ("POST", "/cgi-bin/message/subscribe/bizsend"): self.send_template,
            ("GET", "/simulator/messages"): self.inbox,
            ("GET", "/simulator/become"): self.become,
            ("GET", "/"): self.page,
        }

    # -- OAuth ---------------------------------------------------------------------------------------------------

    def authorize(self, request: Request) -> Answer:
        """The web view's page; it sends the browser back with a code."""
        query = request.query
        if query.get("appid") != self.account.app_id:
            return as_page("<h1>AppID 参数错误</h1>", 200)
        target = query.get("redirect_uri", "")
        scope = query.get("scope", "")
        if query.get("response_type") != "code" or not target or scope not in ("snsapi_base", "snsapi_userinfo"):
            return as_page("<h1>redirect_uri 或 scope 参数错误</h1>", 200)
        openid = query.get("simulated_user") or request.cookies.get("wechat_user", "")
        if not openid:
            return as_page(pages.who_are_you(self.users, urlencode(query)))
        code = secrets.token_hex(16)
        with self.lock:
            self.codes[code] = Code(openid, scope, time.time())
            if openid not in self.users:
                self.users.append(openid)
        self.ledger.write("authorized", openid=openid, scope=scope)
        parts = urlsplit(target)
        asked = [*parse_qsl(parts.query), ("code", code), ("state", query.get("state", ""))]
        return redirect(
            urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(asked), "")),
            ("Set-Cookie", f"wechat_user={openid}; Path=/; HttpOnly"),
        )

    def exchange_code(self, request: Request) -> Answer:
        query = request.query
        if query.get("appid") != self.account.app_id:
            return refusal(40013, "invalid appid")
        if query.get("secret") != self.account.secret:
            return refusal(40125, "invalid appsecret")
        if query.get("grant_type") != "authorization_code":
            return refusal(40002, "invalid grant_type")
        with self.lock:
            code = self.codes.get(query.get("code", ""))
            if code is None:
                return refusal(40029, "invalid code")
            if code.used:
                return refusal(40163, "code been used")
            if code.made_at + CODE_LIFETIME_S < time.time():
                return refusal(42003, "code expired")
            code.used = True
        self.ledger.write("code exchanged", openid=code.openid)
        return as_json(
            {
                "access_token": secrets.token_urlsafe(32),
                "expires_in": TOKEN_LIFETIME_S,
                "refresh_token": secrets.token_urlsafe(32),
                "openid": code.openid,
                "scope": code.scope,
            }
        )

    # -- messages ------------------------------------------------------------------------------------------------

    def token(self, request: Request) -> Answer:
        query = request.query
        if query.get("grant_type") != "client_credential":
            return refusal(40002, "invalid grant_type")
        if query.get("appid") != self.account.app_id:
            return refusal(40013, "invalid appid")
        if query.get("secret") != self.account.secret:
            return refusal(40125, "invalid appsecret")
        made, now = secrets.token_urlsafe(48), time.time()
        with self.lock:
            kept = {token: min(end, now + OLD_TOKEN_GRACE_S) for token, end in self.account.tokens.items() if end > now}
            self.account.tokens = {**kept, made: now + TOKEN_LIFETIME_S}
        self.ledger.write("token issued")
        return as_json({"access_token": made, "expires_in": TOKEN_LIFETIME_S})

    def ticket(self, request: Request) -> Answer:
        """The JS-SDK's ticket."""
        refused = self._token_refusal(request.query.get("access_token", ""))
        if refused is not None:
            return refused
        if request.query.get("type") != "jsapi":
            return refusal(40097, "invalid args")
        with self.lock:
            self.tickets.append(secrets.token_hex(32))
        self.ledger.write("ticket issued")
        made = {"errcode": 0, "errmsg": "ok", "ticket": self.tickets[-1], "expires_in": TOKEN_LIFETIME_S}
        return as_json(made)

    def _token_refusal(self, token: str) -> Answer | None:
        end = self.account.tokens.get(token)
        if end is None:
            return refusal(40001, "invalid credential, access_token is invalid or not latest")
        return refusal(42001, "access_token expired") if end < time.time() else None

    def send_template(self, request: Request) -> Answer:
        refused = self._token_refusal(request.query.get("access_token", ""))
        if refused is not None:
            self.ledger.write("message refused", reason="token")
            return refused
        wish = request.json()
        openid, data = str(wish.get("touser", "")), wish.get("data")
        refused = self._content_refusal(openid, str(wish.get("template_id", "")), data)
        if refused is not None:
            self.ledger.write("message refused", openid=openid, reason=refused.body.decode())
            return refused
        with self.lock:
            number = self._client_numbers.get(str(wish.get("client_msg_id", "")))
            repeated = number is not None
            if number is None:
                number = 3_000_000_000 + len(self.messages)
                link = wish.get("url") or wish.get("page") or ""
                self.messages.append({"t": time.time(), "openid": openid, "msgid": number, "data": data, "url": link})
                if wish.get("client_msg_id"):
                    self._client_numbers[str(wish["client_msg_id"])] = number
        self.ledger.write("message repeated" if repeated else "message delivered", openid=openid, msgid=number)
        return as_json({"errcode": 0, "errmsg": "ok", "msgid": number})

    def _content_refusal(self, openid: str, template: str, data: Any) -> Answer | None:
        if openid not in self.users:
            return refusal(40003, "invalid openid")
        if openid in self.unfollowed:
            return refusal(43004, "require subscribe")
        if template not in self.account.templates:
            return refusal(40037, "invalid template_id")
        if not isinstance(data, dict) or not data:
            return refusal(47001, "data format error")
        for name, content in data.items():
            value = content.get("value") if isinstance(content, dict) else None
            if not isinstance(value, str) or not value or len(value) > FIELD_CHARACTERS or "\n" in value:
                return refusal(47003, f"argument invalid! data.{name}.value")
        return None

    # -- the phones ----------------------------------------------------------------------------------------------

    def inbox(self, request: Request) -> Answer:
        """Messages of one follower (without `openid`: of all), oldest first; `after` so many already seen."""
        openid, after = request.query.get("openid", ""), int(request.query.get("after", "0"))
        with self.lock:
            found = [each for each in self.messages if not openid or each["openid"] == openid]
        return as_json({"messages": found[after:]})

    def become(self, request: Request) -> Answer:
        """A visitor of the demo takes up somebody's phone."""
        openid = request.query.get("user", "")
        back = request.query.get("back", "")
        target = f"/connect/oauth2/authorize?{back}" if back else "/"
        return redirect(target, ("Set-Cookie", f"wechat_user={openid}; Path=/; HttpOnly"))

    def page(self, request: Request) -> Answer:
        with self.lock:
            return as_page(pages.phone(request.cookies.get("wechat_user", ""), self.users, list(self.messages)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--app-id", default="wx0000simulated01")
    parser.add_argument("--secret", default="simulated-wechat-secret")
    parser.add_argument(
        "--template", action="append", default=[], help="a template id the account has; may be repeated"
    )
    parser.add_argument("--user", action="append", default=[], help="an open id that follows the account")
    parser.add_argument("--ledger", type=Path)


def run(arguments: argparse.Namespace) -> int:
    account = Account(arguments.app_id, arguments.secret, arguments.template or ["report-ready"])
    service = WechatService(Ledger(arguments.ledger, "wechat"), account, arguments.user)
    service.start(arguments.host, arguments.port)
    wait_for_end()
    return 0
