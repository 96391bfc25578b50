"""The payment channels as programs of their own: `wechat-pay` and `alipay`.

Each makes the keys of both sides at its start (or reads them again from `--keys`) and writes what the merchant has to
know as a file of settings, the way a channel hands a merchant its papers. The file is complete once it is there.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from simulators.http_service import wait_for_end
from simulators.ledger import Ledger
from simulators.money import signing
from simulators.money.alipay import AlipayService, App
from simulators.money.cashier import CashierService
from simulators.money.wechat_pay import WechatPayService
from simulators.money.wechat_pay_v2 import Merchant

MERCHANT_SERIAL = "5A" * 20
V3_KEY, V2_KEY = "v3-key-of-thirty-two-characters!", "v2-key-of-thirty-two-characters!"


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--keys", type=Path, required=True, help="a folder: keys are kept there, and the settings file")
    parser.add_argument(
        "--chaos", type=json.loads, default={}, help='accidents from the start, e.g. {"notice_lost": 0.2, "seed": 3}'
    )


def add_wechat_arguments(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--app-id", default="wx0000simulated01", help="the official account that pays")
    parser.add_argument("--merchant-id", default="1900000001")
    parser.add_argument("--driver", choices=("v3", "v2"), default="v3", help="which interface the settings name")


def add_alipay_arguments(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--app-id", default="2021000000000001")
    parser.add_argument("--seller-id", default="2088000000000001")


def run_wechat(arguments: argparse.Namespace) -> int:
    theirs, own = _key(arguments.keys, "wechat-pay-merchant"), _key(arguments.keys, "wechat-pay-platform")
    merchant = Merchant(
        arguments.app_id,
        arguments.merchant_id,
        MERCHANT_SERIAL,
        signing.public_pem(theirs),
        V3_KEY,
        V2_KEY,
        own,
    )
    service = WechatPayService(Ledger(arguments.ledger, "wechat-pay"), merchant)
    return _serve(
        service,
        arguments,
        "wechat-pay",
        lambda: {
            "XINGLIN_WECHAT_PAY_DRIVER": arguments.driver,
            "XINGLIN_WECHAT_PAY_URL": service.base,
            "XINGLIN_WECHAT_PAY_MERCHANT_ID": merchant.merchant_id,
            "XINGLIN_WECHAT_PAY_SERIAL": merchant.serial,
            "XINGLIN_WECHAT_PAY_PRIVATE_KEY": signing.private_pem(theirs),
            "XINGLIN_WECHAT_PAY_PUBLIC_KEY": signing.public_pem(own),
            "XINGLIN_WECHAT_PAY_PUBLIC_KEY_ID": merchant.platform_key_id,
            "XINGLIN_WECHAT_PAY_V3_KEY": V3_KEY,
            "XINGLIN_WECHAT_PAY_V2_KEY": V2_KEY,
        },
    )


def run_alipay(arguments: argparse.Namespace) -> int:
    theirs, own = _key(arguments.keys, "alipay-app"), _key(arguments.keys, "alipay-own")
    app = App(arguments.app_id, arguments.seller_id, signing.public_pem(theirs), own)
    service = AlipayService(Ledger(arguments.ledger, "alipay"), app)
    return _serve(
        service,
        arguments,
        "alipay",
        lambda: {
            "XINGLIN_ALIPAY_URL": f"{service.base}/gateway.do",
            "XINGLIN_ALIPAY_OPEN_URL": service.base,
            "XINGLIN_ALIPAY_MESSAGE_TEMPLATE_ID": service.life.templates[0],
            "XINGLIN_ALIPAY_APP_ID": app.app_id,
            "XINGLIN_ALIPAY_MERCHANT_ID": app.seller_id,
            "XINGLIN_ALIPAY_PRIVATE_KEY": signing.private_pem(theirs),
            "XINGLIN_ALIPAY_PUBLIC_KEY": signing.public_pem(own),
        },
    )


def _serve(
    service: CashierService, arguments: argparse.Namespace, name: str, settings: Callable[[], dict[str, str]]
) -> int:
    service.book.set_chaos(arguments.chaos)
    service.start(arguments.host, arguments.port)
    _write(arguments.keys / f"{name}.json", json.dumps(settings(), indent=1))
    wait_for_end()
    return 0


def _key(folder: Path, name: str) -> rsa.RSAPrivateKey:
    """The key of that name, the same at every start."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.pem"
    if file.exists():
        found = serialization.load_pem_private_key(file.read_bytes(), None)
        assert isinstance(found, rsa.RSAPrivateKey)
        return found
    made = signing.new_key()
    _write(file, signing.private_pem(made))
    return made


def _write(file: Path, text: str) -> None:
    """For the owner's eyes, and never seen half written."""
    beside = file.with_suffix(".part")
    beside.touch(mode=0o600)
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, file)
