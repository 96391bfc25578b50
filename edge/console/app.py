"""Addresses of the local page: which page answers which, and who may see it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from edge.console import configuration, line, more_pages, overview
from edge.console.box import Box
from edge.console.captures import CaptureRefused, Captures, instrument_bytes
from edge.console.door import COOKIE, SIGNED_IN_S, Door
from edge.console.http import Request, Response
from edge.console.layout import Look, frame, link_path, notice
from edge.console.live import box_events, line_events
from edge.console.markup import Html, page
from edge.console.recording import Recording
from edge.console.selftest import Check, checks
from edge.console.tap import Taps
from edge.console.texts import LANGUAGES, Words

_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_LANGUAGE_COOKIE = "xl-lang"
_YEAR_S = 365 * 86400
_MOST_STREAMS = 8

Answer = Callable[..., Awaitable[Response]]


class App:
    """`handle` is what the HTTP server calls."""

    def __init__(self, box: Box, door: Door, captures: Captures, taps: Taps) -> None:
        self._box, self._door, self._captures, self._taps = box, door, captures, taps
        self._recording = Recording(captures, taps, box)
        self._streams = 0
        self._testing = asyncio.Lock()
        self._routes: list[tuple[str, re.Pattern[str], Answer]] = [
            (method, re.compile(pattern), answer)
            for method, pattern, answer in (
                ("GET", r"/", self._overview),
                ("GET", r"/live", self._overview_live),
                ("GET", r"/links/([^/]+)", self._line),
                ("GET", r"/links/([^/]+)/live", self._line_live),
                ("GET", r"/links/([^/]+)/messages", self._messages),
                ("GET", r"/links/([^/]+)/messages/(\d{1,18})", self._message),
                ("POST", r"/links/([^/]+)/capture", self._capture_act),
                ("GET", r"/captures", self._captures_page),
                ("GET", r"/captures/([^/]+)", self._capture),
                ("GET", r"/captures/([^/]+)/(file|bytes)", self._download),
                ("POST", r"/captures/([^/]+)/remove", self._remove),
                ("POST", r"/replay", self._replay),
                ("GET", r"/selftest", self._selftest),
                ("POST", r"/selftest", self._run_selftest),
                ("GET", r"/selftest\.json", self._selftest_json),
                ("GET", r"/unanswered", self._unanswered),
                ("GET", r"/configuration", self._configuration),
                ("POST", r"/configuration/look", self._look_at_configuration),
                ("POST", r"/configuration/apply", self._apply_configuration),
                ("GET", r"/state\.json", self._state),
                ("POST", r"/sign-out", self._sign_out),
            )
        ]

    async def close(self) -> None:
        await self._recording.close()

    async def handle(self, request: Request) -> Response:
        if not self._door.knows_its_name(request):
            return Response(421, b"this box answers to its address only", "text/plain")
        static = re.fullmatch(r"/static/([a-z]+\.[a-z]+)", request.path)
        if static:
            return _static(static[1])
        look = self._look(request)
        if request.path == "/sign-in":
            return await self._sign_in(request, look)
        if not self._door.is_in(request):
            if request.method == "GET" and request.path == "/":
                return _seen(look, "登录", more_pages.sign_in_page(look, None))
            return _go("/sign-in") if request.method == "GET" else Response(403, b"", "text/plain")
        response = await self._routed(request, look)
        chosen = request.query.get("lang")
        if chosen in LANGUAGES:
            cookie = f"{_LANGUAGE_COOKIE}={chosen}; Path=/; Max-Age={_YEAR_S}; SameSite=Strict"
            response = Response(
                response.status,
                response.body,
                response.content_type,
                (*response.headers, ("Set-Cookie", cookie)),
                response.cache,
            )
        return response

    async def _routed(self, request: Request, look: Look) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        known = False
        for wanted, pattern, answer in self._routes:
            match = pattern.fullmatch(request.path)
            if match is None:
                continue
            known = True
            if wanted != method:
                continue
            if method == "POST" and not self._door.meant_it(request, request.form().get("token", "")):
                return _seen(look, "没有执行", notice(look.t("这个页面太旧了：请返回，刷新，再试一次。"), "bad"), 403)
            return await answer(request, look, *match.groups())
        return _seen(look, "没有这一页", notice(look.t("没有这一页")), 405 if known else 404)

    def _look(self, request: Request) -> Look:
        asked = request.query.get("lang") or request.cookie(_LANGUAGE_COOKIE)
        language = asked if asked in LANGUAGES else LANGUAGES[0]
        signed_in = bool(request.cookie(COOKIE)) and self._door.is_in(request)
        gateway = self._box.config().gateway.id if self._door.is_in(request) else ""
        return Look(Words(language), gateway, self._door.token(request), request.path, signed_in)

    # ------------------------------------------------------------------ sign-in

    async def _sign_in(self, request: Request, look: Look) -> Response:
        if self._door.is_in(request):
            return _go("/")
        if request.method != "POST":
            return _seen(look, "登录", more_pages.sign_in_page(look, None))
        form = request.form()
        if not self._door.meant_it(request, form.get("token", "")):
            return _seen(look, "登录", more_pages.sign_in_page(look, "这个页面太旧了：请返回，刷新，再试一次。"), 403)
        if not self._door.may_try(request.peer):
            return _seen(look, "登录", more_pages.sign_in_page(look, "试得太多了：请等一会儿再试。"), 429)
        if not await self._box.work(self._door.fits, form.get("key", "")):
            self._door.failed += 1
            return _seen(look, "登录", more_pages.sign_in_page(look, "钥匙不对。"), 403)
        cookie = f"{COOKIE}={self._door.let_in()}; Path=/; Max-Age={SIGNED_IN_S}; HttpOnly; SameSite=Strict"
        return _go("/", ("Set-Cookie", cookie))

    async def _sign_out(self, request: Request, _look: Look) -> Response:
        self._door.let_out(request)
        return _go("/sign-in", ("Set-Cookie", f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"))

    # ------------------------------------------------------------------ links

    async def _overview(self, _request: Request, look: Look) -> Response:
        found = await overview.content(self._box, look)
        return Response(body=page(frame(look, look.t("链路"), found, live="/live")))

    async def _overview_live(self, _request: Request, look: Look) -> Response:
        look = Look(look.t, look.gateway, look.token, "/", look.signed_in)
        return self._stream(box_events(self._box, look))

    def _known(self, link: str) -> bool:
        return any(each["link"] == link for each in self._box.snapshot()["links"])

    async def _line(self, _request: Request, look: Look, link: str) -> Response:
        if not self._known(link):
            return _seen(look, "没有这条链路", notice(look.t("没有这条链路")), 404)
        found = await line.content(self._box, self._captures, look, link)
        return Response(body=page(frame(look, link, found)))

    async def _line_live(self, _request: Request, look: Look, link: str) -> Response:
        if not self._known(link):
            return Response(404, b"", "text/plain")
        return self._stream(line_events(self._box, self._taps, link))

    async def _messages(self, _request: Request, look: Look, link: str) -> Response:
        if not self._known(link):
            return Response(404, b"", "text/plain")
        return Response(body=str(await line.messages(self._box, look, link)).encode(errors="replace"))

    async def _message(self, _request: Request, look: Look, link: str, sequence: str) -> Response:
        found = await line.one_message(self._box, look, link, int(sequence))
        if found is None:
            return _seen(look, "没有这条消息", notice(look.t("没有这条消息")), 404)
        return Response(body=page(frame(look, f"{link} {sequence}", found)))

    def _stream(self, events: AsyncIterator[bytes]) -> Response:
        if self._streams >= _MOST_STREAMS:
            return Response(503, b"", "text/plain", (("Retry-After", "10"),))
        return Response(body=self._counted(events), content_type="text/event-stream")

    async def _counted(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            async for each in events:
                yield each
        finally:
            self._streams -= 1
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()

    # ------------------------------------------------------------------ captures, replay

    async def _capture_act(self, request: Request, look: Look, link: str) -> Response:
        if not self._known(link):
            return _seen(look, "没有这条链路", notice(look.t("没有这条链路")), 404)
        try:
            if request.form().get("act") == "begin":
                self._recording.begin(link)
            else:
                await self._recording.end(link)
        except CaptureRefused as refusal:
            return _seen(look, "没有执行", notice(look.t(str(refusal)), "bad"), 409)
        return _go(link_path(link))

    async def _captures_page(self, _request: Request, look: Look) -> Response:
        return _seen(look, "抓取", more_pages.captures_page(self._box, self._captures, look))

    async def _capture(self, _request: Request, look: Look, name: str) -> Response:
        file = self._captures.file(name)
        if file is None:
            return _seen(look, "没有这个抓取文件", notice(look.t("没有这个抓取文件")), 404)
        found = await self._box.work(more_pages.capture_page, self._captures, look, file)
        return Response(body=page(frame(look, file.name, found)))

    async def _download(self, _request: Request, look: Look, name: str, what: str) -> Response:
        file = self._captures.file(name)
        if file is None:
            return _seen(look, "没有这个抓取文件", notice(look.t("没有这个抓取文件")), 404)
        content = await self._box.work(file.read_bytes)
        shown = file.name if what == "file" else file.stem + ".bin"
        if what == "bytes":
            content = await self._box.work(instrument_bytes, content)
        disposition = ("Content-Disposition", f'attachment; filename="{shown}"')
        return Response(200, content, "application/octet-stream", (disposition,))

    async def _remove(self, _request: Request, _look: Look, name: str) -> Response:
        self._captures.remove(name)
        return _go("/captures")

    async def _replay(self, request: Request, look: Look) -> Response:
        try:
            found = await more_pages.replay(self._box, self._captures, look, request.form())
        except more_pages.Refused as refusal:
            return _seen(look, "没有执行", notice(look.t(str(refusal)), "bad"), 400)
        return _seen(look, "重放", found)

    # ------------------------------------------------------------------ self test, tubes, state

    async def _checks(self) -> list[Check]:
        async with self._testing:  # one at a time, however many press the button
            return await checks(self._box)

    async def _selftest(self, _request: Request, look: Look) -> Response:
        return _seen(look, "自检", more_pages.selftest_page(look, None))

    async def _run_selftest(self, _request: Request, look: Look) -> Response:
        return _seen(look, "自检", more_pages.selftest_page(look, await self._checks()))

    async def _selftest_json(self, _request: Request, look: Look) -> Response:
        t = look.t
        found = [
            {
                **asdict(each),
                "name": t(each.name),
                "finding": more_pages.finding(t, each),
                "cure": t(each.cure) if each.cure else "",
            }
            for each in await self._checks()
        ]
        return Response(body=json.dumps(found, ensure_ascii=False).encode(), content_type="application/json")

    async def _unanswered(self, _request: Request, look: Look) -> Response:
        return _seen(look, "缺医嘱的管", await more_pages.unanswered_page(self._box, look))

    # ------------------------------------------------------------------ configuration

    async def _configuration(self, _request: Request, look: Look) -> Response:
        return _seen(look, "配置", configuration.content(self._box, look))

    async def _look_at_configuration(self, request: Request, look: Look) -> Response:
        desk = self._box.desk
        if desk is None or not look.signed_in:
            return _seen(look, "没有执行", notice(look.t("改配置要先用本盒的钥匙登录。"), "bad"), 403)
        number = configuration.number_of(request.form())
        return _seen(look, "配置", configuration.looked_at(look, number, await desk.look(number)))

    async def _apply_configuration(self, request: Request, look: Look) -> Response:
        desk = self._box.desk
        if desk is None or not look.signed_in:
            return _seen(look, "没有执行", notice(look.t("改配置要先用本盒的钥匙登录。"), "bad"), 403)
        asked = request.form()
        outcome = await desk.put_in_force(configuration.number_of(asked), asked.get("digest", ""))
        return _seen(look, "配置", configuration.done(look, outcome), 200 if outcome.accepted else 409)

    async def _state(self, _request: Request, _look: Look) -> Response:
        body = json.dumps(self._box.snapshot(), ensure_ascii=False).encode()
        return Response(body=body, content_type="application/json")


def _seen(look: Look, title: str, content: Html, status: int = 200) -> Response:
    return Response(status, page(frame(look, look.t(title), content)))


def _go(path: str, *headers: tuple[str, str]) -> Response:
    return Response(303, b"", headers=(("Location", quote(path, safe="/%")), *headers))


def _static(name: str) -> Response:
    file = _STATIC / name
    if not file.is_file():
        return Response(404, b"", "text/plain")
    return Response(body=file.read_bytes(), content_type=_TYPES[file.suffix], cache="no-cache")
