"""Another configuration on a running box: applied link by link and kept on trial.

The walk of a wish: looked at (`proposal`) → written as a numbered version and put in force (`config_versions`) → the
links that it touches change, each after its current message, and no other → its health window. A link that is worse
there gets its previous settings back; a box that is killed there starts with the version before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from edge.clock import Clock, boot_id
from edge.config import BoxConfig, CloudSection, LinkSection
from edge.config_diff import difference
from edge.config_file import parse
from edge.config_start import Chosen
from edge.config_text import text_of, with_link
from edge.config_versions import Fate, Version, Versions
from edge.errors import ConfigError
from edge.faults import where
from edge.links import Links
from edge.proposal import Proposal, Refused, Wish, look_at
from edge.store.reader import Reader
from edge.trial import Watched
from edge.trial_watch import TrialWatch, watched

_NOTE_LENGTH = 300
_SAVE_AGAIN_S = 10.0
_LOOK_EVERY_S = 0.1
_CLOUD_WITHIN_S = 30.0
"""The broker of before must be reached in so long (and in a window's time) to show that the cloud is not away."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a wish; `lines` say it to a person, mistakes as ``file:line: what — cure``."""

    accepted: bool
    lines: tuple[str, ...]
    number: int
    """Of the version that is in force now."""


class Cloud(Protocol):
    """The forwarder, as far as it is asked here."""

    connected: bool
    connections: int
    """Since the daemon started."""


class Reload:
    """One wish at a time. Everything runs on the event loop but looking, which has a thread of its own."""

    def __init__(
        self,
        config: BoxConfig,
        versions: Versions,
        links: Links,
        clock: Clock,
        open_reader: Callable[[], Reader],
        take: Callable[[BoxConfig], Awaitable[None]],
        cloud: Cloud,
    ) -> None:
        """`take` is told the configuration in force whenever it is another one, after the links have changed."""
        self.config = config
        self.versions = versions
        self.note = ""
        """What was taken back last, for the cloud and the status."""
        self._links = links
        self._clock = clock
        self._open_reader = open_reader
        self._take = take
        self._cloud = cloud
        self._cloud_before: tuple[CloudSection, int] | None = None
        """The section that was connected before it changed, and how often by then."""
        self._one_at_a_time = asyncio.Lock()
        self._trial: asyncio.Task[None] | None = None
        self._watch: TrialWatch | None = None
        self._retry: asyncio.Task[None] | None = None
        self._saved = True
        self.at_restart: tuple[str, ...] = ()

    # ------------------------------------------------------------------ what people and the cloud ask for

    async def check(self, wish: Wish) -> Outcome:
        """What it would do, or why it would be refused; changes nothing."""
        try:
            proposal = await self._look(wish)
        except Refused as refused:
            return self._outcome(False, *refused.lines)
        return self._outcome(True, *proposal.lines)

    async def apply(self, wish: Wish) -> Outcome:
        """In force and on trial when this returns, or nothing has changed."""
        async with self._one_at_a_time:
            try:
                proposal = await self._look(wish)
                version = await self._write(wish.text, wish.folder, wish.source)
            except Refused as refused:
                log.warning("config.refused", source=wish.source, reasons=len(refused.lines))
                return self._outcome(False, *refused.lines)
            await self._put_in_force(version, proposal)
            self.at_restart = proposal.difference.at_restart
            return self._outcome(True, f"configuration {version.number} is in force", *proposal.lines)

    async def rollback(self, number: int | None = None, source: str = "command") -> Outcome:
        """To a version that is kept; None: the good one before the one in force."""
        found = self._before() if number is None else self.versions.get(number)
        if found is None:
            which = "an earlier good configuration" if number is None else f"configuration {number}"
            return self._outcome(False, f"{which} is not kept; `history` shows those that are")
        try:
            text = await asyncio.to_thread(self.versions.text_of, found.number)
        except OSError as error:
            return self._outcome(False, f"configuration {found.number} cannot be read: {error.strerror}")
        name = str(self.versions.file_of(found.number))
        return await self.apply(Wish(text, name, Path(found.folder), "rollback", force=True))

    def condition(self) -> dict[str, Any]:
        """For the status, the console and the state that the cloud gets."""
        now = self.versions.get(self.versions.in_force)
        return {
            "number": self.versions.in_force,
            "digest": now.digest if now else "",
            "source": now.source if now else "",
            "since": now.at if now else "",
            "trial": self._watch.condition() if self._watch is not None else None,
            "at_restart": list(self.at_restart),
            "note": self.note,
            "file_differs": now is not None and self.versions.seen_file != now.digest,
            "saved": self._saved,
        }

    # ------------------------------------------------------------------ applying

    async def _look(self, wish: Wish) -> Proposal:
        return await asyncio.to_thread(look_at, wish, self.config, self.versions, self._open_reader)

    async def _write(self, text: str, folder: Path, source: str, note: str = "") -> Version:
        """Raises `Refused` where the disk takes nothing more."""
        at = self._clock.now().at.isoformat(timespec="seconds")
        try:
            return await asyncio.to_thread(self.versions.write, text, folder=folder, source=source, at=at, note=note)
        except OSError as error:
            raise Refused(f"it cannot be written to {self.versions.folder}: {error.strerror}") from None

    async def _put_in_force(self, version: Version, proposal: Proposal) -> None:
        """Written down first: killed from here on, the box starts with the version before."""
        before = {each: self._baseline(each, proposal) for each in proposal.difference.changed}
        previous = {each.id: each for each in self.config.links}
        if self._watch is not None:  # a change on a change: what was there before the first one is what counts
            previous, before = {**previous, **self._watch.previous}, {**before, **self._watch.before}
        if proposal.config.cloud != self.config.cloud and self._cloud.connected:
            self._cloud_before = self.config.cloud, self._cloud.connections
        still_watched = list(self._watch.links) if self._watch is not None else []
        await self._end_trial()
        self.note = ""
        if proposal.config.reload.window_s:
            self.versions.try_out(version, boot_id())
        else:
            self.versions.settle(version.number)
        await self.save()
        await self._change_to(proposal.config)
        log.info(
            "config.in_force", number=version.number, source=version.source, links=list(proposal.difference.touched)
        )
        running = set(self._links.served)
        links = [each for each in dict.fromkeys((*proposal.difference.touched, *still_watched)) if each in running]
        self.begin_trial(links, previous, before)

    def _baseline(self, link: str, proposal: Proposal) -> Watched:
        return watched(self._links.served[link], proposal.tried.get(link))

    async def _change_to(self, config: BoxConfig) -> None:
        """Only what differs; each link by itself, when it has finished its message."""
        found = difference(self.config, config)
        sections = {each.id: each for each in config.links}
        patience_s = config.reload.patience_s
        self.config = config
        work = [self._links.stop(each, patience_s) for each in found.removed]
        work += [self._links.restart(sections[each], patience_s) for each in found.touched]
        await asyncio.gather(*work)
        await self._take(config)

    # ------------------------------------------------------------------ the health window

    def go_on(self, chosen: Chosen) -> None:
        """After a start: a trial goes on, or begins. Nothing is known of how the links were doing before."""
        self.note = chosen.note
        if chosen.note:
            log.error("config.taken_back", number=self.versions.in_force, reason=chosen.note)
        if chosen.previous is not None:
            if chosen.previous.cloud != self.config.cloud:
                self._cloud_before = chosen.previous.cloud, 0
            previous = {each.id: each for each in chosen.previous.links}
            self.begin_trial(list(difference(chosen.previous, self.config).touched), previous, {})

    def begin_trial(self, links: list[str], previous: Mapping[str, LinkSection], before: Mapping[str, Watched]) -> None:
        """Watch these links until the window has passed. `previous`: the settings that they would get back."""
        if self.versions.trial is None:
            return
        self._watch = TrialWatch(self._links, links, previous, before, self.config.reload, self._open_reader)
        self._trial = asyncio.create_task(self._judge(self._watch))

    async def _judge(self, watch: TrialWatch) -> None:
        try:
            async for link, reason in watch.faults():
                await self._take_back(watch, link, reason)
            if self._cloud_before is not None and watch.is_over:
                await self._judge_cloud(*self._cloud_before)
        except Exception as fault:  # outer loop of the window: not being able to look is no verdict
            log.error("config.window_fault", fault=where(fault))
        self._watch = self._cloud_before = None
        if self.versions.trial is not None:
            number = self.versions.in_force
            self.versions.settle(number)
            await self.save()
            log.info("config.good", number=number)

    async def _take_back(self, watch: TrialWatch, link: str, reason: str) -> None:
        """This link alone, once: what it gets back is not on trial."""
        async with self._one_at_a_time:
            tried = self.versions.in_force
            previous = watch.previous.get(link)
            self._say_taken_back(tried, f"link {link}: {reason}")
            config = replace(self.config, links=with_link(self.config, link, previous))
            try:
                parse(text_of(config, ""), "", Path("/"))
            except ConfigError:  # its old port belongs to another link by now: everything goes back
                config = replace(self.config, links=tuple(watch.previous.values()))
                watch.give_up()
            watch.forget(link)
            await self._keep_what_is_left(config, watch)
            await self._change_to(config)

    async def _judge_cloud(self, before: CloudSection, connections: int) -> None:
        """Never connected since: the new section is wrong if the old one still connects. Else the cloud is away."""
        if self._cloud.connections > connections or self.config.cloud == before:
            return
        async with self._one_at_a_time:
            tried = self.config
            old = replace(tried, cloud=before)
            await self._take(old)
            until = asyncio.get_running_loop().time() + min(_CLOUD_WITHIN_S, tried.reload.window_s)
            while not self._cloud.connected and asyncio.get_running_loop().time() < until:
                await asyncio.sleep(_LOOK_EVERY_S)
            if not self._cloud.connected:
                await self._take(tried)
                return
            self._say_taken_back(self.versions.in_force, "cloud: it was reached before and not since")
            self.config = old
            await self._keep_what_is_left(old, None)

    def _say_taken_back(self, number: int, what: str) -> None:
        self.note = f"configuration {number}, {what}; the previous settings are in force again"[:_NOTE_LENGTH]
        log.error("config.taken_back", number=number, reason=what)
        self.versions.judge(number, Fate.TAKEN_BACK, self.note)

    async def _keep_what_is_left(self, config: BoxConfig, watch: TrialWatch | None) -> None:
        """A version of its own for what was tried without what was taken back."""
        try:
            version = await self._write(text_of(config, self.note), Path("/"), "rollback", self.note)
            self.versions.go_back(version.number, on_trial=watch is not None and bool(watch.links))
        except Refused as refused:  # the disk is full: the next start takes all of it back
            log.error("config.not_written", reason=str(refused))
            if self.versions.trial is not None:
                self.versions.settle(self.versions.trial.previous)
        await self.save()

    async def _end_trial(self) -> None:
        """Without a verdict: what follows has its own."""
        if self._trial is not None:
            self._trial.cancel()
            await asyncio.wait([self._trial])
        self._trial = self._watch = None

    async def stopping(self) -> None:
        """The daemon was asked to stop: a trial goes on at the next start."""
        await self._end_trial()
        self.versions.stop()
        await self.save()

    # ------------------------------------------------------------------ the disk

    async def save(self) -> None:
        """Tried again for as long as it takes: what runs is not undone because a disk is full."""
        try:
            await asyncio.to_thread(self.versions.save, self.config.reload.history)
            self._saved = True
        except OSError as error:
            log.error("config.not_saved", folder=str(self.versions.folder), reason=error.strerror)
            if self._saved:
                self._retry = asyncio.create_task(self._save_later())
            self._saved = False

    async def _save_later(self) -> None:
        while not self._saved:
            await asyncio.sleep(_SAVE_AGAIN_S)
            await self.save()

    def _before(self) -> Version | None:
        """The newest good version before the one in force, of another text."""
        now = self.versions.get(self.versions.in_force)
        if self.versions.trial is not None:
            return self.versions.get(self.versions.trial.previous)
        earlier = [
            each
            for each in self.versions.versions
            if now and each.number < now.number and each.fate is Fate.GOOD and each.digest != now.digest
        ]
        return earlier[-1] if earlier else None

    def _outcome(self, accepted: bool, *lines: str) -> Outcome:
        return Outcome(accepted, lines, self.versions.in_force)
