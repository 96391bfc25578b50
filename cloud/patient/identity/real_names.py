"""The real-name port: does this name belong to this citizen number? Asked before a code is sent, between transactions.

`same` and `different` are answers; anything else (no answer, a service that does not know) is `unknown`, which is never
counted as a no: the code to the phone on the hospital's file is the proof, and the question is asked again later.
Without a service (`none`) nobody is asked, and the window compares the document.

HTTP adapter: POST JSON ``{"id", "name", "id_number"}`` with ``X-Timestamp`` and ``X-Signature``, the hexadecimal
HMAC-SHA256 of ``timestamp + "\\n" + body`` under the shared key; the answer is ``{"result": "same"|"different"|...}``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Protocol

import requests

from cloud.config import Settings, settings
from cloud.kit import clock
from cloud.kit.ids import new_id
from cloud.notify.wechat import timed_session

SAME, DIFFERENT, UNKNOWN = "same", "different", "unknown"


class RealNames(Protocol):
    def compare(self, name: str, id_number: str) -> str | None:
        """`SAME`, `DIFFERENT` or `UNKNOWN`; None where nobody is asked. Never raises for a service that is away."""
        ...


class Nobody:
    """No service: the window verifies."""

    def compare(self, name: str, id_number: str) -> str | None:
        return None


class HttpRealNames:
    """A hospital's contract with a real-name service, behind its own small gateway."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key.encode()

    def compare(self, name: str, id_number: str) -> str | None:
        body = json.dumps({"id": new_id().hex, "name": name, "id_number": id_number}, ensure_ascii=False).encode()
        at = str(int(clock.now().timestamp()))
        signature = hmac.new(self._key, at.encode() + b"\n" + body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Timestamp": at, "X-Signature": signature}
        try:
            with timed_session(self._url) as session:
                answer = session.post(self._url, data=body, headers=headers)
            said = answer.json() if answer.status_code == 200 else {}
        except (requests.RequestException, ValueError):
            return UNKNOWN
        found = said.get("result") if isinstance(said, dict) else None
        return found if found in (SAME, DIFFERENT) else UNKNOWN


def service(known: Settings | None = None) -> RealNames:
    """Whom this deployment asks."""
    known = known or settings()
    if not known.real_name_url:
        return Nobody()
    return HttpRealNames(known.real_name_url, known.real_name_key.get_secret_value())
