"""Bytes that were stored or captured, read again by a driver: shown, compared, never stored or answered (GW-12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge.interpreter import version_of
from protocols.capture import Found, read_capture
from protocols.driver import Driver, discover
from protocols.provenance import record_span
from protocols.uplink.envelope import Message
from protocols.uplink.items import item_to_json


@dataclass(frozen=True, slots=True)
class Line:
    """One item and the bytes that it was read from."""

    driver: str | None
    item: dict[str, Any]
    source: bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """An item that only one of two readings has, or the fields in which both differ: {field: (before, now)}."""

    place: int
    before: dict[str, Any] | None
    now: dict[str, Any] | None
    fields: dict[str, tuple[Any, Any]]


class UnknownDriver(Exception):
    """There is no driver with this id."""


def driver_named(name: str | None) -> Driver | None:
    """None for a recognised one. Raises `UnknownDriver`."""
    if name is None or name in ("", "auto"):
        return None
    found = discover().get(name)
    if found is None:
        raise UnknownDriver(f"There is no driver {name!r}. Known drivers: {', '.join(sorted(discover()))}")
    return found


def lines_of(data: bytes, driver: Driver | None, limit: int | None = None) -> list[Line]:
    """Everything that the bytes hold. Never raises for what an instrument sent."""
    found: list[Line] = []
    for each in read_capture(data, driver):
        reader = driver if driver is not None else discover().get(each.driver or "")
        found.append(Line(each.driver, item_to_json(each.item), _source(each, reader)))
        if limit is not None and len(found) >= limit:
            break
    return found


def _source(found: Found, reader: Driver | None) -> bytes:
    start, end = record_span(found.payload, found.item.record, reader.protocol if reader is not None else "")
    return found.payload[start:end]


def differences(message: Message, driver: Driver | None) -> tuple[list[Line], list[Difference]]:
    """A stored message read again by `driver` (None: recognised), and what differs from what the box makes of it."""
    lines = lines_of(message.raw, driver)
    before = [item_to_json(each) for each in message.items]
    return lines, compared(before, [each.item for each in lines])


def compared(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> list[Difference]:
    """By what an item is about (kind, tube, test, rerun), so that one more item does not shift the rest."""
    rest = list(range(len(now)))
    found: list[Difference] = []
    for place, old in enumerate(before):
        match = next((each for each in rest if _about(now[each]) == _about(old)), None)
        if match is None:
            found.append(Difference(place, old, None, {}))
            continue
        rest.remove(match)
        new = now[match]
        fields = {key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}
        if fields:
            found.append(Difference(place, old, new, fields))
    return found + [Difference(each, None, now[each], {}) for each in rest]


def _about(item: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(str(item.get(key)) for key in ("kind", "specimen", "code", "run", "name", "point"))


def reader_version(driver: Driver | None) -> str:
    return "auto" if driver is None else f"{driver.id} {version_of(driver)}"
