"""What the simulated HTTP services share: a threaded server, exact routes, JSON, and knobs that make calls fail or
crawl.

Knobs: POST /simulator/faults {"path": "/sms", "fail_next": 3, "status": 503, "body": {...}, "slow_s": 2.0}; they are
for tests and demonstrations and belong to no vendor's interface.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from simulators.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; {} where it is none."""
        try:
            data = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    dropped: bool = False
    """The connection ends without a word: the caller never learns what became of the call."""


def as_json(data: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(data, ensure_ascii=False).encode())


def as_page(html: str, status: int = 200) -> Answer:
    return Answer(status, html.encode(), "text/html; charset=utf-8")


def redirect(location: str, *headers: tuple[str, str]) -> Answer:
    return Answer(302, b"", "text/plain", (("Location", location), *headers))


Route = Callable[[Request], Answer]


@dataclass(slots=True)
class Fault:
    """What the next calls of one path get instead of an answer, and how long every call of it takes."""

    fail_next: int = 0
    status: int = 503
    body: dict[str, Any] = field(default_factory=dict)
    slow_s: float = 0.0


class HttpService:
    """Routes by (method, path). Subclasses add theirs to `routes` and keep their state under `lock`."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.lock = threading.Lock()
        self.faults: dict[str, Fault] = {}
        self.routes: dict[tuple[str, str], Route] = {("POST", "/simulator/faults"): self._set_fault}

    def handle(self, request: Request) -> Answer:
        """The answer to one request, after its faults."""
        route = self.routes.get((request.method, request.path))
        if route is None:
            return as_json({"error": f"{request.method} {request.path} is not here"}, 404)
        fault = self.faults.get(request.path)
        if fault is not None:
            time.sleep(fault.slow_s)
            with self.lock:
                failing = fault.fail_next > 0
                fault.fail_next -= failing
            if failing:
                self.ledger.write("failed on purpose", path=request.path, status=fault.status)
                return as_json(fault.body, fault.status)
        return route(request)

    def _set_fault(self, request: Request) -> Answer:
        wish = request.json()
        path = str(wish.pop("path", ""))
        try:
            self.faults[path] = Fault(**wish)
        except TypeError as error:
            return as_json({"error": str(error)}, 400)
        return as_json({"ok": True})

    def start(self, host: str, port: int) -> ThreadingHTTPServer:
        """Serve in a thread of its own; `server_port` of what comes back is the port."""
        server = ThreadingHTTPServer((host, port), _handler_of(self))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), name="http", daemon=True).start()
        return server


def _handler_of(service: HttpService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "simulator"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            cookies = SimpleCookie(self.headers.get("Cookie", ""))
            request = Request(
                method=self.command,
                path=parts.path,
                query={name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()},
                headers={name.lower(): value for name, value in self.headers.items()},
                cookies={name: each.value for name, each in cookies.items()},
                body=self.rfile.read(length) if length else b"",
            )
            answer = service.handle(request)
            if answer.dropped:
                self.close_connection = True
                return
            self._send(answer)

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = _serve

        def log_message(self, format: str, *args: object) -> None:
            """The ledger is the log."""

    return Handler


def wait_for_end() -> None:
    """Block until a termination signal or Ctrl-C."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    stopping.wait()
