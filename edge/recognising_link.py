"""The link of an instrument nobody has named yet: the first byte tells ASTM, HL7 and POCT1-A apart.

A driver of the family gives the link, a generic one if there is one, since it is the most tolerant.
"""

from __future__ import annotations

from functools import cache

from protocols.driver import Driver, discover
from protocols.errors import LocalProtocolError
from protocols.links.contract import FrameRefused, Link, LinkEvent

_FAMILY_BY_FIRST_BYTE = {0x05: "astm", 0x02: "astm", ord("H"): "astm", 0x0B: "hl7", ord("M"): "hl7", ord("<"): "poct1a"}
_SHOWN = 512


def family_of(data: bytes) -> str | None:
    """ "astm", "hl7" or "poct1a" by the first byte of a transmission or of a message; None for anything else."""
    return _FAMILY_BY_FIRST_BYTE.get(data[0]) if data else None


@cache
def driver_of_family(family: str) -> Driver | None:
    of_family = [each for each in discover().values() if each.protocol == family]
    return min(of_family, key=lambda each: (not each.id.startswith("generic"), each.id), default=None)


class RecognisingLink(Link):
    """Listens until it knows the family; from then on it is a link of that family, until the connection closes."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self._link: Link | None = None

    def receive(self, data: bytes, now: float) -> list[LinkEvent]:
        if self._link is not None:
            return self._link.receive(data, now)
        for position in range(len(data)):
            link = self._link_for(data[position])
            if link is not None:
                noise: list[LinkEvent] = [_noise(data[:position])] if position else []
                self._link = link
                return noise + link.receive(data[position:], now)
        return [_noise(data)] if data else []

    def _link_for(self, first: int) -> Link | None:
        family = family_of(bytes([first]))
        driver = driver_of_family(family) if family else None
        if family is None or driver is None:
            return None
        # One link for each family for as long as we live, so that a frame id never means two frames.
        return self._links.setdefault(family, driver.new_link())

    def acknowledge(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._known().acknowledge(frame_id, now)

    def refuse(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._known().refuse(frame_id, now)

    def send(self, payload: bytes, now: float) -> int:
        return self._known().send(payload, now)

    def bytes_to_send(self) -> bytes:
        return self._link.bytes_to_send() if self._link else b""

    @property
    def wake_at(self) -> float | None:
        return self._link.wake_at if self._link else None

    def wake(self, now: float) -> list[LinkEvent]:
        return self._link.wake(now) if self._link else []

    def disconnected(self, now: float) -> list[LinkEvent]:
        events = self._link.disconnected(now) if self._link else []
        self._link = None
        return events

    def _known(self) -> Link:
        if self._link is None:
            raise LocalProtocolError("nothing was received yet: the protocol is not known")
        return self._link


def _noise(data: bytes) -> FrameRefused:
    return FrameRefused("bytes of no known protocol", data[:_SHOWN])
