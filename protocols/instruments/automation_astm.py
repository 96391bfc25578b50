"""Assembly lines and sorters that tell in ASTM records where tubes are. Their documents differ in which record says so.

LIS02-A2 has no record for a tube's way: lines use manufacturer's records (M), results (R) or orders (O). The link's
options name the places and the line's words, both from its document; a place is record, field and component::

    [links.options]
    record = "M"                                     # one event for each of these; "R" or "O" where the line does so
    fields = { event = "M.3", specimen = "O.3.1", time = "M.4", module = "M.5", rack = "M.6.1", position = "M.6.2" }
    actions = { "STORE" = "stored", "OUT" = "retrieved", "SORT" = "routed" }

Further fields: destination, parent, volume (microlitres), detail. A place in another record than the event's is read
from the last of its kind. In R a word that is not mapped is a result like any other.

Source: the records of CLSI LIS02-A2. No line's document is behind it: Sysmex CT-90 (host interface R314198, "Storage
Result") and Data Innovations DIS_0005 (ASTM Automation/Robotics) were found by their contents only. Without options
such messages are carried whole, as the generic ASTM driver does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import ClassVar

from protocols.astm_driver import AstmDriver
from protocols.dialects.automation import Words, action_words
from protocols.driver import Driver, Match, Status
from protocols.errors import DriverOptionError
from protocols.messages.astm import AstmMessage, Record
from protocols.messages.column_map import only, text_option
from protocols.messages.times import iso_time
from protocols.model import Item, SpecimenAction, SpecimenEvent

_PLACE = re.compile(r"^([HPORCM])\.([1-9]\d?)(?:\.([1-9]\d?))?$")
_FIELDS = (
    "event", "specimen", "time", "module", "destination", "rack", "position", "parent", "volume", "detail",
)  # fmt: skip
_KINDS = re.compile(rb"(?:^|[\r\n])([A-Za-z])[^A-Za-z0-9\s]")


@dataclass(frozen=True, slots=True)
class Place:
    """Field and component count from 1, as in the standard; no component: the whole field."""

    record: str
    field: int
    component: int | None

    def read(self, records: Mapping[str, Record]) -> str | None:
        record = records.get(self.record)
        if record is None:
            return None
        found = record.text(self.field) if self.component is None else record.component(self.field, self.component)
        return found or None


class AutomationAstm(AstmDriver):
    id: ClassVar[str] = "automation_astm"
    vendor: ClassVar[str] = "any"
    models: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = "CLSI LIS02-A2; no line: places and words of its events as the link's options name them"
    status: ClassVar[Status] = Status.MANUAL
    event_record: str = "M"
    places: Mapping[str, Place] = {}
    words: Words = {}

    def configured(self, options: Mapping[str, object]) -> Driver:
        only(options, ("record", "fields", "actions"))
        driver = copy(self)
        driver.event_record = text_option(options, "record", ("M", "R", "O")) or "M"
        driver.places = _places(options)
        driver.words = action_words(options)
        if options and "event" not in driver.places:
            raise DriverOptionError("fields", "no place of the event", 'write fields = { event = "M.3", ... }')
        return driver

    def fingerprint(self, payload: bytes) -> Match:
        """By shape: tubes (O, M) and neither results nor a query."""
        head = payload.lstrip()[:2]
        if head[:1] not in (b"H", b"h") or not head[1:] or head[1:].isalnum():
            return Match(0.0, "no ASTM header record")
        kinds = {each.upper() for each in _KINDS.findall(payload)}
        if b"M" in kinds and kinds <= {b"H", b"P", b"O", b"M", b"C", b"L"}:
            return Match(0.15, "manufacturer's records of tubes, no result and no query")
        return Match(0.0, "results or queries of an analyzer")

    def finish(self, items: list[Item], message: AstmMessage) -> list[Item]:
        """What was read from a record of the line's events becomes the event; all else stays."""
        if not self.places:
            return items
        last: dict[str, Record] = {}
        events: dict[int | None, Item] = {}
        for record in message.records:
            last[record.kind] = record
            if record.kind == self.event_record and (event := self._event(record, last)) is not None:
                events[record.index] = event
        kept = [each for each in items if each.record not in events]
        return sorted([*kept, *events.values()], key=lambda each: each.record or 0)

    def _event(self, record: Record, last: Mapping[str, Record]) -> SpecimenEvent | None:
        """None: a result of an analyzer, whose word is none of the line's."""
        told = {name: place.read(last) for name, place in self.places.items()}
        word = told.get("event") or ""
        action = self.words.get(word.strip().upper())
        if action is None and record.kind == "R":
            return None
        specimen = told.get("specimen")
        if "specimen" not in self.places and "O" in last:
            specimen = self.specimen(last["O"])[0]
        own = word if action in (None, SpecimenAction.OTHER, SpecimenAction.FAILED) else None
        return SpecimenEvent(
            specimen=specimen,
            action=action or SpecimenAction.OTHER,
            occurred_at=iso_time(told.get("time") or "") or None,
            module=told.get("module"),
            destination=told.get("destination"),
            rack=told.get("rack"),
            position=told.get("position"),
            parent=told.get("parent"),
            volume_ul=told.get("volume"),
            detail="; ".join(filter(None, (own, told.get("detail")))) or None,
            record=record.index,
        )


def _places(options: Mapping[str, object]) -> Mapping[str, Place]:
    told = options.get("fields", {})
    if not isinstance(told, dict):
        raise DriverOptionError("fields", "is no table", 'write fields = { event = "M.3", specimen = "O.3" }')
    found: dict[str, Place] = {}
    for name, place in told.items():
        if name not in _FIELDS:
            raise DriverOptionError(f"fields.{name}", "is no field of an event", f"known: {', '.join(_FIELDS)}")
        match = _PLACE.match(place) if isinstance(place, str) else None
        if match is None:
            cure = 'write record, field and component, such as "M.6.2"'
            raise DriverOptionError(f"fields.{name}", f"not taken: {place!r}", cure)
        found[name] = Place(match[1], int(match[2]), int(match[3]) if match[3] else None)
    return found
