"""SMS through the gateway's HTTP endpoint: ``POST settings.sms_url`` with JSON, key in ``X-Key``, ``{"ok": true}``
when taken.

The text lies at the gateway as a template approved by the carriers; we send its name and parameters. `id` is the
delivery's: the gateway drops a second message with it.
"""

from __future__ import annotations

from typing import Any

import httpx

from cloud.config import settings
from cloud.kit.jobs import Begin
from cloud.notify.errors import DeliveryFailed
from cloud.notify.service import Message
from cloud.notify.transports import aliyun_sms

TIMEOUT_S = 10.0
_TRY_AGAIN = {408, 425, 429}


def send(begin: Begin, message: Message) -> str | None:
    known = settings()
    if known.sms_driver == "aliyun":
        return aliyun_sms.send(begin, message)
    if not known.sms_url:
        raise DeliveryFailed("sms_not_configured", permanent=False)
    body = {
        "id": str(message.id),
        "phone": message.address,
        "template": message.template,
        "parameters": message.parameters,
    }
    try:
        answer = httpx.post(
            known.sms_url, json=body, headers={"X-Key": known.sms_key.get_secret_value()}, timeout=TIMEOUT_S
        )
    except httpx.HTTPError as error:
        raise DeliveryFailed(f"sms_{type(error).__name__}", permanent=False) from error
    return _receipt(answer)


def _receipt(answer: httpx.Response) -> str | None:
    """The gateway's number for the message. 4xx is our fault for good, but for the few that mean "later"."""
    if answer.status_code != httpx.codes.OK:
        later = answer.status_code >= 500 or answer.status_code in _TRY_AGAIN
        wish = answer.headers.get("Retry-After", "")
        raise DeliveryFailed(
            f"sms_http_{answer.status_code}",
            permanent=not later,
            retry_after_s=float(wish) if wish.isdigit() else None,
        )
    try:
        content: dict[str, Any] = answer.json()
    except ValueError as error:
        raise DeliveryFailed("sms_answer_unreadable", permanent=False) from error
    if not isinstance(content, dict) or content.get("ok") is not True:
        refused = isinstance(content, dict) and content.get("permanent") is True
        raise DeliveryFailed("sms_refused", permanent=refused)
    receipt = content.get("receipt")
    return None if receipt is None else str(receipt)
