"""Facts about money. What the money was for reacts to them in its own slice."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class PaymentSettled(Event):
    """Money came, once for each payment. `late`: after the payment had been closed, so what it was for may be gone."""

    type: ClassVar[str] = "payments.payment_settled"
    purpose: str
    subject_id: uuid.UUID
    fen: int
    late: bool


@event_type
@dataclass(frozen=True, kw_only=True)
class PaymentClosed(Event):
    """The channel takes no money for it any more; what was held for it may be let go."""

    type: ClassVar[str] = "payments.payment_closed"
    purpose: str
    subject_id: uuid.UUID


@event_type
@dataclass(frozen=True, kw_only=True)
class RefundArrived(Event):
    """Money went back, by the channel's evidence or a signature at the window."""

    type: ClassVar[str] = "payments.refund_arrived"
    payment_id: uuid.UUID
    purpose: str
    subject_id: uuid.UUID
    fen: int
    route: str


@event_type
@dataclass(frozen=True, kw_only=True)
class RefundStuck(Event):
    """The channel can't bring it back; a person has to pay it out."""

    type: ClassVar[str] = "payments.refund_stuck"
    payment_id: uuid.UUID
    purpose: str
    subject_id: uuid.UUID
    fen: int


@event_type
@dataclass(frozen=True, kw_only=True)
class RefundDropped(Event):
    """A person gave it up before any money had moved; what it was for is as it was before it was asked."""

    type: ClassVar[str] = "payments.refund_dropped"
    payment_id: uuid.UUID
    purpose: str
    subject_id: uuid.UUID
    fen: int
    by: str
    reason: str
