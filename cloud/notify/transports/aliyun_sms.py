"""SMS through an Aliyun-style endpoint: the RPC call ``SendSms``, signed with the access key's secret (HMAC-SHA1).

The text lies at the carrier under a code (`settings.sms_templates`). The call carries our number as ``OutId`` for the
carrier's own record, but the service drops no repetition: after an answer that was lost a message may come twice.
Source: Aliyun's open documentation of SendSms (2017-05-25) and of the RPC signature, version 1.0.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from datetime import UTC
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from cloud.config import Settings, settings
from cloud.kit import clock
from cloud.kit.jobs import Begin
from cloud.notify.errors import DeliveryFailed, UnofficialHost
from cloud.notify.service import Message

TIMEOUT_S = 10.0
_LATER = {"isv.BUSINESS_LIMIT_CONTROL", "isp.SYSTEM_ERROR", "isv.OUT_OF_SERVICE", "isv.AMOUNT_NOT_ENOUGH"}
"""The phone's own limit, the service's trouble, an empty account: not the message's fault."""


def send(_begin: Begin, message: Message) -> str | None:
    known = settings()
    check_host(known)
    code = known.sms_templates.get(message.template)
    if not known.sms_url or not known.sms_access_key_id or not known.sms_key.get_secret_value():
        raise DeliveryFailed("sms_not_configured", permanent=False)
    if code is None:
        raise DeliveryFailed("sms_no_template", permanent=False)
    fields = signed_fields(known, message, code)
    try:
        answer = httpx.post(known.sms_url, data=fields, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        raise DeliveryFailed(f"sms_{type(error).__name__}", permanent=False) from error
    return _receipt(answer)


def check_host(known: Settings) -> None:
    """In production only Aliyun's own hosts: whoever answers instead would read every code."""
    parts = urlsplit(known.sms_url)
    official = parts.scheme == "https" and (parts.hostname or "").endswith(".aliyuncs.com")
    if known.environment == "production" and not official:
        raise UnofficialHost(f"XINGLIN_SMS_URL={known.sms_url} is not Aliyun's own host.")


def signed_fields(known: Settings, message: Message, code: str) -> dict[str, str]:
    fields = {
        "AccessKeyId": known.sms_access_key_id,
        "Action": "SendSms",
        "Format": "JSON",
        "OutId": str(message.id),
        "PhoneNumbers": message.address,
        "SignName": known.sms_sign_name,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": str(uuid.uuid4()),
        "SignatureVersion": "1.0",
        "TemplateCode": code,
        "TemplateParam": json.dumps(message.parameters, ensure_ascii=False),
        "Timestamp": f"{clock.now().astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "Version": "2017-05-25",
    }
    return {**fields, "Signature": signature(fields, known.sms_key.get_secret_value())}


def signature(fields: Mapping[str, str], secret: str) -> str:
    """Over the sorted fields, percent-encoded twice, with the secret and an ampersand as the key."""
    text = "&".join(f"{_encoded(name)}={_encoded(fields[name])}" for name in sorted(fields))
    digest = hmac.digest(f"{secret}&".encode(), f"POST&%2F&{_encoded(text)}".encode(), hashlib.sha1)
    return base64.b64encode(digest).decode()


def _encoded(text: str) -> str:
    return quote(text, safe="~")


def _receipt(answer: httpx.Response) -> str | None:
    try:
        content: Any = answer.json()
    except ValueError as error:
        raise DeliveryFailed("sms_answer_unreadable", permanent=False) from error
    code = str(content.get("Code", "")) if isinstance(content, dict) else ""
    if code == "OK" and answer.status_code == httpx.codes.OK:
        return str(content.get("BizId") or "") or None
    later = answer.status_code >= 500 or answer.status_code in (408, 429) or code in _LATER
    raise DeliveryFailed(f"sms_{code or answer.status_code}"[:60], permanent=bool(code) and not later)
