"""The console once somebody has come: its pages, its door, its thread. Loaded by `edge.console.service` just then."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.clock import Clock
from edge.config import BoxConfig
from edge.console.app import App
from edge.console.box import Box
from edge.console.captures import Captures
from edge.console.door import Door
from edge.console.http import Http
from edge.console.tap import Taps
from edge.links import Served
from edge.reload_desk import ReloadDesk
from edge.store.store import Store


@dataclass(slots=True)
class Opened:
    http: Http
    app: App
    box: Box

    async def close(self) -> None:
        """Streams end, captures are finished."""
        await self.http.end()
        await self.app.close()
        self.box.close()


def open_console(
    config: Callable[[], BoxConfig],
    store: Store,
    clock: Clock,
    served: Mapping[str, Served],
    snapshot: Callable[[], dict[str, Any]],
    captures_folder: Path,
    desk: ReloadDesk | None = None,
) -> Opened:
    box = Box(config, store, clock, served, snapshot, desk)
    captures = Captures(captures_folder, lambda: shutil.disk_usage(captures_folder.parent).free)
    app = App(box, Door(config().console.key_hash), captures, Taps(served))
    return Opened(Http(app.handle), app, box)
