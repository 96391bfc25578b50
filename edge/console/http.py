"""A small HTTP/1.1 server for one page on the box: h11 over asyncio streams, everything bounded.

It runs in the loop that serves the bench, so that a request is short work; what takes longer is a thread's. The
answers are bytes, or a stream of them (server-sent events).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import structlog

from edge.faults import where

_MOST_BODY = 64 * 1024
_MOST_HEAD = 16 * 1024
_IDLE_S = 20.0
"""A connection that asks nothing for so long is closed; a request that is not complete by then too."""
_SLOW_S = 20.0
"""A client that does not take its answer for so long is left."""

_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    peer: str
    """The client's address; "" for the box's own socket file."""

    @property
    def local(self) -> bool:
        """Over the socket file, which only the daemon's user and root may open."""
        return not self.peer

    def form(self) -> dict[str, str]:
        try:
            return dict(parse_qsl(self.body.decode(), keep_blank_values=True, max_num_fields=50))
        except ValueError:
            return {}

    def cookie(self, name: str) -> str:
        for each in self.headers.get("cookie", "").split(";"):
            key, _, value = each.strip().partition("=")
            if key == name:
                return value
        return ""


@dataclass(frozen=True, slots=True)
class Response:
    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    cache: str = "no-store"


@dataclass(slots=True)
class Http:
    """`serve` is the callback of asyncio.start_server; `handle` never raises for what a client sent."""

    handle: Callable[[Request], Awaitable[Response]]
    most_connections: int = 24
    open: int = 0
    refused: int = 0
    faults: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        address = writer.get_extra_info("peername")
        peer = str(address[0]) if isinstance(address, tuple) else ""
        try:
            if self.open <= self.most_connections:
                await _Client(self, reader, writer, peer).converse()
            else:
                self.refused += 1
        except (OSError, TimeoutError, h11.ProtocolError, asyncio.IncompleteReadError):
            pass  # the client left, or speaks no HTTP
        except Exception as fault:  # outer loop of a client
            self.faults += 1
            log.error("console.fault", fault=where(fault))
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def end(self) -> None:
        """Streams too: they would never end by themselves."""
        for each in list(self._tasks):
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Client:
    def __init__(self, http: Http, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        self._http, self._reader, self._writer, self._peer = http, reader, writer, peer
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEAD)

    async def converse(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_IDLE_S):
                    request, problem = await self._request()
            except h11.RemoteProtocolError as error:
                if self._wire.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    await self._answer("GET", Response(error.error_status_hint, b"", "text/plain"))
                return
            if request is None:
                return
            response = Response(problem, b"", "text/plain") if problem else await self._http.handle(request)
            await self._answer(request.method, response)
            if self._wire.our_state is not h11.DONE or self._wire.their_state is not h11.DONE:
                return
            self._wire.start_next_cycle()

    async def _request(self) -> tuple[Request | None, int]:
        """The next request and the status it is refused with at once (0: none)."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._wire.next_event()
            if event is h11.NEED_DATA:
                if self._wire.they_are_waiting_for_100_continue:
                    self._writer.write(self._wire.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                self._wire.receive_data(await self._reader.read(16 * 1024))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
                if len(body) > _MOST_BODY and head is not None:
                    return self._made(head, b""), 413
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return self._made(head, body), 0
            else:
                return None, 0

    def _made(self, head: h11.Request, body: bytes) -> Request:
        parts = urlsplit(head.target.decode("latin-1"))
        return Request(
            head.method.decode("ascii"),
            unquote(parts.path, errors="replace"),
            dict(parse_qsl(parts.query, keep_blank_values=True)[:20]),
            {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
            body,
            self._peer,
        )

    async def _answer(self, method: str, response: Response) -> None:
        headers = [("Content-Type", response.content_type), ("Cache-Control", response.cache)]
        headers += [*_ALWAYS, *response.headers]
        body = response.body
        if isinstance(body, bytes):
            headers.append(("Content-Length", str(len(body))))
        else:
            headers.append(("Connection", "close"))
        await self._send(h11.Response(status_code=response.status, headers=headers))
        if isinstance(body, bytes):
            if method != "HEAD":
                await self._send(h11.Data(data=body))
        else:
            try:
                async for piece in body:
                    await self._send(h11.Data(data=piece))
            finally:
                close = getattr(body, "aclose", None)
                if close is not None:
                    await close()
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        self._writer.write(self._wire.send(event) or b"")
        async with asyncio.timeout(_SLOW_S):
            await self._writer.drain()
