"""Accounts of the hospital's people. Who is signed in stands in `cloud.web.sessions`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified


class StaffAccount(Identified, Created, Base):
    __tablename__ = "staff_account"

    login: Mapped[str] = mapped_column(Text, unique=True)
    """Lower case; what is typed at sign-in."""
    name: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    active: Mapped[bool] = mapped_column(default=True)
    must_change_password: Mapped[bool] = mapped_column(default=False)
    wrong_passwords: Mapped[int] = mapped_column(default=0)
    """In a row, since the last right one or the last lock."""
    locked_until: Mapped[datetime | None]
