"""The contract of an instrument driver: its vendor's document as data plus exceptions.

A driver is pure: payload in, `Decoded` out; a received message and the orders known in, the replies out. Drivers are
found by `discover()` in `protocols.instruments`, never listed. `identify()` proposes the driver of an unknown message.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import ModuleType
from typing import ClassVar

from protocols.errors import DriverOptionError
from protocols.links.contract import Link
from protocols.model import Decoded, Order

FAMILIES = ("astm", "hl7", "poct1a", "text", "file", "modbus")


class Status(StrEnum):
    """How far a driver has been proved."""

    CAPTURED = "captured on a bench"
    MANUAL = "from the manual only"
    VALIDATED = "validated on site"


@dataclass(frozen=True, slots=True)
class Match:
    """How sure a driver is that a message is its instrument's: 0 (no) to 1 (names itself), and why."""

    score: float
    reason: str


class Driver(ABC):
    """One analyzer family."""

    id: ClassVar[str]
    """File name of the driver, the `driver` of a link in the box's configuration."""
    vendor: ClassVar[str]
    models: ClassVar[tuple[str, ...]]
    source: ClassVar[str]
    """The document or capture the driver was made from."""
    status: ClassVar[Status]
    protocol: ClassVar[str]
    """The family of its messages: one of `FAMILIES`."""
    flag_meanings: ClassVar[Mapping[str, str]] = {}
    answers_host_queries: ClassVar[bool] = False

    def can_dilute(self, factor: str) -> bool:
        """Has an order of this instrument a documented place for such a dilution (`Order.dilutions`)?"""
        return False

    def configured(self, options: Mapping[str, object]) -> Driver:
        """This driver with the settings of one instrument (`[links.options]` on the box): a copy, or itself for none.

        Raises `DriverOptionError` for what it cannot take; the box's check names the line. Most drivers take nothing.
        """
        if options:
            raise DriverOptionError(min(options), f"the driver {self.id} takes no options", "remove it")
        return self

    @abstractmethod
    def new_link(self) -> Link:
        """A fresh link with this instrument's options."""

    @abstractmethod
    def fingerprint(self, payload: bytes) -> Match:
        """Is this message from my instrument?"""

    @abstractmethod
    def decode(self, payload: bytes) -> Decoded:
        """All the message holds. Never raises for what an instrument sent: what is not understood is `Undecoded`."""

    def must_answer(self, payload: bytes) -> bool:
        """Might we owe an answer to this message? False lets the box keep it unread: it is decoded when it is sent on,

        and neither a fault nor the time of a driver stands between the instrument and its acknowledgement.
        """
        return True

    def must_read(self, payload: bytes) -> bool:
        """Is what the message holds needed for our answer to it? False lets the box call `respond` with an empty

        `Decoded` and no orders, and decode the message when it is sent on. Then `respond` gives the same bytes.
        """
        return True

    @abstractmethod
    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        """Every message we owe for `payload`, in order: application acknowledgements and answers to host queries.

        `orders` maps each queried specimen to the orders known for it (an empty sequence: no order; the instrument
        still gets the "no order" answer of its protocol). `now` is the box's aware wall-clock time for message headers.
        Called only after the message is durable. An ASTM result needs no answer: ().
        """

    def refuse(self, payload: bytes, reason: str, now: datetime) -> Sequence[bytes]:
        """What we answer when the message could not be kept (HL7: AE). ASTM refuses in the link: ()."""
        return ()

    def split(self, data: bytes) -> Sequence[bytes] | None:
        """The messages in a captured file of this family (no line control left in it); None: it is not of this family.

        For families that are neither ASTM nor HL7, whose captures are taken apart by `protocols.capture` itself. Every
        byte that carries data is in one of the messages.
        """
        return None

    def download(self, orders: Sequence[Order], now: datetime) -> Sequence[bytes]:
        """Messages that put `orders` on the instrument without being asked; () where it cannot."""
        return ()


class _Drivers(Mapping[str, Driver]):
    """Their names are their files' names; a driver's file is read when it is asked for (a box needs a few of many)."""

    def __init__(self) -> None:
        package = importlib.import_module("protocols.instruments")
        self._names = tuple(each.name for each in pkgutil.iter_modules(package.__path__))
        self._made: dict[str, Driver] = {}

    def __getitem__(self, name: str) -> Driver:
        made = self._made.get(name)
        if made is None:
            if name not in self._names:
                raise KeyError(name)
            made = self._made[name] = _driver_in(importlib.import_module(f"protocols.instruments.{name}"), name)
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _driver_in(module: ModuleType, name: str) -> Driver:
    """The driver that a file holds. Raises `LookupError` where its id is not the file's name: nobody would find it."""
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, Driver)
            and value.__module__ == module.__name__
            and getattr(value, "id", None) == name
        ):
            return value()
    raise LookupError(f"protocols/instruments/{name}.py holds no driver whose id is {name!r}")


@cache
def discover() -> Mapping[str, Driver]:
    """Every driver in `protocols.instruments` by its id, which is the name of its file."""
    return _Drivers()


CERTAIN = 1.0
"""The message names the driver's instrument; no two drivers may be certain of one message (a contract test)."""
_LIKELY = 0.5
"""From here on no driver of another family can know better what the first bytes belong to."""


def family_of_message(payload: bytes) -> str | None:
    """The family that the first bytes speak for; None where they speak for none. It spares time, it is no verdict."""
    head = payload[:64].lstrip(b" \t\r\n\x0b\x00")[:4]
    sign = head[3:4] if head[:3] in (b"MSH", b"FHS", b"BHS") else b""
    if sign and not sign.isalnum():
        return "hl7"
    if head[:1] in (b"H", b"h") and head[1:2] and not head[1:2].isalnum():
        return "astm"
    if head[:1] == b"<" and b".R0" in payload[:4096]:
        return "poct1a"
    return None


def identify(payload: bytes, first: Driver | None = None) -> tuple[Driver | None, Match]:
    """The driver that claims the message with the best score, or None with the reason.

    Drivers of the family that the message begins like are asked before the others, `first` (whose message came before
    this one on the line) before all.
    """
    if first is not None:
        match = first.fingerprint(payload)
        if match.score >= CERTAIN:
            return first, match
    family = family_of_message(payload)
    best: tuple[Driver | None, Match] = (None, Match(0.0, "no driver knows this message"))
    drivers = discover().values()
    if family is not None:
        best = _best(payload, (each for each in drivers if each.protocol == family), best)
    if best[1].score >= _LIKELY:
        return best
    return _best(payload, (each for each in drivers if each.protocol != family), best)


def _best(payload: bytes, drivers: Iterable[Driver], best: tuple[Driver | None, Match]) -> tuple[Driver | None, Match]:
    for driver in drivers:
        match = driver.fingerprint(payload)
        if match.score > best[1].score:
            best = (driver, match)
            if match.score >= CERTAIN:
                break
    return best
