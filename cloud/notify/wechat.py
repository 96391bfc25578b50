"""WeChat's official account: a client that speaks to the configured host, with time limits and one shared token.

wechatpy 1.8.18 names ``https://api.weixin.qq.com`` inside ``fetch_access_token``, has no time limit for tokens and
OAuth, and recurses on a lasting 40001; the classes here close these. The token lies in the database: a second fetch
makes the first token invalid, so one process fetches while the others go on with the old one (it stays good for five
minutes).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from sqlalchemy import or_, update
from sqlalchemy.dialects.postgresql import insert
from wechatpy import WeChatClient
from wechatpy.exceptions import WeChatClientException

from cloud.config import Settings, settings
from cloud.kit import clock
from cloud.kit.jobs import Begin
from cloud.notify.errors import DeliveryFailed, UnofficialHost
from cloud.notify.model import WechatToken

TIMEOUT_S = (3.05, 10.0)
"""Connecting, reading."""
OFFICIAL_HOSTS = frozenset(
    {"api.weixin.qq.com", "api2.weixin.qq.com", "sh.api.weixin.qq.com", "sz.api.weixin.qq.com", "hk.api.weixin.qq.com"}
)
OFFICIAL_OPEN_HOSTS = frozenset({"open.weixin.qq.com"})
_REFRESH_BEFORE = timedelta(minutes=5)
_REFRESH_CLAIM = timedelta(seconds=20)
_TOKEN_REFUSED = {40001, 40014, 42001}


def check_hosts(known: Settings) -> None:
    """Refuse, in production, a WeChat host that is not WeChat's. Called at start and before every call."""
    if known.environment != "production":
        return
    for url, official in ((known.wechat_api_url, OFFICIAL_HOSTS), (known.wechat_open_url, OFFICIAL_OPEN_HOSTS)):
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.hostname not in official or parts.port not in (None, 443):
            raise UnofficialHost(
                f"{url} is not WeChat's own host; XINGLIN_ENVIRONMENT=production speaks to no stand-in."
            )


