"""Sign-in through the channel's OAuth: WeChat (snsapi_base) or Alipay (auth_base), both silent, giving only an id.

The `state` belongs to the browser that asked (its keyed hash lies beside the browser cookie's) and is good once, so
nobody is signed in by a link somebody else sent. A code is good once, here as at WeChat. Everything has a time limit.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import requests
from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from wechatpy.exceptions import WeChatOAuthException
from wechatpy.oauth import WeChatOAuth

from cloud.config import Settings, settings
from cloud.kit import clock
from cloud.kit.errors import Forbidden, Unavailable
from cloud.kit.ids import new_id
from cloud.kit.sealed import blind_index
from cloud.notify import alipay
from cloud.notify.alipay import AlipayAway, AlipayRefused
from cloud.notify.wechat import check_hosts, timed_session
from cloud.patient.identity.model import PatientAccount, SignInAttempt
from cloud.patient.identity.rules import STATE_LIFETIME
from cloud.web.i18n import mark as N_

CALLBACK = "/p/oauth/wechat"
ALIPAY_CALLBACK = "/p/oauth/alipay"
WECHAT, ALIPAY = "wechat", "alipay"


@dataclass(frozen=True, slots=True)
class ChannelIdentity:
    """Who the channel says is at the phone."""

    channel: str
    app_id: str
    open_id: str | None
    union_id: str | None = None
    user_id: str | None = None
    """Alipay's older name for a user."""


def offered() -> list[str]:
    """The channels that this hospital lets patients sign in by."""
    known = settings()
    return [name for name, app in ((WECHAT, known.wechat_app_id), (ALIPAY, known.alipay_app_id)) if app]


def channel_of(user_agent: str) -> str | None:
    """In whose web view a page is open; None in any other browser."""
    if "AlipayClient" in user_agent:
        return ALIPAY
    return WECHAT if "MicroMessenger" in user_agent else None


def start(session: Session, *, browser: str, next_page: str, channel: str = WECHAT) -> str:
    """Remember where this browser wants to go; returns the channel's address to send it to."""
    known = settings()
    if channel not in offered():
        raise Unavailable("sign_in_not_configured", N_("本院尚未开通这种登录方式，请到窗口办理。"))
    state = secrets.token_urlsafe(24)
    session.add(
        SignInAttempt(
            channel=channel,
            state_index=blind_index(state, "oauth.state"),
            browser_index=blind_index(browser, "oauth.browser"),
            next_page=next_page,
            expires_at=clock.now() + STATE_LIFETIME,
        )
    )
    session.flush()
    if channel == ALIPAY:
        alipay.check_hosts(known)
        back = known.public_url.rstrip("/") + ALIPAY_CALLBACK
        asked = {"app_id": known.alipay_app_id, "scope": "auth_base", "redirect_uri": back, "state": state}
        return f"{known.alipay_open_url.rstrip('/')}/oauth2/publicAppAuthorize.htm?{urlencode(asked)}"
    oauth = _oauth(known, state)
    oauth._http.close()  # the address is made here; nobody is called
    return str(oauth.authorize_url)


def redeem_state(session: Session, *, state: str, code: str, browser: str, channel: str = WECHAT) -> str:
    """Use up the state and note the code; returns where the browser wanted to go.

    Raises `Forbidden` for a state that is unknown, over, used, or of another browser or channel, and for a code
    seen before.
    """
    refusal = Forbidden("oauth_refused", N_("登录已失效，请关闭本页后从公众号重新进入。"))
    try:
        with session.begin_nested():
            found = session.scalar(
                update(SignInAttempt)
                .where(
                    SignInAttempt.channel == channel,
                    SignInAttempt.state_index == blind_index(state, "oauth.state"),
                    SignInAttempt.browser_index == blind_index(browser, "oauth.browser"),
                    SignInAttempt.used_at.is_(None),
                    SignInAttempt.expires_at > clock.now(),
                )
                .values(used_at=clock.now(), code_index=blind_index(code, "oauth.code"))
                .returning(SignInAttempt.next_page)
            )
    except IntegrityError:
        raise refusal from None
    if found is None:
        raise refusal
    return str(found)


