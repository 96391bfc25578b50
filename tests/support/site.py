"""The web application on a real port in this process, and browsers without a screen (httpx) that sign in."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from cloud.kit.db import begin
from cloud.staff.service import create_account
from tests.support.waiting import eventually

PASSWORD = "a-long-test-password"
CAST = {
    "technician": "赵检验",
    "reviewer": "钱审核",
    "section_head": "何组长",
    "director": "孙主任",
    "field_engineer": "李工程",
    "nurse": "郑护士",
    "courier": "冯运送",
    "reception": "陈接收",
    "infection_control": "褚感控",
    "clerk": "卫信息",
    "cashier": "周收费",
    "outpatient_office": "秦门办",
    "finance": "蒋财务",
    "executor": "韩执行",
    "admin": "吴管理",
}
_TOKEN = re.compile(r'name="csrf_token" value="([0-9a-f]{64})"')


class Visitor:
    """One browser: keeps cookies, knows the token of the page it saw last."""

    def __init__(self, base_url: str) -> None:
        self.http = httpx.Client(base_url=base_url, follow_redirects=True, timeout=30, headers={"Accept": "text/html"})
        self.token = ""

    def get(self, path: str, **more: object) -> httpx.Response:
        return self._seen(self.http.get(path, **more))  # type: ignore[arg-type]

    def post(self, path: str, data: dict[str, object] | None = None, **more: object) -> httpx.Response:
        """Submit a form of the page seen last."""
        return self._seen(self.http.post(path, data={"csrf_token": self.token, **(data or {})}, **more))  # type: ignore[arg-type]

    def sign_in(self, login: str, password: str = PASSWORD) -> httpx.Response:
        self.get("/staff/sign-in")
        return self.post("/staff/sign-in", {"login": login, "password": password})

    def _seen(self, response: httpx.Response) -> httpx.Response:
        found = _TOKEN.search(response.text) if "html" in response.headers.get("content-type", "") else None
        if found:
            self.token = found.group(1)
        return response


class Site:
    """A running application."""

    def __init__(self, base_url: str, app: FastAPI) -> None:
        self.base_url = base_url
        self.app = app
        self._visitors: list[Visitor] = []

    def visitor(self) -> Visitor:
        made = Visitor(self.base_url)
        self._visitors.append(made)
        return made

    def staff(self, role: str) -> Visitor:
        """A browser in which this member of the cast has signed in."""
        visitor = self.visitor()
        response = visitor.sign_in(role)
        assert response.status_code == 200, response.text
        return visitor

    def close(self) -> None:
        for each in self._visitors:
            each.http.close()


def hire_cast() -> None:
    """An account for each role; the login is the role."""
    with begin() as session:
        for role, name in CAST.items():
            create_account(session, login=role, name=name, password=PASSWORD, roles=[role])


@contextmanager
def running_site() -> Iterator[Site]:
    """The application on a free loopback port; needs the settings of the `database` fixture."""
    from cloud.app import create_app

    app = create_app()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started or not thread.is_alive(), what="the web server starts")
    assert server.started
    site = Site(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", app)
    try:
        yield site
    finally:
        site.close()
        server.should_exit = True
        thread.join(timeout=15)
