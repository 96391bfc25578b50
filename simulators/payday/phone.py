"""One patient's phone on the pages of the hospital and of the channel's cashier. HTTP alone."""

from __future__ import annotations

import html
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

TOKEN = re.compile(r'name="csrf_token" value="([0-9a-f]{64})"')
CASHIER = re.compile(r'data-stand-in="([^"]+)"')
NUMBER = re.compile(r"name=number value='([^']+)'")
STANDING = re.compile(r'data-standing="([a-z_]+)"')
STAGE = re.compile(r'data-stage="([a-z]+)"')
TRIES = 40


class NotServed(RuntimeError):
    """The pages did not let a patient do what they wanted."""


@dataclass(slots=True)
class Bill:
    """One bill of one patient, and what its patient did about it."""

    id: str
    fen: int
    plan: str = "pay"
    """``pay``; ``late``: give up, and the money arrives all the same; ``twice``: the same, but pay anew before it does;
    ``refund``: pay, then want it back."""
    orders: list[str] = field(default_factory=list)
    """The channel's numbers of what was paid for it."""


class Phone:
    """Signed in already; patient with a server or a channel that does not answer."""

    def __init__(self, web: str, channel: str, cookies: Mapping[str, str], pause_s: float = 0.5) -> None:
        self.channel = channel
        self.pause_s = pause_s
        self._http = httpx.Client(base_url=web, timeout=30, trust_env=False, cookies=dict(cookies))
        self._outside = httpx.Client(timeout=30, trust_env=False)
        self.token = ""
        self.asked = 0
        """Requests made."""

    def close(self) -> None:
        self._http.close()
        self._outside.close()

    def begin(self, bill: Bill) -> str:
        """Choose the bill; the address of the pay page. A bill that is being let go is tried again."""
        key = secrets.token_hex(16)
        for _ in range(TRIES):
            answer = self._post("/p/bills/pay", {"charge": bill.id, "fen": str(bill.fen), "key": _dashed(key)})
            if answer.status_code == 303:
                return str(answer.headers["location"])
            if answer.status_code != 409:
                raise NotServed(f"{answer.status_code} choosing bill {bill.id}")
            time.sleep(self.pause_s)
        raise NotServed(f"bill {bill.id} stays held")

    def cashier(self, page: str) -> str:
        """The channel's page to which the pay page leads; a channel that does not answer is tried again."""
        for _ in range(TRIES):
            found = CASHIER.search(self._get(page).text)
            if found and found[1]:
                return html.unescape(found[1])
            time.sleep(self.pause_s)
        raise NotServed(f"{page} never led to the cashier")

    def order(self, cashier: str) -> tuple[str, str]:
        """The channel's host and number of what is to be paid."""
        page = self._outside.get(cashier)
        found = NUMBER.search(page.text)
        if found is None:
            raise NotServed(f"the cashier knows nothing of it: {page.status_code}")
        return cashier.split("/cashier")[0], found[1]

    def tap(self, host: str, number: str, *, late: bool = False) -> None:
        path = "/simulator/pay-all-the-same" if late else "/simulator/pay"
        answer = self._outside.post(f"{host}{path}", json={"number": number})
        if answer.status_code != 200:
            raise NotServed(f"the cashier refuses {number}: {answer.text}")

    def give_up(self, page: str) -> None:
        """Do not pay after all, and see that it is closed."""
        self._post(f"{page}/give-up", {})
        for _ in range(TRIES):
            answer = self._get(f"{page}?back=1")
            stage = STAGE.search(answer.text)
            if stage and stage[1] == "over":
                return
            time.sleep(self.pause_s)
        raise NotServed(f"{page} does not close")

    def want_back(self, bill: Bill) -> None:
        answer = self._post(f"/p/bills/{bill.id}/refund", {"reason": "0"})
        if answer.status_code not in (303, 409):
            raise NotServed(f"{answer.status_code} asking money back for {bill.id}")

    def standing(self, bill: Bill) -> str:
        """The bill in one word, as the patient sees it."""
        found = STANDING.search(self._get(f"/p/bills/{bill.id}").text)
        return found[1] if found else "?"

    def _get(self, path: str) -> httpx.Response:
        return self._asked("GET", path, None)

    def _post(self, path: str, form: dict[str, str]) -> httpx.Response:
        if not self.token:
            found = TOKEN.search(self._get("/p/my").text)
            self.token = found[1] if found else ""
        return self._asked("POST", path, {**form, "csrf_token": self.token})

    def _asked(self, method: str, path: str, form: dict[str, Any] | None) -> httpx.Response:
        for _ in range(TRIES):
            self.asked += 1
            try:
                answer = self._http.request(method, path, data=form)
            except httpx.TransportError:
                time.sleep(self.pause_s)
                continue
            if answer.status_code < 500 or "data-pay=" in answer.text:
                return answer
            time.sleep(self.pause_s)
        raise NotServed(f"{path} does not answer")


def _dashed(key: str) -> str:
    return "-".join((key[:8], key[8:12], key[12:16], key[16:20], key[20:]))
