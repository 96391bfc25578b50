"""Pure decisions on grants: what one is worth at a moment, and what a person's grants together say about a test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol


class Standing(StrEnum):
    """What a grant is worth at a moment; the best first."""

    VALID = "valid"
    NOT_YET = "not_yet"
    EXPIRED = "expired"
    REVOKED = "revoked"
    NONE = "none"
    """No grant at all."""


class Grant(Protocol):
    """`model.AuthorityGrant` is one."""

    @property
    def scope(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def valid_from(self) -> date: ...
    @property
    def valid_to(self) -> date | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def revoked_at(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time and the hospital's civil day of it."""

    at: datetime
    day: date


@dataclass(frozen=True, slots=True)
class TestKey:
    """What a grant may name a test by."""

    __test__ = False

    code: str
    section: str
    panels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """May the act be done to a test, and which grant says so (or came nearest)."""

    standing: Standing
    grant: Grant | None = None

    @property
    def allowed(self) -> bool:
        return self.standing is Standing.VALID


def standing(grant: Grant, now: Moment) -> Standing:
    """A grant holds from its first to its last day, both included, until the moment it is revoked.

    What was entered after `now` says nothing about it: nobody could have acted on it.
    """
    if grant.created_at > now.at:
        return Standing.NONE
    if grant.revoked_at is not None and grant.revoked_at <= now.at:
        return Standing.REVOKED
    if now.day < grant.valid_from:
        return Standing.NOT_YET
    if grant.valid_to is not None and now.day > grant.valid_to:
        return Standing.EXPIRED
    return Standing.VALID


def covers(grant: Grant, test: TestKey) -> bool:
    if grant.scope == "all":
        return True
    if grant.scope == "section":
        return grant.target == test.section
    if grant.scope == "panel":
        return grant.target in test.panels
    return grant.target == test.code


def answer(grants: Iterable[Grant], test: TestKey | None, now: Moment) -> Answer:
    """The best of a person's grants of one act for `test`; for an act on no test (None) any grant of it counts."""
    best = Answer(Standing.NONE)
    order = list(Standing)
    for grant in grants:
        if test is not None and not covers(grant, test):
            continue
        found = standing(grant, now)
        if order.index(found) < order.index(best.standing):
            best = Answer(found, grant)
    return best
