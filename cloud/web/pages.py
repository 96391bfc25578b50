"""Pages: a slice's template inside one of the two layouts, in the request's language.

``render(request, "lis/results/review.html", {...})``: what stands before the last ``/`` is the slice's folder, the file
is in its ``templates/``. Templates see ``_``, ``ngettext``, ``static``, ``staff`` (the person signed in, or None),
``csrf_token``, ``live(topic, ...)``, ``path``, ``language``, ``large_type`` and the filters ``moment``, ``day``,
``clock``, ``age`` and ``yuan``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FunctionLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

import cloud
from cloud.config import settings
from cloud.kit.clock import local
from cloud.kit.money import yuan
from cloud.web import csrf, i18n, navigation, type_size
from cloud.web.statics import static_url


def render(
    request: Request, template: str, context: Mapping[str, Any] | None = None, status: int = 200
) -> HTMLResponse:
    """The page as an answer; never stored by a browser or a proxy on the way, for it may name a patient."""
    content = environment().get_template(template).render({**_surroundings(request), **(context or {})})
    response = HTMLResponse(content, status_code=status, headers={"Cache-Control": "no-store"})
    csrf.keep_seed(request, response)
    return response


def render_text(template: str, context: Mapping[str, Any]) -> str:
    """A template outside a request, in the language of the moment (a label, a message)."""
    return environment().get_template(template).render(context)


def _surroundings(request: Request) -> dict[str, Any]:
    staff = getattr(request.state, "staff", None)
    return {
        "request": request,
        "live": partial(_live, getattr(request.state, "live_position", "")),
        "path": request.url.path,
        "staff": staff,
        "current_entry": navigation.current(request.url.path),
        "navigation": navigation.groups(staff.permissions) if staff else [],
        "csrf_token": csrf.token(request),
        "language": i18n.language(),
        "languages": i18n.LANGUAGES,
        "large_type": type_size.is_large(request.scope),
        "hospital_name": settings().hospital_name,
        "environment": settings().environment,
    }


def _live(position: str, *topics: str) -> str:
    """The address of the event stream of `topics`, from where this page was read."""
    return "/staff/live?" + urlencode({"topics": ",".join(topics), "since": position}, safe=",")


@cache
def environment() -> Environment:
    """The one Jinja environment: autoescape on, an undefined name is an error and not a blank."""
    made = Environment(
        loader=FunctionLoader(_load),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=settings().environment != "production",
    )
    made.install_gettext_callables(i18n.gettext, i18n.ngettext, newstyle=True)  # type: ignore[attr-defined]
    made.globals["static"] = static_url
    made.filters.update({"moment": _moment, "day": _day, "clock": _clock, "age": _age, "yuan": yuan})
    return made


def _load(name: str) -> tuple[str, str, Callable[[], bool]] | None:
    slice_name, _, file_name = name.rpartition("/")
    path = Path(cloud.__file__).parent / slice_name / "templates" / file_name
    if not path.is_file():
        return None
    changed_at = path.stat().st_mtime
    return path.read_text(encoding="utf-8"), str(path), lambda: path.stat().st_mtime == changed_at


def _moment(value: datetime | None) -> str:
    """``2026-03-01 08:15`` on the hospital's clock."""
    return "" if value is None else local(value).strftime("%Y-%m-%d %H:%M")


def _clock(value: datetime | None) -> str:
    return "" if value is None else local(value).strftime("%H:%M:%S")


def _age(text: str) -> str:
    """An age as a report stores it (``40岁``, ``7个月``, ``3天``), said in the language of the page."""
    found = re.fullmatch(r"(\d+)(岁|个月|月|天)", text)
    if found is None:
        return text
    number = int(found[1])
    if found[2] == "岁":
        return i18n.ngettext("%(num)s岁", "%(num)s岁", number) % {"num": number}
    if found[2] == "天":
        return i18n.ngettext("%(num)s天", "%(num)s天", number) % {"num": number}
    return i18n.ngettext("%(num)s个月", "%(num)s个月", number) % {"num": number}


def _day(value: date | datetime | None) -> str:
    if value is None:
        return ""
    return (local(value).date() if isinstance(value, datetime) else value).isoformat()
