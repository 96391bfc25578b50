"""Alipay's open platform for sign-in and messages: python-alipay-sdk on the configured host, with a time limit.

Around the library (3.4.0): an error comes as a node of its own or as a normal dict (only ``code`` 10000 or none is
good); no time limit unless one is given; the timestamp would be the container's; it asks by GET, so nothing of a
patient but what Alipay must know goes in.
"""

from __future__ import annotations

from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

from alipay import AliPay, DCAliPay
from alipay.exceptions import AliPayException, AliPayValidationError
from alipay.utils import AliPayConfig

from cloud.config import Settings
from cloud.kit import clock
from cloud.notify.errors import UnofficialHost

TIMEOUT_S = 10
OFFICIAL_HOSTS = frozenset({"openapi.alipay.com"})
OFFICIAL_OPEN_HOSTS = frozenset({"openauth.alipay.com"})


class AlipayAway(Exception):
    """No answer, or none that Alipay signed: nobody knows what became of the call."""


class AlipayRefused(Exception):
    """Alipay said no; `code` is its sub code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def check_hosts(known: Settings) -> None:
    """Refuse, in production, a host that is not Alipay's."""
    if known.environment != "production":
        return
    for url, official in ((known.alipay_url, OFFICIAL_HOSTS), (known.alipay_open_url, OFFICIAL_OPEN_HOSTS)):
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.hostname not in official or parts.port not in (None, 443):
            raise UnofficialHost(
                f"{url} is not Alipay's own host; XINGLIN_ENVIRONMENT=production speaks to no stand-in."
            )


def call(known: Settings, method: str, content: dict[str, Any] | None = None, **more: str) -> dict[str, Any]:
    """One signed call; raises `AlipayAway` or `AlipayRefused`. No transaction may be open."""
    check_hosts(known)
    timestamp = f"{clock.local(clock.now()):%Y-%m-%d %H:%M:%S}"
    try:
        answer = _client(known).server_api(method, content, timestamp=timestamp, **more)
    except AliPayValidationError as error:
        raise AlipayAway("unsigned") from error
    except AliPayException as error:
        if str(error.code) in ("20000", "10003"):
            raise AlipayAway(str(error.code)) from error
        # An error node carries no signature in some cases: what it says only ever refuses, so it may be believed.
        raise AlipayRefused(str(error.code)) from error
    except (URLError, OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise AlipayAway(type(error).__name__) from error
    if not isinstance(answer, dict):
        raise AlipayAway("unreadable")
    code = str(answer.get("code", "10000"))
    if code in ("20000", "10003"):
        raise AlipayAway(str(answer.get("sub_code") or code))
    if code != "10000":
        raise AlipayRefused(str(answer.get("sub_code") or code))
    return answer


def _client(known: Settings) -> Any:
    secret = known.alipay_private_key.get_secret_value()
    if known.alipay_certificate:
        made: Any = DCAliPay(
            appid=known.alipay_app_id,
            app_private_key_string=secret,
            app_public_key_cert_string=known.alipay_app_certificate,
            alipay_public_key_cert_string=known.alipay_certificate,
            alipay_root_cert_string=known.alipay_root_certificate,
        )
        made._config = AliPayConfig(timeout=TIMEOUT_S)
    else:
        made = AliPay(
            appid=known.alipay_app_id,
            app_private_key_string=secret,
            alipay_public_key_string=known.alipay_public_key,
            config=AliPayConfig(timeout=TIMEOUT_S),
        )
    made._gateway = known.alipay_url
    return made
