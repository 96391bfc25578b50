"""Questions that somebody keeps under a name."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified


class SavedQuery(Identified, Created, Base):
    """One person's question; nobody else sees it."""

    __tablename__ = "lab_saved_query"
    __table_args__ = (UniqueConstraint("owner_id", "name", name="uq_lab_saved_query_owner_id_name"),)

    owner_id: Mapped[uuid.UUID]
    name: Mapped[str] = mapped_column(String(60))
    fields: Mapped[dict[str, Any]]
    """The form's fields as typed; dates that were left open stay open."""
