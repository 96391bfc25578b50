"""What is told while somebody looks: server-sent events of the box and of one line. They end with who looks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from edge.console import overview
from edge.console.box import Box
from edge.console.layout import Look
from edge.console.markup import el
from edge.console.tap import Piece, Taps, Watch

_LOOK_S = 1.0
_QUIET_S = 10.0
"""After so long without news a comment is sent: a client that is gone is noticed."""
_ALIVE = b": alive\n\n"


def event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


async def box_events(box: Box, look: Look) -> AsyncIterator[bytes]:
    """The overview, whenever it changed."""
    shown, quiet_s = "", 0.0
    yield _ALIVE
    while True:
        title = el("h1", look.t("链路"))
        now = str(title) + str(await overview.content(box, look))
        if now != shown:
            shown, quiet_s = now, 0.0
            yield event("page", {"html": now})
        elif quiet_s >= _QUIET_S:
            quiet_s = 0.0
            yield _ALIVE
        await asyncio.sleep(_LOOK_S)
        quiet_s += _LOOK_S


async def line_events(box: Box, taps: Taps, link: str) -> AsyncIterator[bytes]:
    """`bytes` as they pass, `message` when another one is stored, `state` when the port's changed."""
    quiet_s = 0.0
    last, state = box.last_sequence(link), ""
    with Watch(taps, link) as watch:
        yield _ALIVE
        while True:
            pieces = await watch.pieces(_LOOK_S)
            told = [event("bytes", as_data(box, link, each)) for each in pieces]
            newest = box.last_sequence(link)
            if newest != last:
                last = newest
                told.append(event("message", {"last": newest}))
            served = box.served.get(link)
            now = str(served.port.state) if served is not None else "closed"
            if now != state:
                state = now
                told.append(event("state", {"state": now}))
            quiet_s = 0.0 if told else quiet_s + _LOOK_S
            if quiet_s >= _QUIET_S:
                quiet_s = 0.0
                told.append(_ALIVE)
            if told:
                yield b"".join(told)


def as_data(box: Box, link: str, piece: Piece) -> dict[str, Any]:
    return {
        "at": piece.at.isoformat(timespec="milliseconds"),
        "clock": box.wall(piece.at, link)[-8:] + f".{piece.at.microsecond // 1000:03}",
        "in": piece.from_instrument,
        "hex": piece.data.hex(),
        "lost": piece.lost,
    }