class _TimedAdapter(HTTPAdapter):
    """Every request has a time limit, also where the library gives none."""

    def send(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        kwargs["timeout"] = kwargs.get("timeout") or TIMEOUT_S
        return super().send(request, **kwargs)


def timed_session(url: str) -> requests.Session:
    """A session with time limits; a host on this machine is never reached through a proxy of the environment."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _TimedAdapter())
    if urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1"):
        session.trust_env = False
    return session


class OfficialAccount(WeChatClient):  # type: ignore[misc]
    """wechatpy's client on the configured host."""

    def __init__(self, known: Settings, token: str | None = None) -> None:
        check_hosts(known)
        super().__init__(
            known.wechat_app_id,
            known.wechat_secret.get_secret_value(),
            access_token=token,
            timeout=TIMEOUT_S,
            auto_retry=False,
        )
        self.API_BASE_URL = known.wechat_api_url.rstrip("/") + "/cgi-bin/"
        self._http = timed_session(known.wechat_api_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def fetch_access_token(self) -> dict[str, Any]:
        parameters = {"grant_type": "client_credential", "appid": self.appid, "secret": self.secret}
        answer: dict[str, Any] = self._fetch_access_token(self.API_BASE_URL + "token", parameters)
        return answer


def post(begin: Begin, endpoint: str, data: dict[str, Any]) -> dict[str, Any]:
    """Call ``cgi-bin/<endpoint>`` with the shared token; a refused token is fetched anew and tried once more.

    Raises `DeliveryFailed`; no transaction may be open.
    """
    return _call(begin, lambda official: official.post(endpoint, data=data))


def get(begin: Begin, endpoint: str, parameters: dict[str, str]) -> dict[str, Any]:
    """The same with GET."""
    return _call(begin, lambda official: official.get(endpoint, params=parameters))


def _call(begin: Begin, ask: Callable[[OfficialAccount], Any]) -> dict[str, Any]:
    token, generation = access_token(begin)
    try:
        return _asked(token, ask)
    except WeChatClientException as refusal:
        if refusal.errcode not in _TOKEN_REFUSED:
            raise _failure(refusal) from refusal
    _forget(begin, generation)
    token, _ = access_token(begin)
    try:
        return _asked(token, ask)
    except WeChatClientException as refusal:
        raise _failure(refusal) from refusal


def _asked(token: str, ask: Callable[[OfficialAccount], Any]) -> dict[str, Any]:
    try:
        with OfficialAccount(settings(), token) as official:
            answer = ask(official)
    except requests.RequestException as error:
        raise DeliveryFailed(f"wechat_{type(error).__name__}", permanent=False) from error
    if not isinstance(answer, dict):
        raise DeliveryFailed("wechat_answer_unreadable", permanent=False)
    return answer


_PERMANENT = {
    40003,  # invalid open id
    40037,  # invalid template id
    43004,  # the receiver does not follow the account
    43101,  # the receiver refused the message
    47003,  # a field does not fit the template
}


def _failure(refusal: WeChatClientException) -> DeliveryFailed:
    return DeliveryFailed(f"wechat_{refusal.errcode or 'http'}", permanent=refusal.errcode in _PERMANENT)


def access_token(begin: Begin) -> tuple[str, int]:
    """The shared token and its generation; fetched by one process when it is missing or about to end."""
    known = settings()
    now = clock.now()
    with begin() as session:
        session.execute(
            insert(WechatToken)
            .values(app_id=known.wechat_app_id, generation=0)
            .on_conflict_do_nothing(index_elements=["app_id"])
        )
        claimed = session.scalar(
            update(WechatToken)
            .where(
                WechatToken.app_id == known.wechat_app_id,
                or_(WechatToken.token.is_(None), WechatToken.expires_at < now + _REFRESH_BEFORE),
                or_(WechatToken.refreshing_until.is_(None), WechatToken.refreshing_until < now),
            )
            .values(refreshing_until=now + _REFRESH_CLAIM)
            .returning(WechatToken.app_id)
        )
        row = session.get(WechatToken, known.wechat_app_id, populate_existing=True)
        if row is None:
            raise DeliveryFailed("wechat_token_row_missing", permanent=False)
        token, expires_at, generation = row.token, row.expires_at, row.generation
    if claimed is not None:
        return _fetch(begin, known)
    if token is None or expires_at is None or expires_at <= now:
        raise DeliveryFailed("wechat_token_being_fetched", permanent=False)
    return token, generation


def _fetch(begin: Begin, known: Settings) -> tuple[str, int]:
    """Ask WeChat for a token and share it; whatever goes wrong, the claim is given back."""
    try:
        with OfficialAccount(known) as official:
            answer = official.fetch_access_token()
        token, lifetime = str(answer["access_token"]), int(answer.get("expires_in", 7200))
    except WeChatClientException as refusal:
        _give_back(begin, known)
        raise _failure(refusal) from refusal
    except (requests.RequestException, ValueError, KeyError) as error:
        _give_back(begin, known)
        raise DeliveryFailed(f"wechat_token_{type(error).__name__}", permanent=False) from error
    with begin() as session:
        generation = session.scalars(
            update(WechatToken)
            .where(WechatToken.app_id == known.wechat_app_id)
            .values(
                token=token,
                expires_at=clock.now() + timedelta(seconds=lifetime),
                refreshing_until=None,
                generation=WechatToken.generation + 1,
            )
            .returning(WechatToken.generation)
        ).one()
    return token, generation


def _give_back(begin: Begin, known: Settings) -> None:
    with begin() as session:
        session.execute(
            update(WechatToken).where(WechatToken.app_id == known.wechat_app_id).values(refreshing_until=None)
        )


def _forget(begin: Begin, generation: int) -> None:
    """WeChat refused the token: drop it, unless somebody has fetched a newer one already."""
    with begin() as session:
        session.execute(
            update(WechatToken)
            .where(WechatToken.app_id == settings().wechat_app_id, WechatToken.generation == generation)
            .values(token=None, expires_at=None)
        )
