"""Around every request: an id, the language, security headers, one log line and one measurement."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.config import settings
from cloud.web import i18n, type_size

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(self), microphone=(), payment=()",
}
CHOICE_LIFETIME_S = 365 * 24 * 3600

REQUESTS = Counter("xinglin_http_requests_total", "HTTP requests answered", ["method", "route", "status"])
DURATION = Histogram("xinglin_http_request_seconds", "Time to answer an HTTP request", ["route"])

_log = structlog.get_logger()


class Surroundings:
    """Pure ASGI, so that event streams pass through unbuffered."""

    def __init__(self, app: ASGIApp, on_fault: Callable[[Request], Response]) -> None:
        """`on_fault` makes the answer to an error nobody expected."""
        self.app = app
        self.on_fault = on_fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex[:12]
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["live_position"] = _live_position(scope)
        asked, language = _language(scope)
        asked_type = type_size.asked(scope)
        i18n.use_language(language)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status, answered = 500, False

        async def send_on(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
                _add_headers(MutableHeaders(scope=message), request_id)
                _keep_choices(MutableHeaders(scope=message), {i18n.COOKIE: asked, type_size.COOKIE: asked_type})
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        except Exception as error:  # the outermost loop of a request: logged, counted, answered, and on to the next
            _log.error("a fault of ours", route=route_of(scope), exc_info=error)
            if not answered:
                await self.on_fault(Request(scope, receive))(scope, receive, send_on)
        finally:
            _measure(scope, status, time.perf_counter() - started)


def _live_position(scope: Scope) -> str:
    """Where the live hub stands before the page reads anything: what is committed later is told to the page."""
    hub = getattr(scope["app"].state, "hub", None) if "app" in scope else None
    return "" if hub is None else str(hub.position)


def _language(scope: Scope) -> tuple[str | None, str | None]:
    """What the address asks for (to be kept), and what this request uses."""
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("lang", [None])[0]
    if asked in i18n.LANGUAGES:
        return asked, asked
    jar = SimpleCookie(Headers(scope=scope).get("cookie", ""))
    kept = jar.get(i18n.COOKIE)
    return None, kept.value if kept else None


def _add_headers(headers: MutableHeaders, request_id: str) -> None:
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    headers["X-Request-Id"] = request_id
    if _https():
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")


def _https() -> bool:
    return settings().public_url.startswith("https://")


def _keep_choices(headers: MutableHeaders, chosen: dict[str, str | None]) -> None:
    """What an address asked for (language, size of type) stays chosen on this browser."""
    for name, value in chosen.items():
        if value is not None:
            cookie = f"{name}={value}; Path=/; Max-Age={CHOICE_LIFETIME_S}; HttpOnly; SameSite=lax"
            headers.append("Set-Cookie", cookie + ("; Secure" if _https() else ""))


def route_of(scope: Scope) -> str:
    """The route's pattern, not the address: an address can name a patient."""
    return str(getattr(scope.get("route"), "path", "unmatched"))


def _measure(scope: Scope, status: int, seconds: float) -> None:
    route = route_of(scope)
    REQUESTS.labels(scope["method"], route, str(status)).inc()
    DURATION.labels(route).observe(seconds)
    if not scope["path"].startswith(("/static/", "/healthz", "/metrics")):
        _log.info("answered", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))
