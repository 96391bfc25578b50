"""The page of a real box, asked over HTTP without a browser."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tests.support.box import Box
from tests.support.broker import free_port


def add_console(box: Box, more: str = "", port: int = 0) -> int:
    """Before `start`: the page on a port of its own."""
    port = port or free_port()
    box.links.append(f"[console]\nport = {port}\n{more}")
    return port


@dataclass
class Visitor:
    """A client with cookies, and no browser's manners."""

    port: int
    host: str = "127.0.0.1"
    cookies: dict[str, str] = field(default_factory=dict)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> str:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, token: str | None = None, **form: str) -> str:
        """With the token of the last page unless another one is given."""
        given = self.token if token is None else token
        return self._ask("POST", path, urlencode({"token": given, **form}), {})

    token: str = ""

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> str:
        line = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
            if body is not None:
                sent["Content-Type"] = "application/x-www-form-urlencoded"
            line.request(method, path, body, {**sent, **headers})
            answer = line.getresponse()
            self.status, self.headers = answer.status, dict(answer.getheaders())
            for name, value in answer.getheaders():
                if name.lower() == "set-cookie":
                    key, _, rest = value.partition("=")
                    self.cookies[key] = rest.partition(";")[0]
            text = answer.read().decode()
        finally:
            line.close()
        found = re.search(r'name="token" value="([0-9a-f]+)"', text)
        self.token = found[1] if found else self.token
        return text
