"""Errors become answers here and nowhere else: a page for people, JSON for programs, never a stack trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from cloud.kit.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
    XinglinError,
)
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.middleware import route_of
from cloud.web.pages import render

SIGN_IN = {"/staff": "/staff/sign-in", "/p": "/p/sign-in"}
HEADINGS = {
    401: N_("请先登录"),
    403: N_("没有权限"),
    404: N_("找不到这个页面"),
    409: N_("现在不能这样做"),
    413: N_("内容太大"),
    422: N_("填写有误"),
    429: N_("请稍候"),
    500: N_("系统出错了"),
    503: N_("暂时无法使用"),
}

_log = structlog.get_logger()
_recognisers: list[Callable[[Request], None]] = []


def recognise_by(function: Callable[[Request], None]) -> Callable[[Request], None]:
    """Register how to tell who asks for a page that is not there, so that its refusal still shows their navigation."""
    _recognisers.append(function)
    return function


def install(app: FastAPI) -> None:
    app.add_exception_handler(XinglinError, _refusal)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _database)
    app.add_exception_handler(InterfaceError, _database)
    app.add_exception_handler(PoolTimeout, _database)
    app.add_exception_handler(DataError, _unstorable)


def message_of(error: XinglinError) -> str:
    """The refusal as a sentence in the request's language, its placeholders filled."""
    try:
        return _(error.message).format(**error.fields)
    except (KeyError, IndexError):
        return _(error.message)


def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, XinglinError)
    _log.info("refused", code=error.code, status=error.status, route=route_of(request.scope))
    if isinstance(error, Unauthenticated) and not _wants_json(request):
        sign_in = _sign_in_page(request)
        if sign_in is not None:
            return sign_in
    return _answer(request, error)


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    places = [".".join(str(part) for part in each["loc"]) for each in error.errors()]
    refusal = Invalid("unreadable", N_("以下内容缺失或格式不对：{places}"), places=", ".join(places))
    return _answer(request, refusal)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    for recognise in _recognisers:
        recognise(request)
    known: dict[int, XinglinError] = {
        401: Unauthenticated("unauthenticated", N_("请先登录。")),
        403: Forbidden("forbidden", N_("您没有查看此页面的权限。需要时请联系管理员。")),
        404: NotFound("not_found", N_("地址可能输错了，或者内容已经移走。请从导航重新进入。")),
    }
    refusal = known.get(error.status_code) or Invalid("http", N_("无法处理这个请求。"))
    return _answer(request, refusal, status=error.status_code, headers=dict(error.headers or {}))


def _database(request: Request, error: Exception) -> Response:
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    if state in {"40001", "40P01"}:  # serialization failure, deadlock: nothing was written, trying again is right
        return _answer(request, Conflict("try_again", N_("同时有人在修改同一内容，请重试。")))
    _log.error("database is away", route=route_of(request.scope), exc_info=error)
    if _is_phone(request):
        busy = N_("系统暂时繁忙，请稍后重试。已付的款项不会丢失，也不会重复扣款。")
        return _answer(request, Unavailable("database_away", busy))
    return _answer(request, Unavailable("database_away", N_("数据库暂时无法访问，已提交的内容不会丢失。请稍后重试。")))


def _unstorable(request: Request, error: Exception) -> Response:
    """What no column takes (a NUL character, a number beyond every range) was sent, or a check of ours is missing."""
    _log.warning("unstorable", route=route_of(request.scope), exc_info=error)
    return _answer(request, Invalid("unstorable", N_("内容中有无法识别的字符或超出范围的数值，请检查后重新填写。")))


def fault_page(request: Request) -> Response:
    """The answer to an error nobody expected: a number to quote, nothing of the inside."""
    fault = XinglinError("fault", N_("系统内部出错，已记录。请重试；如仍出错，请把编号 {request_id} 告诉信息科。"))
    fault.fields["request_id"] = getattr(request.state, "request_id", "-")
    return _answer(request, fault)


def _answer(
    request: Request, error: XinglinError, status: int | None = None, headers: dict[str, str] | None = None
) -> Response:
    status = status or error.status
    headers = dict(headers or {})
    if "retry_after_s" in error.fields:
        headers["Retry-After"] = str(error.fields["retry_after_s"])
    message = message_of(error)
    if _wants_json(request):
        content: dict[str, Any] = {"error": {"code": error.code, "message": message}}
        return JSONResponse(content, status_code=status, headers=headers)
    heading = _(HEADINGS.get(status, HEADINGS[500]))
    context = {"heading": heading, "message": message, "status_code": status, "code": error.code}
    template = "web/refusal_fragment.html" if _from_htmx(request) else _page(request)
    response = render(request, template, context, status)
    response.headers.update(headers)
    return response


def _page(request: Request) -> str:
    return "web/refusal_patient.html" if _is_phone(request) else "web/refusal_staff.html"


def _is_phone(request: Request) -> bool:
    return f"{request.url.path}/".startswith("/p/")


def _wants_json(request: Request) -> bool:
    if request.url.path.startswith("/api/"):
        return True
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _from_htmx(request: Request) -> bool:
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true"


def _sign_in_page(request: Request) -> Response | None:
    for prefix, page in SIGN_IN.items():
        if request.url.path.startswith(prefix + "/") or request.url.path == prefix:
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            target = f"{page}?next={quote(wanted)}" if request.method == "GET" else page
            if _from_htmx(request):
                return Response(status_code=200, headers={"HX-Redirect": page})
            return RedirectResponse(target, status_code=303)
    return None


def safe_next(wanted: str | None, default: str) -> str:
    """Where to go after sign-in: only an address of ours, never another site's."""
    if not wanted or "\\" in wanted:
        return default
    parts = urlsplit(wanted)
    ours = not parts.scheme and not parts.netloc and wanted.startswith("/") and not wanted.startswith("//")
    return wanted if ours else default
