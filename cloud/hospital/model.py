"""The hospital's shape: campuses and departments. One deployment is one hospital (must 12)."""

from __future__ import annotations

import uuid

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from cloud.kit.db import Base, Created, Identified

DEPARTMENT_KINDS = ("clinical", "laboratory", "executing", "administrative")


class Campus(Identified, Created, Base):
    """A site of the hospital (院区)."""

    __tablename__ = "campus"

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]


class Department(Identified, Created, Base):
    """A department as the HIS codes it (科室)."""

    __tablename__ = "department"
    __table_args__ = (CheckConstraint(f"kind IN {DEPARTMENT_KINDS}", name="kind"),)

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(default="clinical")
    campus_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("campus.id"))
    campus: Mapped[Campus] = relationship()
