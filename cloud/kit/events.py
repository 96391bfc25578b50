"""Facts, stored in the transaction that made them true, with one job for each subscriber.

A fact is a frozen dataclass: ``type`` and ``version`` are class variables, ``aggregate_id`` says whose fact it is,
every other field is its payload. A shipped payload is frozen: a new shape is a new version, and an upcaster turns the
old into the new.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, Session, mapped_column

from cloud.kit import clock
from cloud.kit.db import Base, Identified
from cloud.kit.jobs import enqueue, job

Payload = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of every fact; subclasses set `type` (``slice.fact_in_past_tense``) and `version`."""

    type: ClassVar[str]
    version: ClassVar[int] = 1
    aggregate_id: uuid.UUID


class StoredEvent(Identified, Base):
    """One fact as stored. Never changed, never deleted within retention."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_type_occurred_at", "type", "occurred_at"),)

    type: Mapped[str]
    version: Mapped[int]
    occurred_at: Mapped[datetime] = mapped_column(default=clock.now)
    aggregate_id: Mapped[uuid.UUID] = mapped_column(index=True)
    payload: Mapped[dict[str, Any]]


_types: dict[str, type[Event]] = {}
_subscribers: dict[str, list[str]] = {}
_upcasters: dict[tuple[str, int], Callable[[Payload], Payload]] = {}

E = TypeVar("E", bound=Event)


def event_type(cls: type[E]) -> type[E]:
    """Class decorator: makes the fact known by its `type`."""
    known = _types.get(cls.type)
    if known is not None and known.__module__ != cls.__module__:
        raise RuntimeError(f"two facts are called {cls.type}")
    _types[cls.type] = cls
    return cls


def upcast(type_name: str, from_version: int) -> Callable[[Callable[[Payload], Payload]], Callable[[Payload], Payload]]:
    """Register the function that turns a payload of `from_version` into the next version."""

    def register(function: Callable[[Payload], Payload]) -> Callable[[Payload], Payload]:
        _upcasters[(type_name, from_version)] = function
        return function

    return register


def _plain(value: Any) -> Any:
    if isinstance(value, uuid.UUID | Decimal):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


_FROM_TEXT: dict[type, Callable[[Any], Any]] = {
    uuid.UUID: uuid.UUID,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    Decimal: Decimal,
}


def _typed(hint: Any, value: Any) -> Any:
    """What `_plain` made of a field, as the type that the fact declares for it."""
    if value is None:
        return None
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        named = [each for each in inner if each is not NoneType]
        return _typed(named[0], value) if len(named) == 1 else value
    if origin is tuple and inner[-1] is not Ellipsis:
        return tuple(_typed(each, one) for each, one in zip(inner, value, strict=True))
    if isinstance(value, list):
        return tuple(_typed(inner[0] if inner else Any, each) for each in value)
    if origin is dict:
        return {key: _typed(inner[1], each) for key, each in value.items()}
    read = _FROM_TEXT.get(hint)
    return value if read is None else read(value)


def load(type_name: str, version: int, aggregate_id: uuid.UUID, payload: Payload) -> Event:
    """The fact as today's class, upcast step by step from the version it was stored with."""
    cls = _types[type_name]
    for step in range(version, cls.version):
        payload = _upcasters[(type_name, step)](dict(payload))
    hints = get_type_hints(cls)
    values = {
        each.name: _typed(hints[each.name], payload[each.name])
        for each in fields(cls)
        if each.name != "aggregate_id" and each.name in payload
    }
    return cls(aggregate_id=aggregate_id, **values)


def publish(session: Session, event: Event) -> StoredEvent:
    """Store the fact and put one job for each subscriber, all in this transaction."""
    names = [each.name for each in fields(event) if each.name != "aggregate_id"]
    payload = {name: _plain(getattr(event, name)) for name in names}
    stored = StoredEvent(type=event.type, version=event.version, aggregate_id=event.aggregate_id, payload=payload)
    session.add(stored)
    session.flush()
    for name in _subscribers.get(event.type, ()):
        enqueue(session, name, event_id=str(stored.id))
    return stored


def on(
    event_class: type[E], name: str, *, own_transactions: bool = False, background: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Subscribe: ``react(session, event)`` (or ``react(begin, event)``) runs as the job `name` for each such fact.

    It may run more than once for one fact; its effect must be the same as once. `background`: where thousands of such
    facts come at once and other jobs must not wait for them.
    """

    def register(react: Callable[..., None]) -> Callable[..., None]:
        def run(transaction: Any, event_id: str) -> None:
            if own_transactions:
                with transaction() as session:
                    event = _load_stored(session, event_id)
            else:
                event = _load_stored(transaction, event_id)
            react(transaction, event)

        run.__module__ = react.__module__
        job(name, own_transactions=own_transactions, background=background)(run)
        names = _subscribers.setdefault(event_class.type, [])
        if name not in names:
            names.append(name)
        return react

    return register


def _load_stored(session: Session, event_id: str) -> Event:
    stored = session.get(StoredEvent, uuid.UUID(event_id))
    if stored is None:
        raise LookupError(f"event {event_id} is not stored")
    return load(stored.type, stored.version, stored.aggregate_id, stored.payload)
