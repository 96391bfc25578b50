"""Pure decisions of watching: what changed between two descriptions of a box, and when a silence is too long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cloud.web.i18n import mark as N_

BOX = ""
WEEK = (1, 2, 3, 4, 5, 6, 7)
CHANGES = {
    "contact": N_("联系"),
    "port": N_("端口"),
    "link": N_("线路"),
    "driver": N_("驱动"),
    "options": N_("驱动选项"),
    "software": N_("软件版本"),
    "configuration": N_("配置"),
    "epoch": N_("存储批次"),
    "clock": N_("时钟"),
    "room": N_("存储空间"),
    "damage": N_("存储完好"),
}
"""What is noted when it becomes another."""
OFF, ON = "silent", "heard"


@dataclass(frozen=True, slots=True)
class Change:
    """`link` is `BOX` for the box itself; None: there was nothing before, or there is nothing any more."""

    what: str
    before: str | None
    after: str | None
    link: str = BOX
    detail: str | None = None


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Iterator[Change]:
    """What a box says now against what it said last, both as stored; the first description is no change."""
    if before is None:
        return
    for what, read in _OF_THE_BOX.items():
        old, new = read(before), read(after)
        if old != new:
            yield Change(what, old, new, detail=after.get("configuration_note") if what == "configuration" else None)
    was = {each["link"]: each for each in before.get("links", ())}
    now = {each["link"]: each for each in after.get("links", ())}
    for name in sorted({*was, *now}):
        yield from _of_link(name, was.get(name), now.get(name))


def _of_link(name: str, was: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Iterator[Change]:
    if was is None or now is None:
        old, new = (None if each is None else str(each.get("driver", "")) for each in (was, now))
        yield Change("link", old, new, name)
        return
    if was.get("state") != now.get("state"):
        yield Change("port", was.get("state"), now.get("state"), name, str(now.get("reason") or "")[:500] or None)
    if was.get("driver") != now.get("driver"):
        yield Change("driver", was.get("driver"), now.get("driver"), name)
    if (was.get("options") or {}) != (now.get("options") or {}):
        yield Change("options", None, None, name)


def _room(said: Mapping[str, Any]) -> str:
    store = said.get("store") or {}
    return "refusing" if store.get("refusing") else f"{store.get('warning_percent') or 0} %"


def _damage(said: Mapping[str, Any]) -> str:
    damage = (said.get("store") or {}).get("damage") or {}
    return "damaged" if damage.get("check") == "damaged" or damage.get("files") else "sound"


_OF_THE_BOX = {
    "software": lambda said: str(said.get("software", "")),
    "configuration": lambda said: str(said.get("configuration", 0)),
    "epoch": lambda said: str(said.get("epoch", "")),
    "clock": lambda said: "sure" if said.get("clock_sure", True) else "unsure",
    "room": _room,
    "damage": _damage,
}


@dataclass(frozen=True, slots=True)
class Limit:
    """The silence that is expected: `minutes` (None: any), counted while people work."""

    minutes: int | None
    opens: int = 0
    """Minutes after midnight on the hospital's clock; the same as `closes`: around the clock."""
    closes: int = 0
    days: tuple[int, ...] = WEEK
    """On which work begins, 1 Monday to 7 Sunday."""

    @property
    def all_day(self) -> bool:
        return self.opens == self.closes


_FROM, _TO = 7 * 60 + 30, 17 * 60 + 30
DEFAULTS = {
    "hematology": Limit(60, _FROM, _TO),
    "chemistry": Limit(60, _FROM, _TO),
    "coagulation": Limit(120, _FROM, _TO),
    "immunology": Limit(120, _FROM, _TO),
    "urine": Limit(120, _FROM, _TO),
    "bloodgas": Limit(720),
    "molecular": Limit(None),
    "": Limit(240, _FROM, _TO, (1, 2, 3, 4, 5)),
}
"""By section, until the laboratory sets its own. Drafts: no document says how long an analyzer is quiet."""


def counts_from(limit: Limit, heard: datetime, now: datetime) -> datetime | None:
    """From when a silence counts: the last word, or the beginning of today's work if that is later; None: nobody works.

    `heard` and `now` are on the hospital's wall clock. Hours that end past midnight belong to the day they begin on.
    """
    if limit.all_day and set(limit.days) == set(WEEK):
        return heard
    for days_ago in (0, 1):
        day = (now - timedelta(days=days_ago)).replace(hour=0, minute=0, second=0, microsecond=0)
        length = (limit.closes - limit.opens) % (24 * 60) or 24 * 60
        opens = day + timedelta(minutes=limit.opens)
        if day.isoweekday() in limit.days and opens <= now < opens + timedelta(minutes=length):
            return max(heard, opens)
    return None


def too_silent(limit: Limit, heard: datetime, now: datetime) -> bool:
    """Whether nothing was heard for longer than is expected; both moments on the hospital's wall clock."""
    since = counts_from(limit, heard, now)
    return limit.minutes is not None and since is not None and now - since >= timedelta(minutes=limit.minutes)
