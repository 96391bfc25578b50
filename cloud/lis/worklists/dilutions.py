"""Dilutions that analyzers are to make: asked for by a higher slice, sent where an order has a place for them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session

from protocols.driver import discover

Source = Callable[[Session, uuid.UUID], Mapping[uuid.UUID, str]]
_sources: list[Source] = []


def add(source: Source) -> None:
    """`source` gives the factors of one specimen by test: "10" is 1:10."""
    if source not in _sources:
        _sources.append(source)


def asked(session: Session, specimen_id: uuid.UUID) -> dict[uuid.UUID, str]:
    """Every dilution that is asked for on the specimen."""
    found: dict[uuid.UUID, str] = {}
    for source in _sources:
        found.update(source(session, specimen_id))
    return found


def can(driver: str, factor: str) -> bool:
    """Whether an order can ask an analyzer of this driver for the dilution."""
    found = discover().get(driver)
    return bool(factor) and found is not None and found.can_dilute(factor)
