"""The running box as the console sees it: what it reads, and the thread it reads in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from edge.certificate import read_validity
from edge.clock import Clock
from edge.config import BoxConfig
from edge.links import Served
from edge.reload_desk import ReloadDesk
from edge.store.reader import Reader
from edge.store.store import Store
from protocols.uplink.envelope import Message

_MOST_BYTES = 512 * 1024
_SAME_S = 0.5

T = TypeVar("T")


@dataclass(slots=True)
class Box:
    """`config` is asked each time: a reload changes it. `state` is what `edge status` shows."""

    config: Callable[[], BoxConfig]
    store: Store
    clock: Clock
    served: Mapping[str, Served]
    state: Callable[[], dict[str, Any]]
    desk: ReloadDesk | None = None
    """Where another configuration is asked for."""
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "console"))
    """One, and begun by the first who looks: reading beside the loop that serves the bench."""
    _state: tuple[float, dict[str, Any]] | None = None
    _newest: dict[str, Message] = field(default_factory=dict)

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def snapshot(self) -> dict[str, Any]:
        """At most twice a second anew, however many look."""
        now = asyncio.get_running_loop().time()
        if self._state is None or now - self._state[0] > _SAME_S:
            self._state = (now, self.state())
        return self._state[1]

    async def work(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def read(self, question: Callable[[Reader], T]) -> T:
        """With a reader of its own for just this: nobody looks most of the time."""

        def ask() -> T:
            reader = self.store.reader()
            try:
                return question(reader)
            finally:
                reader.close()

        return await self.work(ask)

    async def messages(self, link: str, first: int, last: int, limit: int) -> list[Message]:
        """By sequence, both ends included."""
        return await self.read(lambda reader: reader.between(link, first, last, limit, _MOST_BYTES))

    async def newest(self, links: Iterable[str]) -> dict[str, Message]:
        """The newest stored message of each of these links that has one, decoded; read only where it is another one."""
        last = {each["link"]: int(each["last_sequence"]) for each in self.snapshot()["links"]}
        wanted = {each: last[each] for each in links if last.get(each)}
        new = {link: at for link, at in wanted.items() if link not in self._newest or self._newest[link].sequence != at}
        if new:

            def ask(reader: Reader) -> dict[str, Message]:
                found = {link: reader.between(link, at, at, 1, _MOST_BYTES) for link, at in new.items()}
                return {link: each[0] for link, each in found.items() if each}

            self._newest.update(await self.read(ask))
        return {link: self._newest[link] for link in wanted if link in self._newest}

    def last_sequence(self, link: str) -> int:
        """0: there is no message."""
        links = self.snapshot()["links"]
        return next((int(each["last_sequence"]) for each in links if each["link"] == link), 0)

    def certificate_days(self) -> int | None:
        """Whole days until the box's own certificate runs out; None: it has none that can be read."""
        file = self.config().cloud.certificate_file
        try:
            return None if file is None else (read_validity(file).not_after - self.clock.now().at).days
        except (OSError, ValueError):
            return None

    def wall(self, at: datetime | str | None, link: str | None = None) -> str:
        """A time as the clock on the laboratory's wall shows it; "" for none."""
        if at is None or at == "":
            return ""
        moment = datetime.fromisoformat(at) if isinstance(at, str) else at
        sections = self.config().links
        zone = next((each.timezone for each in sections if link in (None, each.id)), "Asia/Shanghai")
        local = moment.astimezone(ZoneInfo(zone))
        today = datetime.now(UTC).astimezone(ZoneInfo(zone)).date() == local.date()
        return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")
