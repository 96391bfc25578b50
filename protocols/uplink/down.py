"""What the cloud says to a box: receipts, its time, requests for what it misses, worklists."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from protocols.model import Order
from protocols.uplink.items import order_from_json, order_to_json
from protocols.uplink.payload import dump, load
from protocols.uplink.topics import VERSION, UplinkError, check_name


@dataclass(frozen=True, slots=True)
class Receipt:
    """The cloud's database has committed every sequence up to `through` of this link, and each of `also`."""

    epoch: str
    link: str
    through: int
    also: tuple[int, ...] = ()
    at: datetime | None = None
    """The cloud's clock when it said so: a box without a clock of its own goes by it."""

    def covers(self, sequence: int) -> bool:
        return sequence <= self.through or sequence in self.also

    def to_bytes(self) -> bytes:
        data = {"v": VERSION, "epoch": self.epoch, "link": self.link, "through": self.through, "also": list(self.also)}
        return dump(data if self.at is None else {**data, "at": self.at.isoformat()})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Receipt:
        data = load(payload)
        try:
            return cls(
                check_name(data["epoch"]),
                check_name(data["link"]),
                int(data["through"]),
                tuple(int(each) for each in data.get("also", ())),
                _time(data.get("at")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UplinkError(f"not a receipt: {error}") from error


@dataclass(frozen=True, slots=True)
class TimeNotice:
    """The cloud's clock, for a box that said that it does not trust its own."""

    at: datetime

    def to_bytes(self) -> bytes:
        return dump({"v": VERSION, "at": self.at.isoformat()})

    @classmethod
    def from_bytes(cls, payload: bytes) -> TimeNotice:
        at = _time(load(payload).get("at"))
        if at is None:
            raise UplinkError("not a time: it has no zone, or there is none")
        return cls(at)


def _time(text: object) -> datetime | None:
    """Of something that is only told beside: what cannot be read was not said."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


@dataclass(frozen=True, slots=True)
class GapRequest:
    """The cloud misses these sequences (both ends included) and asks for them; the box answers with envelopes."""

    epoch: str
    link: str
    first: int
    last: int

    def to_bytes(self) -> bytes:
        return dump({"v": VERSION, "epoch": self.epoch, "link": self.link, "first": self.first, "last": self.last})

    @classmethod
    def from_bytes(cls, payload: bytes) -> GapRequest:
        data = load(payload)
        try:
            return cls(check_name(data["epoch"]), check_name(data["link"]), int(data["first"]), int(data["last"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UplinkError(f"not a gap request: {error}") from error


@dataclass(frozen=True, slots=True)
class WorklistEntry:
    """Orders of one specimen for the links of one box. A later revision of the same specimen replaces it whole.

    `orders` maps link id to the order in that instrument's own codes; empty: the specimen is cancelled or done.
    """

    revision: int
    specimen: str
    orders: dict[str, Order]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Worklist:
    """Changes of a box's worklist. Applied in rising revision, each at most once, idempotent."""

    gateway: str
    entries: tuple[WorklistEntry, ...]
    after: int | None = None
    """These are all changes after this revision: the cloud read them from there. A box that stands lower lost a publish
    on the way, applies nothing and says its revision again. None: only an unbroken run of revisions proves it."""

    def to_bytes(self) -> bytes:
        return dump(
            {
                "v": VERSION,
                "gateway": self.gateway,
                **({} if self.after is None else {"after": self.after}),
                "entries": [
                    {
                        "revision": each.revision,
                        "specimen": each.specimen,
                        "orders": {link: order_to_json(order) for link, order in each.orders.items()},
                        "expires_at": each.expires_at.isoformat(),
                    }
                    for each in self.entries
                ],
            }
        )

    @classmethod
    def from_bytes(cls, payload: bytes) -> Worklist:
        data = load(payload)
        try:
            return cls(
                check_name(data["gateway"]),
                tuple(
                    WorklistEntry(
                        revision=int(each["revision"]),
                        specimen=str(each["specimen"]),
                        orders={check_name(link): order_from_json(order) for link, order in each["orders"].items()},
                        expires_at=datetime.fromisoformat(each["expires_at"]),
                    )
                    for each in data["entries"]
                ),
                after=None if data.get("after") is None else int(data["after"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UplinkError(f"not a worklist: {error}") from error
