"""Deliveries: one message to one address, every attempt, and the access token that all processes share."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.kit.sealed import SealedText

STATES = ("waiting", "sending", "sent", "failed", "expired")


class Delivery(Identified, Created, Base):
    """One message. Address and parameters are sealed (phones, codes); staff see the masked `address_shown`."""

    __tablename__ = "delivery"
    __table_args__ = (
        CheckConstraint(f"state IN {STATES}", name="state"),
        Index(
            "ix_delivery_open",
            "next_attempt_at",
            postgresql_where=text("state IN ('waiting', 'sending')"),
        ),
        Index("ix_delivery_created_at", "created_at"),
    )

    dedupe_key: Mapped[str] = mapped_column(unique=True)
    transport: Mapped[str]
    address: Mapped[str] = mapped_column(SealedText("delivery.address"))
    address_shown: Mapped[str]
    fallback: Mapped[str | None] = mapped_column(SealedText("delivery.fallback"))
    """A phone that gets the same as an SMS when the channel cannot bring it."""
    fallback_shown: Mapped[str | None]
    template: Mapped[str]
    parameters: Mapped[str] = mapped_column(SealedText("delivery.parameters"))
    state: Mapped[str] = mapped_column(default="waiting")
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime]
    """When the next try is due; while ``sending``: when the try counts as dead with its worker."""
    expires_at: Mapped[datetime]
    """After this nobody wants it any more (a code, news of yesterday)."""
    sent_at: Mapped[datetime | None]
    receipt: Mapped[str | None]
    """The number the channel gave it."""
    error: Mapped[str | None]
    """Code of the last failure, for staff; never the channel's free text."""


class DeliveryAttempt(Identified, Base):
    """One try and how it ended; appended, never changed. `outcome`: sent, retry or failed."""

    __tablename__ = "delivery_attempt"

    delivery_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("delivery.id"), index=True)
    number: Mapped[int]
    outcome: Mapped[str]
    error: Mapped[str | None]
    ended_at: Mapped[datetime] = mapped_column(default=clock.now)


class WechatTicket(Base):
    """The official account's JS-SDK ticket, shared like the token: WeChat allows few fetches a day."""

    __tablename__ = "wechat_ticket"

    app_id: Mapped[str] = mapped_column(primary_key=True)
    ticket: Mapped[str | None] = mapped_column(SealedText("wechat.ticket"))
    expires_at: Mapped[datetime | None]
    refreshing_until: Mapped[datetime | None]


class WechatToken(Base):
    """The official account's access token, one for all processes: a second fetch would make the first invalid."""

    __tablename__ = "wechat_token"

    app_id: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str | None] = mapped_column(SealedText("wechat.token"))
    expires_at: Mapped[datetime | None]
    refreshing_until: Mapped[datetime | None]
    """Who set this may fetch a new token until then; the others use the old one or come back."""
    generation: Mapped[int] = mapped_column(default=0)
