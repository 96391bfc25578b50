"""Watches the links of a configuration on trial, and says which of them is worse than before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from edge.config import LinkSection, ReloadSection, TcpListen
from edge.dry_run import Tried, newest_raws, try_out
from edge.links import Links, Served
from edge.ports.contract import PortState
from edge.store.reader import Reader
from edge.trial import Watched, fault_of, not_reopened

_LOOKS = 60
"""In a window; at most one a second."""
_READ_EVERY = 5
"""Looks between two readings of what came."""


def watched(
    served: Served, tried: Tried | None = None, *, failed_s: float | None = None, was_open: bool = False
) -> Watched:
    """A link as it is now; `tried`: how its stored messages read with its settings."""
    counts, state = served.session.counts, served.port.state
    return Watched(
        failed_s=float(state is PortState.FAILED) if failed_s is None else failed_s,
        was_open=was_open or state is PortState.OPEN or counts.messages > 0,
        messages=counts.messages,
        refused=counts.refused_frames,
        faults=counts.faults,
        tried=tried.messages if tried else 0,
        unread=tried.messages - tried.decoded if tried else 0,
    )


class TrialWatch:
    """`previous`: the settings that every link had, `before`: how the changed ones were doing with them."""

    def __init__(
        self,
        links: Links,
        watch: list[str],
        previous: Mapping[str, LinkSection],
        before: Mapping[str, Watched],
        settings: ReloadSection,
        open_reader: Callable[[], Reader],
    ) -> None:
        self.links = watch
        self.previous = previous
        self.before = before
        self._running = links
        self._settings = settings
        self._open_reader = open_reader
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + settings.window_s
        self._began_at: dict[str, int] = {}
        self._failing_since: dict[str, float] = {}
        self._was_open: set[str] = set()
        self._tried: dict[str, Tried] = {}

    @property
    def is_over(self) -> bool:
        """Has the whole window passed?"""
        return self._loop.time() >= self._until

    def forget(self, link: str) -> None:
        self.links = [each for each in self.links if each != link]

    def give_up(self) -> None:
        self.links = []

    def condition(self) -> dict[str, Any]:
        return {"links": list(self.links), "seconds_left": round(max(0.0, self._until - self._loop.time()))}

    async def faults(self) -> AsyncIterator[tuple[str, str]]:
        """(link, why it is worse than before), until the window has passed."""
        if self._settings.window_s == 0:
            return
        await self._read_newest(first=True)
        look = 0
        while (left := self._until - self._loop.time()) > 0:
            await asyncio.sleep(min(1.0, self._settings.window_s / _LOOKS, left))
            look += 1
            if look % _READ_EVERY == 0:
                await self._read_newest()
            for link in list(self.links):
                if reason := fault_of(self._look(link), self.before.get(link), self._settings.window_s):
                    yield link, reason
        await self._read_newest()
        for link in list(self.links):
            now, before = self._look(link), self.before.get(link)
            reason = fault_of(now, before, self._settings.window_s)
            if not reason and self._opens_itself(link):
                reason = not_reopened(now, before)
            if reason:
                yield link, reason

    def _opens_itself(self, link: str) -> bool:
        """Another line that the box opens by itself, and not one that waits for the instrument."""
        port = self._running.served[link].section.port
        earlier = self.previous.get(link)
        return not isinstance(port, TcpListen) and earlier is not None and earlier.port != port

    def _look(self, link: str) -> Watched:
        served = self._running.served[link]
        now = self._loop.time()
        if served.port.state is PortState.FAILED:
            failed_s = now - self._failing_since.setdefault(link, now)
        else:
            self._failing_since.pop(link, None)
            failed_s = 0.0
        seen = watched(served, self._tried.get(link), failed_s=failed_s, was_open=link in self._was_open)
        if seen.was_open:
            self._was_open.add(link)
        return seen

    async def _read_newest(self, *, first: bool = False) -> None:
        """What came since the change, read with the settings on trial; in a thread beside the bench."""
        sections = {each: self._running.served[each].section for each in self.links}
        news = first or any(self._running.served[each].session.counts.messages for each in self.links)
        if sections and news:
            self._tried = await asyncio.to_thread(self._read, sections, first)

    def _read(self, sections: Mapping[str, LinkSection], first: bool) -> dict[str, Tried]:
        reader = self._open_reader()
        try:
            if first:
                self._began_at = {each.link: each.last_sequence for each in reader.positions()}
                return {}
            count = self._settings.dry_run_messages
            return {
                link: try_out(section, newest_raws(reader, link, count, after=self._began_at.get(link, 0)))
                for link, section in sections.items()
            }
        finally:
            reader.close()
