"""The payment channels' simulators beside a cloud whose settings point at them, with keys made for the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from cloud.config import settings
from simulators.ledger import Ledger
from simulators.money import signing
from simulators.money.alipay import AlipayService, App
from simulators.money.wechat_pay import WechatPayService
from simulators.money.wechat_pay_v2 import Merchant

APP_ID, MERCHANT_ID = "wx0000simulated01", "1900000001"
ALIPAY_APP_ID, SELLER_ID = "2021000000000001", "2088000000000001"
V3_KEY, V2_KEY = "v3-key-of-thirty-two-characters!", "v2-key-of-thirty-two-characters!"


@cache
def keys() -> tuple[RSAPrivateKey, RSAPrivateKey, RSAPrivateKey, RSAPrivateKey]:
    """The merchant's, WeChat's, the app's, Alipay's; made once in a run, they take a while."""
    return signing.new_key(), signing.new_key(), signing.new_key(), signing.new_key()


@dataclass(frozen=True, slots=True)
class Cashiers:
    wechat: WechatPayService
    alipay: AlipayService


@contextmanager
def running(patched: pytest.MonkeyPatch, app_id: str = APP_ID, **more: str) -> Iterator[Cashiers]:
    """Both simulators on loopback ports; `more` are further settings (``wechat_pay_driver="v2"``)."""
    merchant_key, platform_key, app_key, alipay_key = keys()
    merchant = Merchant(app_id, MERCHANT_ID, "5A" * 20, signing.public_pem(merchant_key), V3_KEY, V2_KEY, platform_key)
    wechat = WechatPayService(Ledger(None, "wechat-pay"), merchant)
    alipay = AlipayService(
        Ledger(None, "alipay"), App(ALIPAY_APP_ID, SELLER_ID, signing.public_pem(app_key), alipay_key)
    )
    servers = [wechat.start("127.0.0.1", 0), alipay.start("127.0.0.1", 0)]
    wanted = {
        "wechat_app_id": app_id,
        "wechat_pay_driver": "v3",
        "wechat_pay_url": wechat.base,
        "wechat_pay_merchant_id": MERCHANT_ID,
        "wechat_pay_serial": merchant.serial,
        "wechat_pay_private_key": signing.private_pem(merchant_key),
        "wechat_pay_public_key": signing.public_pem(platform_key),
        "wechat_pay_public_key_id": merchant.platform_key_id,
        "wechat_pay_v3_key": V3_KEY,
        "wechat_pay_v2_key": V2_KEY,
        "alipay_url": f"{alipay.base}/gateway.do",
        "alipay_open_url": alipay.base,
        "alipay_message_template_id": alipay.life.templates[0],
        "alipay_app_id": ALIPAY_APP_ID,
        "alipay_merchant_id": SELLER_ID,
        "alipay_private_key": signing.private_pem(app_key),
        "alipay_public_key": signing.public_pem(alipay_key),
        **more,
    }
    for name, value in wanted.items():
        patched.setenv(f"XINGLIN_{name.upper()}", value)
    patched.setenv("NO_PROXY", "127.0.0.1")
    settings.cache_clear()
    try:
        yield Cashiers(wechat, alipay)
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
