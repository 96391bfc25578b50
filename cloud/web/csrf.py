"""A page's form proves that our page sent it: a random cookie, and its keyed digest in the form or in a header.

Checked before every unsafe method under /staff, /p and /kiosk, signed in or not. JSON under /api reads no cookies and
needs none.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.requests import Request
from starlette.responses import Response

from cloud.kit.errors import Forbidden
from cloud.web import cookies
from cloud.web.i18n import mark as N_
from cloud.web.secrets import derived_key

COOKIE = "xl_page"
FIELD = "csrf_token"
HEADER = "X-CSRF-Token"
SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}
GUARDED = ("/staff", "/p", "/kiosk")
LIFETIME_S = 30 * 24 * 3600


def guards(path: str) -> bool:
    """True for addresses where cookies say who somebody is."""
    return any(path == prefix or path.startswith(prefix + "/") for prefix in GUARDED)


def token(request: Request) -> str:
    """The token for a page being made; the cookie it belongs to is set with the page's answer."""
    seed = getattr(request.state, "csrf_seed", None) or cookies.read(request, COOKIE)
    if not seed:
        seed = secrets.token_urlsafe(24)
        request.state.csrf_new_seed = seed
    request.state.csrf_seed = seed
    return _digest(seed)


def keep_seed(request: Request, response: Response) -> None:
    """Set the cookie if this page's token needed a new one."""
    seed = getattr(request.state, "csrf_new_seed", None)
    if seed:
        cookies.write(response, COOKIE, seed, max_age_s=LIFETIME_S)


def renew(request: Request, response: Response) -> None:
    """A new seed at sign-in and sign-out: a token known before is worth nothing after."""
    request.state.csrf_seed = request.state.csrf_new_seed = secrets.token_urlsafe(24)
    keep_seed(request, response)


async def check(request: Request) -> None:
    """FastAPI dependency of the whole application."""
    if request.method in SAFE_METHODS or not guards(request.url.path):
        return
    seed = cookies.read(request, COOKIE)
    sent = request.headers.get(HEADER)
    if sent is None and _is_form(request):
        field = (await request.form()).get(FIELD)
        sent = field if isinstance(field, str) else None
    if not seed or not sent or not hmac.compare_digest(_digest(seed).encode(), sent.encode()):
        raise Forbidden("page_expired", N_("页面已过期，请返回上一页刷新后重试。"))


def _is_form(request: Request) -> bool:
    kind = request.headers.get("content-type", "")
    return kind.startswith(("application/x-www-form-urlencoded", "multipart/form-data"))


def _digest(seed: str) -> str:
    return hmac.digest(derived_key("csrf"), seed.encode(), hashlib.sha256).hex()
