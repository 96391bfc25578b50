"""The home page's cards: what waits for this role. Each slice above adds its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from cloud.staff.access import CurrentStaff

Count = Callable[[Session], int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One card. `label` and `hint` are Chinese sentences marked with ``N_``."""

    label: str
    hint: str
    href: str
    permission: str
    position: int
    count: Count
    topic: str | None
    """The live topic that changes the number."""
    urgent: bool


_cards: dict[str, Waiting] = {}


def add(
    label: str,
    hint: str,
    href: str,
    *,
    permission: str,
    position: int,
    count: Count,
    topic: str | None = None,
    urgent: bool = False,
) -> None:
    """Register a card (at import of the slice's routes); `count` reads how much waits; `urgent` shows red."""
    _cards[href] = Waiting(label, hint, href, permission, position, count, topic, urgent)


def waiting_for(session: Session, staff: CurrentStaff) -> list[tuple[Waiting, int]]:
    """The cards of this person, in order, with their numbers."""
    mine = [card for card in _cards.values() if staff.may(card.permission)]
    return [(card, card.count(session)) for card in sorted(mine, key=lambda card: card.position)]


def topics_for(staff: CurrentStaff) -> list[str]:
    """The live topics on which this person's cards change."""
    return sorted({card.topic for card in _cards.values() if card.topic and staff.may(card.permission)})
