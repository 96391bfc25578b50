"""The channels this hospital has, made from its settings. A new one: a module here and a line in `_MAKERS`."""

from __future__ import annotations

from collections.abc import Callable

from cloud.config import Settings, settings
from cloud.kit.errors import Unavailable
from cloud.payments.channels import alipay, wechat_v2, wechat_v3
from cloud.payments.contract import Channel
from cloud.web.i18n import mark as N_

WECHAT = "wechat"
ALIPAY = "alipay"


def _wechat(known: Settings) -> Channel | None:
    if known.wechat_pay_driver == "v3":
        return wechat_v3.WechatV3(known)
    return wechat_v2.WechatV2(known) if known.wechat_pay_driver == "v2" else None


def _alipay(known: Settings) -> Channel | None:
    return alipay.Alipay(known) if known.alipay_app_id else None


_MAKERS: dict[str, Callable[[Settings], Channel | None]] = {WECHAT: _wechat, ALIPAY: _alipay}
NAMES = tuple(_MAKERS)
"""Every channel there can be, whether or not this hospital has it."""


_made_with: Settings | None = None
_channels: dict[str, Channel | None] = {}


def _made(name: str, known: Settings) -> Channel | None:
    """Made once in a process (keys are read, a client is kept), and again when the settings are others."""
    global _made_with
    if _made_with is not known:
        _made_with = known
        _channels.clear()
    if name not in _channels:
        make = _MAKERS.get(name)
        _channels[name] = make(known) if make else None
    return _channels[name]


def of(name: str) -> Channel:
    """The channel called so. Raises `Unavailable` where this hospital has none."""
    found = _made(name, settings())
    if found is None:
        raise Unavailable("payment.no_channel", N_("本院尚未开通这种支付方式，请到窗口缴费。"))
    return found


def offered() -> list[str]:
    """Names of the channels that this hospital has."""
    return [name for name in _MAKERS if _made(name, settings()) is not None]


def notice_url(name: str) -> str:
    """Where the channel tells us of payments and refunds."""
    return f"{settings().public_url.rstrip('/')}/pay/notice/{name}"


def check(known: Settings) -> None:
    """Read every key and refuse, at start, what can't work or is no channel's own host in production.

    Raises `cloud.payments.channels.keys.BadKeys`.
    """
    for name in _MAKERS:
        _made(name, known)
