"""Sign-in through WeChat's OAuth (scope snsapi_base: silent, gives only the open id).

The `state` belongs to the browser that asked (its keyed hash lies beside the browser cookie's) and is good once, so
nobody is signed in by a link somebody else sent. A code is good once, here as at WeChat. Everything has a time limit.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import requests
from sqlalchemy import update
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
from cloud.notify.wechat import check_hosts, timed_session
from cloud.patient.identity.model import PatientAccount, SignInAttempt
from cloud.patient.identity.rules import STATE_LIFETIME
from cloud.web.i18n import mark as N_

CALLBACK = "/p/oauth/wechat"


@dataclass(frozen=True, slots=True)
class ChannelIdentity:
    """Who the channel says is at the phone."""

    channel: str
    app_id: str
    open_id: str
    union_id: str | None


def start(session: Session, *, browser: str, next_page: str) -> str:
    """Remember where this browser wants to go; returns the channel's address to send it to."""
    known = settings()
    if not known.wechat_app_id:
        raise Unavailable("wechat_not_configured", N_("本院尚未开通微信登录，请到窗口办理。"))
    state = secrets.token_urlsafe(24)
    session.add(
        SignInAttempt(
            state_index=blind_index(state, "oauth.state"),
            browser_index=blind_index(browser, "oauth.browser"),
            next_page=next_page,
            expires_at=clock.now() + STATE_LIFETIME,
        )
    )
    session.flush()
    oauth = _oauth(known, state)
    oauth._http.close()  # the address is made here; nobody is called
    return str(oauth.authorize_url)


def redeem_state(session: Session, *, state: str, code: str, browser: str) -> str:
    """Use up the state and note the code; returns where the browser wanted to go.

    Raises `Forbidden` for a state that is unknown, over, used or another browser's, and for a code seen before.
    """
    refusal = Forbidden("oauth_refused", N_("登录已失效，请关闭本页后从公众号重新进入。"))
    try:
        with session.begin_nested():
            found = session.scalar(
                update(SignInAttempt)
                .where(
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


def exchange(code: str) -> ChannelIdentity:
    """Ask WeChat who brought the code; no transaction may be open. Raises `Forbidden` or `Unavailable`."""
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


def account_of(session: Session, identity: ChannelIdentity) -> PatientAccount:
    """The account of this user; made at the first visit (two at once make one)."""
    now = clock.now()
    values = {
        "id": new_id(),
        "created_at": now,
        "channel": identity.channel,
        "app_id": identity.app_id,
        "open_id": identity.open_id,
        "union_id": identity.union_id,
        "seen_at": now,
    }
    changes = {"seen_at": now} | ({"union_id": identity.union_id} if identity.union_id else {})
    return session.scalars(
        insert(PatientAccount)
        .values(values)
        .on_conflict_do_update(index_elements=["channel", "app_id", "open_id"], set_=changes)
        .returning(PatientAccount)
        .execution_options(populate_existing=True)
    ).one()


def _oauth(known: Settings, state: str) -> WeChatOAuth:
    """wechatpy's OAuth on the configured hosts, with the time limits it has no parameter for."""
    check_hosts(known)
    redirect = known.public_url.rstrip("/") + CALLBACK
    oauth = WeChatOAuth(known.wechat_app_id, known.wechat_secret.get_secret_value(), redirect, state=state)
    oauth.API_BASE_URL = known.wechat_api_url.rstrip("/") + "/"
    oauth.OAUTH_BASE_URL = known.wechat_open_url.rstrip("/") + "/connect/"
    oauth._http = timed_session(known.wechat_api_url)
    return oauth
