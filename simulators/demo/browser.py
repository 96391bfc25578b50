"""A person's browser: one HTTP session with cookies, page tokens and redirects; patient while a part is away.

A request that meets a dead server is made again, as a person reloads; a post that may have been taken is only repeated
where the caller says that it does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urljoin

import httpx

from simulators.demo.pages import Element, Form, forms, read_page


class Refused(RuntimeError):
    """The server said no: the message has the status and the first words of its page."""

    def __init__(self, status: int, text: str, url: str) -> None:
        super().__init__(f"{url}: {status} {text[:300]}")
        self.status = status


class Browser:
    """`patience_s`: how long a dead server is waited for."""

    def __init__(
        self,
        base_url: str,
        *,
        cookies: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        patience_s: float = 90,
    ) -> None:
        self.base_url = base_url
        self.patience_s = patience_s
        self._client = httpx.Client(
            timeout=30, trust_env=False, follow_redirects=True, cookies=cookies, headers=headers
        )
        self.url = base_url
        self.html = ""
        self.page = read_page("")
        self.csrf = ""

    def close(self) -> None:
        self._client.close()

    def _patiently(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                answer = ask()
                if answer.status_code < 500 or time.monotonic() > deadline:
                    return answer
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def get(self, path: str) -> Element:
        """Open a page; redirects are followed."""
        answer = self._patiently(lambda: self._client.get(urljoin(self.url, path)))
        return self._take(answer)

    def raw(self, path: str) -> httpx.Response:
        """Download something that is no page."""
        answer = self._patiently(lambda: self._client.get(urljoin(self.url, path)))
        if answer.status_code != 200:
            raise Refused(answer.status_code, answer.text, str(answer.url))
        return answer

    def post(self, path: str, data: dict[str, str]) -> Element:
        """Send a form with this page's token."""
        target = urljoin(self.url, path)
        body = {"csrf_token": self.csrf, **data}
        answer = self._patiently(lambda: self._client.post(target, data=body))
        return self._take(answer)

    def submit(self, form: Form, **changes: str) -> Element:
        return self.post(form.action or self.url, {**form.fields, **changes})

    def form(self, action: str) -> Form:
        """The form of this page whose action starts with `action`."""
        for each in forms(self.page):
            if each.action.startswith(action):
                return each
        raise Refused(200, f"no form to {action} on this page: {self.page.text[:200]}", self.url)

    def _take(self, answer: httpx.Response) -> Element:
        if answer.status_code >= 400:
            raise Refused(answer.status_code, read_page(answer.text).text, str(answer.url))
        self.url = str(answer.url)
        self.html = answer.text
        self.page = read_page(answer.text)
        token = self.page.first("input", name="csrf_token")
        if token is not None:
            self.csrf = token.get("value")
        return self.page
