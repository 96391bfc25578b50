"""A box asks the cloud about tubes that its own worklist does not know, while the instrument waits for its answer.

Up: ``.../up/<link>/query`` (Question), not kept by the broker longer than the box waits. Down: ``.../down/answer``
(Answer). A question that is lost or answered late costs nothing: the box has said "no order" by then. A cloud or a box
of the version before knows neither topic and ignores it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from protocols.model import Order
from protocols.uplink.items import order_from_json, order_to_json
from protocols.uplink.payload import dump, load
from protocols.uplink.topics import VERSION, UplinkError, check_name

QUESTION = "query"
ANSWER = "answer"
BOX = "box"
"""The `driver` of a message that the box itself wrote; its raw bytes are the item as JSON, and no driver reads them."""
MOST_SPECIMENS = 100
"""Tubes in one question, at most."""


class NoOrder(StrEnum):
    """Why a tube got no order: what the cloud says of it, or why the box could not ask. A newer side may know more."""

    UNKNOWN = "unknown"
    """The cloud knows no tube with this barcode."""
    NOT_COLLECTED = "not_collected"
    """Its label was printed, and nobody has scanned it since."""
    CLOSED = "closed"
    """Rejected or cancelled."""
    DONE = "done"
    """Everything on it is released."""
    NOTHING_HERE = "nothing_here"
    """It has tests, and none that this instrument takes in an order."""
    NOT_REACHED = "not_reached"
    """The cloud could not be asked: the box was not connected."""
    NO_ANSWER = "no_answer"
    """The cloud was asked and did not answer in time."""
    NOT_ASKED = "not_asked"
    """The link is set never to ask."""
    NO_BARCODE = "no_barcode"
    """The instrument could not read the tube and named only its place."""


@dataclass(frozen=True, slots=True)
class Question:
    gateway: str
    link: str
    id: str
    """Drawn by the box; the answer repeats it."""
    specimens: tuple[str, ...]

    def to_bytes(self) -> bytes:
        head = {"v": VERSION, "gateway": self.gateway, "link": self.link, "id": self.id}
        return dump({**head, "specimens": list(self.specimens)})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Question:
        data = load(payload)
        try:
            asked = tuple(str(each) for each in data["specimens"])
            question = cls(check_name(data["gateway"]), check_name(data["link"]), check_name(data["id"]), asked)
        except (KeyError, TypeError, ValueError) as error:
            raise UplinkError(f"not a question: {error}") from error
        if not 1 <= len(asked) <= MOST_SPECIMENS:
            raise UplinkError(f"a question about {len(asked)} tubes")
        return question


@dataclass(frozen=True, slots=True)
class Finding:
    """What the cloud knows of one tube: its order for the link that asked, or why there is none."""

    specimen: str
    """As the box asked."""
    order: Order | None = None
    reason: str = ""
    """A word of `NoOrder` where `order` is None."""


@dataclass(frozen=True, slots=True)
class Answer:
    link: str
    id: str
    findings: tuple[Finding, ...]

    def to_bytes(self) -> bytes:
        found = [
            {
                "specimen": each.specimen,
                **({"reason": each.reason} if each.order is None else {"order": order_to_json(each.order)}),
            }
            for each in self.findings
        ]
        return dump({"v": VERSION, "link": self.link, "id": self.id, "findings": found})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Answer:
        data = load(payload)
        try:
            findings = tuple(
                Finding(
                    str(each["specimen"]),
                    None if each.get("order") is None else order_from_json(each["order"]),
                    str(each.get("reason", "")),
                )
                for each in data["findings"]
            )
            return cls(check_name(data["link"]), check_name(data["id"]), findings)
        except (KeyError, TypeError, ValueError, AttributeError, msgspec.ValidationError) as error:
            raise UplinkError(f"not an answer: {error}") from error
