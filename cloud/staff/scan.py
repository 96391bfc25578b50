"""The scan box on every page: each slice says what its codes look like and where they lead."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from cloud.staff.access import CurrentStaff

Resolve = Callable[[Session, str, CurrentStaff], str | None]
"""(session, code, staff) -> the address that the code leads this person to, or None if it is not this slice's."""

_resolvers: dict[str, tuple[int, Resolve]] = {}


def add(name: str, position: int, resolve: Resolve) -> None:
    """Register (at import of the slice's routes). Lower positions are asked first: specimens 100, orders 200."""
    _resolvers[name] = (position, resolve)


def where(session: Session, code: str, staff: CurrentStaff) -> str | None:
    """Where `code` leads, or None when nobody knows it."""
    code = code.strip()
    if not code:
        return None
    for _, resolve in sorted(_resolvers.values(), key=lambda each: each[0]):
        found = resolve(session, code, staff)
        if found is not None:
            return found
    return None
