"""A wished configuration, looked at before anything is changed: what it would do, or why it is refused.

Reads files, ports and the store; runs in a thread beside the loop that serves the bench.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge import dry_run, port_probe, toml_lines
from edge.config import BoxConfig, LinkSection
from edge.config_diff import Difference, difference, in_force
from edge.config_file import parse
from edge.config_versions import Versions, digest_of
from edge.errors import ConfigError, Mistake, StoreError
from edge.store.reader import Reader

_FORCE = "correct it, or force it if it is right all the same"


@dataclass(frozen=True, slots=True)
class Wish:
    """A configuration that somebody wants."""

    text: str
    name: str
    """Of the file, for its mistakes."""
    folder: Path
    """Relative paths are taken from here."""
    source: str
    """"file", "command", "console", "cloud" or "rollback"."""
    force: bool = False
    """Also where it reads stored messages worse than before, cannot open a port now, or was taken back once."""


@dataclass(frozen=True, slots=True)
class Proposal:
    wish: Wish
    config: BoxConfig
    """As far as a running box can take it."""
    difference: Difference
    tried: dict[str, dry_run.Tried] = field(default_factory=dict)
    """By link: how its stored messages were read until now."""
    lines: tuple[str, ...] = ()
    """What it would do, for a person."""


class Refused(Exception):
    """`lines` say why, to a person."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def look_at(wish: Wish, running: BoxConfig, versions: Versions, open_reader: Callable[[], Reader]) -> Proposal:
    """Raises `Refused`."""
    try:
        wanted = parse(wish.text, wish.name, wish.folder)
    except ConfigError as error:
        raise Refused(*error.lines()) from None
    if wanted.store.path != running.store.path:
        line = toml_lines.Lines(wish.text).of(("store", "path"))
        what = "`path`: the store of a running box stays where it is"
        raise _refusal(wish, [Mistake(line, what, "stop the box, move its files, and start it with the new path")])
    looked = _Look(wish, running, difference(running, wanted), wanted)
    before = versions.taken_back(digest_of(wish.text))
    if before is not None:
        looked.objections.append(Mistake(1, f"taken back as configuration {before.number}: {before.note}", _FORCE))
    looked.probe()
    tried = looked.dry_run(open_reader)
    if looked.objections and not wish.force:
        raise _refusal(wish, looked.objections)
    overruled = [f"forced: {each.what}" for each in looked.objections]
    config = in_force(running, wanted)
    return Proposal(wish, config, looked.difference, tried, (*_summary(looked.difference), *looked.found, *overruled))


def _refusal(wish: Wish, mistakes: list[Mistake]) -> Refused:
    return Refused(*ConfigError(wish.name, mistakes).lines())


class _Look:
    def __init__(self, wish: Wish, running: BoxConfig, difference: Difference, wanted: BoxConfig) -> None:
        self._lines = toml_lines.Lines(wish.text)
        self._running = {each.id: each for each in running.links}
        self._wanted = {each.id: (position, each) for position, each in enumerate(wanted.links)}
        self._count = wanted.reload.dry_run_messages
        self.difference = difference
        self.objections: list[Mistake] = []
        self.found: list[str] = []

    def probe(self) -> None:
        """Can the ports of the links that change be opened?"""
        released = [self._running[each] for each in (*self.difference.changed, *self.difference.removed)]
        for link in self.difference.touched:
            position, section = self._wanted[link]
            complaint = port_probe.complaint(section, released)
            if complaint is not None and not self._was_so(section):
                self.objections.append(Mistake(self._lines.of(("links", position, "port")), *complaint))

    def _was_so(self, section: LinkSection) -> bool:
        """A line that is pulled out is no reason against another driver."""
        return section.id in self._running and self._running[section.id].port == section.port

    def dry_run(self, open_reader: Callable[[], Reader]) -> dict[str, dry_run.Tried]:
        """The links' stored messages, read with their new settings."""
        changed = list(self._read_differently())
        if not changed:
            return {}
        tried = {}
        reader = open_reader()
        try:
            for position, before, after in changed:
                raws = dry_run.newest_raws(reader, after.id, self._count)
                comparison = dry_run.compare(before, after, raws)
                tried[after.id] = comparison.before
                self.found.append(f"{after.id}: {comparison.found}")
                if comparison.refusal:
                    line = self._lines.of(("links", position, "driver"))
                    self.objections.append(Mistake(line, f"link {after.id!r}: {comparison.refusal}", _FORCE))
        except StoreError as error:
            self.found.append(f"stored messages could not be tried: {error}")
        finally:
            reader.close()
        return tried

    def _read_differently(self) -> Iterator[tuple[int, LinkSection, LinkSection]]:
        for link in self.difference.changed:
            position, after = self._wanted[link]
            before = self._running[link]
            if (before.driver, before.options, before.timezone) != (after.driver, after.options, after.timezone):
                yield position, before, after


def _summary(found: Difference) -> Iterator[str]:
    for name in ("added", "changed", "removed"):
        if links := getattr(found, name):
            yield f"{name}: {', '.join(links)}"
    if found.unchanged:
        yield f"not touched: {', '.join(found.unchanged)}"
    if found.at_once:
        yield f"taken at once: {', '.join(found.at_once)}"
    if found.at_restart:
        yield f"in force only after the box is started again: {', '.join(found.at_restart)}"
    if found.is_empty:
        yield "it changes nothing"
