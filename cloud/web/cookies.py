"""Cookies as we set them: HttpOnly, SameSite=Lax; Secure and named ``__Host-`` when the public address is https."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from cloud.config import settings


def _is_https() -> bool:
    return settings().public_url.startswith("https://")


def full_name(name: str) -> str:
    """``__Host-`` ties the cookie to this very host: a neighbour under the same domain cannot plant one."""
    return f"__Host-{name}" if _is_https() else name


def read(request: Request, name: str) -> str | None:
    return request.cookies.get(full_name(name))


def write(response: Response, name: str, value: str, *, max_age_s: int | None = None) -> None:
    """Set a cookie; without `max_age_s` it ends with the browser."""
    response.set_cookie(
        full_name(name), value, max_age=max_age_s, path="/", httponly=True, samesite="lax", secure=_is_https()
    )


def forget(response: Response, name: str) -> None:
    response.delete_cookie(full_name(name), path="/", httponly=True, samesite="lax", secure=_is_https())
