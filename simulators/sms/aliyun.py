"""The same gateway asked in Aliyun's way: ``SendSms`` as a signed form (RPC, version 1.0 of the signature).

From Aliyun's open documentation; a call older than a quarter of an hour, with a nonce seen before or a wrong signature
is refused, as there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from calendar import timegm
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote

from simulators.http_service import Answer, Request, as_json

OLDEST_S = 900


@dataclass(slots=True)
class AliyunDoor:
    """`deliver(phone, template, parameters, number)` puts a text on a phone's screen."""

    key_id: str
    secret: str
    sign_name: str
    templates: Mapping[str, str]
    """The carrier's code → which of the gateway's texts it is."""
    deliver: Callable[[str, str, dict[str, Any], str], None]
    nonces: set[str] = field(default_factory=set)

    def take(self, request: Request) -> Answer:
        given = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        refusal = self._refusal(given)
        if refusal:
            return as_json({"RequestId": secrets.token_hex(8), "Code": refusal, "Message": refusal}, 400)
        phone, template = given["PhoneNumbers"], self.templates.get(given["TemplateCode"])
        if not phone.isdigit() or len(phone) != 11:
            return self._told("isv.MOBILE_NUMBER_ILLEGAL")
        if given["SignName"] != self.sign_name:
            return self._told("isv.SMS_SIGNATURE_ILLEGAL")
        if template is None:
            return self._told("isv.SMS_TEMPLATE_ILLEGAL")
        self.deliver(phone, template, json.loads(given["TemplateParam"]), given.get("OutId", ""))
        return self._told("OK", BizId=f"{time.time_ns()}^0")

    def _told(self, code: str, **more: str) -> Answer:
        return as_json({"RequestId": secrets.token_hex(8), "Code": code, "Message": code, **more})

    def _refusal(self, given: dict[str, str]) -> str:
        sent = given.pop("Signature", "")
        if given.get("Action") != "SendSms" or given.get("Version") != "2017-05-25":
            return "InvalidAction.NotFound"
        if given.get("AccessKeyId") != self.key_id:
            return "InvalidAccessKeyId.NotFound"
        if abs(time.time() - timegm(time.strptime(given["Timestamp"], "%Y-%m-%dT%H:%M:%SZ"))) > OLDEST_S:
            return "InvalidTimeStamp.Expired"
        if given["SignatureNonce"] in self.nonces:
            return "SignatureNonceUsed"
        words = [f"{_percent(name)}={_percent(value)}" for name, value in sorted(given.items())]
        text = "POST&" + _percent("/") + "&" + _percent("&".join(words))
        made = base64.b64encode(hmac.new((self.secret + "&").encode(), text.encode(), hashlib.sha1).digest()).decode()
        if not hmac.compare_digest(made, sent):
            return "SignatureDoesNotMatch"
        self.nonces.add(given["SignatureNonce"])
        return ""


def _percent(text: str) -> str:
    return quote(text, safe="-_.~")
