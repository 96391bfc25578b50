"""Who else is asked before the catalogue is changed or a change approved: slices above register (authorisation)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy.orm import Session

from cloud.lis.catalog.kinds import Kind
from cloud.lis.catalog.model import Test
from cloud.staff.access import CurrentStaff

Guard = Callable[[Session, CurrentStaff, str, Iterable[str]], None]
EDIT, APPROVE = "catalog.edit", "catalog.approve"
_guards: list[Guard] = []


def add(guard: Guard) -> Guard:
    """`guard(session, staff, act, codes of tests)` raises `Forbidden` where this person may not."""
    if guard not in _guards:
        _guards.append(guard)
    return guard


def ask(session: Session, staff: CurrentStaff, act: str, kind: Kind, row: Any = None) -> None:
    """Raises `Forbidden` unless every guard lets `staff` do `act` to what belongs to one test (or to no test)."""
    test_id = kind.test_id(row) if row is not None else None
    test = session.get(Test, test_id) if test_id is not None else None
    for guard in _guards:
        guard(session, staff, act, [test.code] if test is not None else [])
