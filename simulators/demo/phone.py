"""A patient's phone: signs in through WeChat, binds the patient with the code from the SMS, opens the pushed link,
reads.

HTTP alone, as a person's web view does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from simulators.demo.browser import Browser, Refused
from simulators.demo.compare import read_paper, read_phone
from simulators.demo.pages import Element, read_page
from simulators.demo.reading import Reading

Tamper = Callable[[str], str]

WECHAT_VIEW = {"User-Agent": "Mozilla/5.0 (Linux; Android 14) MicroMessenger/8.0.50"}


class Phone:
    """One person's phone. `tamper` is the saboteur's: it changes what the phone is shown."""

    def __init__(self, openid: str, *, web_url: str, sms_url: str, patience_s: float = 90) -> None:
        self.openid = openid
        self.sms_url = sms_url
        self.browser = Browser(web_url, cookies={"wechat_user": openid}, headers=WECHAT_VIEW, patience_s=patience_s)
        self.bound = False

    def bind(self, *, name: str, number: str, phone: str) -> None:
        """Sign in, say who one is, type the code that came to the phone on the hospital's file."""
        since = time.time()
        self.browser.get("/p/sign-in?next=/p/bind")
        form = self.browser.form("/p/bind")
        self.browser.submit(form, name=name, number=number, relation="self")
        if "/p/bind/" not in self.browser.url:
            raise Refused(200, f"no code was sent: {self.browser.page.text}", self.browser.url)
        code = self._code(phone, since)
        self.browser.submit(self.browser.form("/p/bind/"), code=code)
        if not self.browser.url.endswith("/p/my"):
            raise Refused(200, f"not bound: {self.browser.page.text}", self.browser.url)
        self.bound = True

    def _code(self, phone: str, since: float) -> str:
        deadline = time.monotonic() + self.browser.patience_s
        while time.monotonic() < deadline:
            answer = httpx.get(
                f"{self.sms_url}/simulator/inbox", params={"phone": phone, "since": since}, trust_env=False, timeout=10
            )
            messages: list[dict[str, Any]] = answer.json()["messages"]
            codes = [each for each in messages if each["template"] == "binding_code"]
            if codes:
                return str(codes[-1]["parameters"]["code"])
            time.sleep(0.2)
        raise Refused(408, "no SMS came", self.sms_url)

    def read(self, link: str, tamper: Tamper | None = None) -> Reading:
        """Open a report and its PDF."""
        self.browser.get(link)
        html = tamper(self.browser.html) if tamper is not None else self.browser.html
        page = read_page(html)
        article = page.first("article", data_accession=None)
        if article is None:
            raise Refused(200, f"no report on this page: {page.text[:200]}", self.browser.url)
        paper = self.browser.raw(_pdf_link(page)).content
        return Reading(article.get("data-accession"), link, html, paper, read_phone(page), read_paper(paper))


def _pdf_link(page: Element) -> str:
    for each in page.all("a"):
        if each.get("href").endswith("/pdf"):
            return each.get("href")
    raise Refused(200, "the report page leads to no PDF", "")