def exchange(code: str, channel: str = WECHAT) -> ChannelIdentity:
    """Ask the channel who brought the code; no transaction may be open. Raises `Forbidden` or `Unavailable`."""
    return _EXCHANGES[channel](code)


def _at_wechat(code: str) -> ChannelIdentity:
    known = settings()
    oauth = _oauth(known, "")
    try:
        answer = oauth.fetch_access_token(code)
        open_id = str(answer["openid"])
    except WeChatOAuthException as refusal:
        if refusal.errcode is None:
            raise Unavailable("wechat_away", N_("微信暂时没有应答，请稍后重试。")) from refusal
        raise Forbidden("oauth_refused", N_("登录已失效，请关闭本页后从公众号重新进入。")) from refusal
    except (requests.RequestException, KeyError, ValueError) as error:
        raise Unavailable("wechat_away", N_("微信暂时没有应答，请稍后重试。")) from error
    finally:
        oauth._http.close()
    return ChannelIdentity("wechat", known.wechat_app_id, open_id, answer.get("unionid"))


def _at_alipay(code: str) -> ChannelIdentity:
    """A new app is told the user's open id, an older one the user id (2088...); some are told both."""
    known = settings()
    away = Unavailable("alipay_away", N_("支付宝暂时没有应答，请稍后重试。"))
    try:
        answer = alipay.call(known, "alipay.system.oauth.token", grant_type="authorization_code", code=code)
    except AlipayAway as error:
        raise away from error
    except AlipayRefused as refusal:
        raise Forbidden("oauth_refused", N_("登录已失效，请关闭本页后从生活号重新进入。")) from refusal
    open_id, user_id, union_id = (str(answer.get(each) or "") or None for each in ("open_id", "user_id", "union_id"))
    if open_id is None and user_id is None:
        raise away
    return ChannelIdentity(ALIPAY, known.alipay_app_id, open_id, union_id, user_id)


_EXCHANGES: dict[str, Callable[[str], ChannelIdentity]] = {WECHAT: _at_wechat, ALIPAY: _at_alipay}


def account_of(session: Session, identity: ChannelIdentity) -> PatientAccount:
    """The account of this user; made at the first visit (two at once make one), found by any id the channel told."""
    now = clock.now()
    names = {"open_id": identity.open_id, "union_id": identity.union_id, "user_id": identity.user_id}
    told = {name: value for name, value in names.items() if value}
    values = {"id": new_id(), "created_at": now, "channel": identity.channel, "app_id": identity.app_id, "seen_at": now}
    session.execute(insert(PatientAccount).values({**values, **told}).on_conflict_do_nothing())
    same = [
        column == value
        for column, value in (
            (PatientAccount.open_id, identity.open_id),
            (PatientAccount.user_id, identity.user_id),
        )
        if value
    ]
    found = session.scalars(
        select(PatientAccount)
        .where(PatientAccount.channel == identity.channel, PatientAccount.app_id == identity.app_id, or_(*same))
        .order_by(PatientAccount.created_at)
        .with_for_update()
    ).all()
    mine = found[0]
    mine.seen_at = now
    if len(found) == 1:
        for name, value in told.items():
            setattr(mine, name, value)
    return mine


def _oauth(known: Settings, state: str) -> WeChatOAuth:
    """wechatpy's OAuth on the configured hosts, with the time limits it has no parameter for."""
    check_hosts(known)
    redirect = known.public_url.rstrip("/") + CALLBACK
    oauth = WeChatOAuth(known.wechat_app_id, known.wechat_secret.get_secret_value(), redirect, state=state)
    oauth.API_BASE_URL = known.wechat_api_url.rstrip("/") + "/"
    oauth.OAUTH_BASE_URL = known.wechat_open_url.rstrip("/") + "/connect/"
    oauth._http = timed_session(known.wechat_api_url)
    return oauth
