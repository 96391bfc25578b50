"""How often one act may be tried by one subject (an address, a phone, an account), counted in the database."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Text, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from cloud.kit import clock
from cloud.kit.db import Base
from cloud.kit.errors import TooMany
from cloud.web.i18n import mark as N_


class RateLimit(Base):
    __tablename__ = "rate_limit"

    act: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    window_started_at: Mapped[datetime]
    count: Mapped[int]


_COUNT = text(
    """
    INSERT INTO rate_limit AS rate (act, subject, window_started_at, count) VALUES (:act, :subject, :now, 1)
    ON CONFLICT (act, subject) DO UPDATE SET
        count = CASE WHEN rate.window_started_at <= :window_start THEN 1 ELSE rate.count + 1 END,
        window_started_at = CASE WHEN rate.window_started_at <= :window_start THEN :now ELSE rate.window_started_at END
    RETURNING count, window_started_at
    """
)


def count(session: Session, *, act: str, subject: str, at_most: int, within: timedelta) -> None:
    """Count one try; raises `TooMany` when there were more than `at_most` in the window.

    Commit the counting even when the act is refused: give it a unit of work of its own.
    """
    now = clock.now()
    row = session.execute(_COUNT, {"act": act, "subject": subject, "now": now, "window_start": now - within}).one()
    tries, started_at = row
    if tries > at_most:
        wait_s = max(1, int((started_at + within - now).total_seconds()))
        raise TooMany("too_many_tries", N_("尝试过于频繁，请在 {retry_after_s} 秒后再试。"), retry_after_s=wait_s)
