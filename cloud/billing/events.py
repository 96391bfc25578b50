"""Facts about bills. The phone is told, and the hospital's own system is reported to, by who reacts to them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class ChargeArose(Event):
    """There is something to pay, or what there was has another content now (`version`)."""

    type: ClassVar[str] = "billing.charge_arose"
    person_id: uuid.UUID
    source: str
    number: str
    charge_version: int
    fen: int


@event_type
@dataclass(frozen=True, kw_only=True)
class ChargeVoided(Event):
    """Taken back by its source before it was paid."""

    type: ClassVar[str] = "billing.charge_voided"
    person_id: uuid.UUID
    source: str
    number: str


@event_type
@dataclass(frozen=True, kw_only=True)
class ChargePaid(Event):
    """Its money is here. `how`: by a payment of ours, ``elsewhere`` (its source said so) or ``free``."""

    type: ClassVar[str] = "billing.charge_paid"
    person_id: uuid.UUID
    source: str
    number: str
    how: str
    payment_id: uuid.UUID | None
    fen: int


@event_type
@dataclass(frozen=True, kw_only=True)
class ItemsExecuted(Event):
    """These items of the charge were done; from now on their money goes back at the window only. `by`: ``his`` where
    its source told us."""

    type: ClassVar[str] = "billing.items_executed"
    source: str
    number: str
    items: tuple[uuid.UUID, ...]
    lines: tuple[str, ...]
    by: str


@event_type
@dataclass(frozen=True, kw_only=True)
class ExecutionUndone(Event):
    """They were not done after all, or their goods came back."""

    type: ClassVar[str] = "billing.execution_undone"
    source: str
    number: str
    items: tuple[uuid.UUID, ...]
    lines: tuple[str, ...]
    by: str


@event_type
@dataclass(frozen=True, kw_only=True)
class RefundAsked(Event):
    """These items are frozen: they must not be executed any more; their money is on its way back."""

    type: ClassVar[str] = "billing.refund_asked"
    person_id: uuid.UUID
    source: str
    number: str
    bill_refund_id: uuid.UUID
    lines: tuple[str, ...]
    fen: int


@event_type
@dataclass(frozen=True, kw_only=True)
class ItemsRefunded(Event):
    """Their money has arrived, by the channel's evidence or a signature at the window."""

    type: ClassVar[str] = "billing.items_refunded"
    person_id: uuid.UUID
    source: str
    number: str
    bill_refund_id: uuid.UUID
    payment_id: uuid.UUID
    refund_id: uuid.UUID | None
    items: tuple[uuid.UUID, ...]
    lines: tuple[str, ...]
    fen: int
    route: str


@event_type
@dataclass(frozen=True, kw_only=True)
class RefundDropped(Event):
    """The refund was given up before any money had moved; its items are as they were before it."""

    type: ClassVar[str] = "billing.refund_dropped"
    source: str
    number: str
    bill_refund_id: uuid.UUID
    lines: tuple[str, ...]


@event_type
@dataclass(frozen=True, kw_only=True)
class MoneyReturned(Event):
    """Of a payment that came (`aggregate_id`: the `BillPayment`), this much goes back by itself: its bill had been paid
    otherwise, changed, or taken back meanwhile."""

    type: ClassVar[str] = "billing.money_returned"
    payment_id: uuid.UUID
    person_ids: tuple[uuid.UUID, ...]
    fen: int
