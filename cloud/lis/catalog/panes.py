"""What slices above show on a test's own page (its channels, formulas, rules): they register, the page draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from cloud.lis.catalog.model import Test


@dataclass(frozen=True, slots=True)
class Pane:
    """One section. `load` gives the template what it needs, under the name `pane`."""

    name: str
    title: str
    template: str
    load: Callable[[Session, Test], Any]
    position: int


_panes: dict[str, Pane] = {}


def add(name: str, title: str, template: str, load: Callable[[Session, Test], Any], *, position: int) -> None:
    """`title` is a marked Chinese sentence; `template` a fragment without layout."""
    _panes[name] = Pane(name, title, template, load, position)


def of_test(session: Session, test: Test) -> list[tuple[Pane, Any]]:
    return [(each, each.load(session, test)) for each in sorted(_panes.values(), key=lambda pane: pane.position)]
