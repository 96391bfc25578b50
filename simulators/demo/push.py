"""The messages that the simulated WeChat has pushed to phones, in their order."""

from __future__ import annotations

from typing import Any

import httpx


class Pushes:
    def __init__(self, wechat_url: str) -> None:
        self._url = f"{wechat_url}/simulator/messages"
        self._client = httpx.Client(trust_env=False, timeout=10)
        self._seen = 0

    def new(self) -> list[tuple[str, str]]:
        """(open id, link) of every message since the last call."""
        messages: list[dict[str, Any]] = self._client.get(self._url, params={"after": self._seen}).json()["messages"]
        self._seen += len(messages)
        return [(each["openid"], each["url"]) for each in messages]
