"""Whether an error of the database may pass by itself, so that the same work is tried again rather than refused."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})
"""SQLSTATE classes (PostgreSQL appendix A): connection, rollback (deadlock, serialization), resources, lock not
available, operator intervention (shutdown, cancelled), system error."""


def is_retryable(error: BaseException) -> bool:
    """Whether the database was away, overloaded or ended a deadlock here: the same statement may pass later."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    # Without a state the driver itself said so: a lost connection may come back, a value it cannot send stays one.
    return isinstance(error, OperationalError) if state is None else state[:2] in _CLASSES
