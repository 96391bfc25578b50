"""A verb tried inside a page's unit of work: a refusal undoes the verb alone and is shown on the page it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.orm import Session

from cloud.kit.errors import XinglinError

T = TypeVar("T")


def attempt(session: Session, verb: Callable[[], T]) -> tuple[T | None, XinglinError | None]:
    """(what it gave, None), or (None, the refusal) with everything it wrote taken back."""
    try:
        with session.begin_nested():
            return verb(), None
    except XinglinError as refusal:
        session.expire_all()
        return None, refusal
