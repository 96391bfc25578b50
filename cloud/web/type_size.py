"""Large type on the phone (长辈模式): ``?type=large`` chooses it and ``?type=normal`` ends it; a cookie keeps it."""

from __future__ import annotations

from http.cookies import SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import Scope

COOKIE = "xl_type"
LARGE = "large"
SIZES = ("normal", LARGE)


def asked(scope: Scope) -> str | None:
    """What the address asks for; None where it says nothing."""
    found = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("type", [None])[0]
    return found if found in SIZES else None


def is_large(scope: Scope) -> bool:
    """By the address, else by the cookie."""
    wanted = asked(scope)
    if wanted is None:
        kept = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(COOKIE)
        wanted = kept.value if kept else None
    return wanted == LARGE
