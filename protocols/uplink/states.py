"""What a box says of itself and its links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from protocols.uplink.payload import dump, load
from protocols.uplink.topics import VERSION, UplinkError, check_name


@dataclass(frozen=True, slots=True)
class LinkState:
    link: str
    state: str
    """"open", "listening", "connecting", "closed" or "failed"."""
    driver: str
    last_received_at: datetime | None
    last_sequence: int
    waiting: int
    """Messages stored and not yet covered by a receipt."""
    refused_frames: int = 0
    answered_queries: int = 0
    reason: str = ""
    """Why the port is not open, in the box's words."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """`[links.options]` as the box's configuration has them now: what the driver was told of this instrument."""


@dataclass(frozen=True, slots=True)
class ClockCorrection:
    """Times of messages that the box sent as unsure, and knows better now: `received_at` was wrong by `shift_us`."""

    link: str
    first: int
    last: int
    shift_us: int
    """Microseconds to add."""


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What a box says of itself at every connect, every 30 s and whenever its worklist revision moved."""

    gateway: str
    epoch: str
    at: datetime
    clock_sure: bool
    software: str
    worklist_revision: int
    """Every revision up to this one is stored on the box. 0: it has none and needs all."""
    links: tuple[LinkState, ...]
    bytes_free: int = 0
    certificate_days: int | None = None
    """Whole days until the box's certificate runs out, by the box's clock; None: it has none."""
    clock_doubt: str = ""
    """Why the box does not believe its clock."""
    corrections: tuple[ClockCorrection, ...] = ()
    configuration: int = 0
    """Number of the configuration in force on the box; 0: it does not count them."""
    configuration_digest: str = ""
    """First digits of the SHA-256 of its text."""
    configuration_trial: bool = False
    """Its health window has not passed yet."""
    configuration_note: str = ""
    """What the box took back last, and why."""
    store: Mapping[str, Any] = field(default_factory=dict)
    """What the box's store knows of its room, its ballast and of damage (`Store.condition`)."""

    def to_bytes(self) -> bytes:
        return dump(
            {
                "v": VERSION,
                "gateway": self.gateway,
                "epoch": self.epoch,
                "at": self.at.isoformat(),
                "clock_sure": self.clock_sure,
                "software": self.software,
                "worklist_revision": self.worklist_revision,
                "bytes_free": self.bytes_free,
                "certificate_days": self.certificate_days,
                "clock_doubt": self.clock_doubt,
                "corrections": [[each.link, each.first, each.last, each.shift_us] for each in self.corrections],
                "configuration": self.configuration,
                "configuration_digest": self.configuration_digest,
                "configuration_trial": self.configuration_trial,
                "configuration_note": self.configuration_note,
                "store": dict(self.store),
                "links": [
                    {
                        "link": each.link,
                        "state": each.state,
                        "driver": each.driver,
                        "last_received_at": each.last_received_at and each.last_received_at.isoformat(),
                        "last_sequence": each.last_sequence,
                        "waiting": each.waiting,
                        "refused_frames": each.refused_frames,
                        "answered_queries": each.answered_queries,
                        "reason": each.reason,
                        "options": dict(each.options),
                    }
                    for each in self.links
                ],
            }
        )

    @classmethod
    def from_bytes(cls, payload: bytes) -> GatewayState:
        data = load(payload)
        try:
            return cls(
                gateway=check_name(data["gateway"]),
                epoch=check_name(data["epoch"]),
                at=datetime.fromisoformat(data["at"]),
                clock_sure=bool(data.get("clock_sure", True)),
                software=str(data.get("software", "")),
                worklist_revision=int(data.get("worklist_revision", 0)),
                bytes_free=int(data.get("bytes_free", 0)),
                certificate_days=None if data.get("certificate_days") is None else int(data["certificate_days"]),
                clock_doubt=str(data.get("clock_doubt", "")),
                corrections=tuple(
                    ClockCorrection(check_name(link), int(first), int(last), int(shift_us))
                    for link, first, last, shift_us in data.get("corrections", ())
                ),
                configuration=int(data.get("configuration", 0)),
                configuration_digest=str(data.get("configuration_digest", "")),
                configuration_trial=bool(data.get("configuration_trial", False)),
                configuration_note=str(data.get("configuration_note", "")),
                store=dict(data.get("store", {})),
                links=tuple(
                    LinkState(
                        link=check_name(each["link"]),
                        state=str(each["state"]),
                        driver=str(each.get("driver", "")),
                        last_received_at=datetime.fromisoformat(each["last_received_at"])
                        if each.get("last_received_at")
                        else None,
                        last_sequence=int(each.get("last_sequence", 0)),
                        waiting=int(each.get("waiting", 0)),
                        refused_frames=int(each.get("refused_frames", 0)),
                        answered_queries=int(each.get("answered_queries", 0)),
                        reason=str(each.get("reason", "")),
                        options=dict(each.get("options", {})),
                    )
                    for each in data["links"]
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UplinkError(f"not a gateway state: {error}") from error
