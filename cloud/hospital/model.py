"""The hospital's shape: campuses, departments, doctors. One deployment is one hospital (must 12)."""

from __future__ import annotations

import uuid

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from cloud.hospital.schedule_model import (  # the slice's other tables; `model` is what the program imports
    ClinicSession,
    ClinicSettings,
    DepartmentRelease,
    Half,
    Holiday,
    SessionKind,
    SessionPattern,
    SessionState,
)
from cloud.kit.db import Base, Created, Identified

__all__ = [
    "DEPARTMENT_KINDS",
    "TITLES",
    "Campus",
    "ClinicSession",
    "ClinicSettings",
    "Department",
    "DepartmentRelease",
    "Doctor",
    "Half",
    "Holiday",
    "SessionKind",
    "SessionPattern",
    "SessionState",
]

DEPARTMENT_KINDS = ("clinical", "laboratory", "executing", "administrative")
TITLES = ("chief", "associate", "attending", "resident")
"""Of a physician, highest first: 主任医师, 副主任医师, 主治医师, 住院医师."""


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
    section: Mapped[str] = mapped_column(default="")
    """What it is listed under where patients choose (内科, 外科, …)."""
    introduction: Mapped[str] = mapped_column(default="")
    place: Mapped[str] = mapped_column(default="")
    """Where its rooms are, in words: building and area."""
    floor: Mapped[str] = mapped_column(default="")
    bookable: Mapped[bool] = mapped_column(default=False)
    """Whether patients may book here. One that a message of the HIS made is not, until a person says so."""
    campus: Mapped[Campus] = relationship()


class Doctor(Identified, Created, Base):
    """A physician who sees patients (医生). `code` is the HIS's; never deleted, only no longer `active`."""

    __tablename__ = "doctor"
    __table_args__ = (
        CheckConstraint(f"title IN {TITLES}", name="title"),
        CheckConstraint("(photo IS NULL) = (photo_type = '')", name="photo"),
    )

    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    title: Mapped[str]
    department_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("department.id"), index=True)
    introduction: Mapped[str] = mapped_column(default="")
    skills: Mapped[str] = mapped_column(default="")
    """What he treats above all (擅长)."""
    photo: Mapped[bytes | None] = mapped_column(deferred=True)
    photo_type: Mapped[str] = mapped_column(default="")
    photo_tag: Mapped[str] = mapped_column(default="")
    """Changes with the picture, so that browsers may keep the one they have."""
    active: Mapped[bool] = mapped_column(default=True)
    department: Mapped[Department] = relationship()

    @property
    def photo_path(self) -> str | None:
        """Where a browser finds the picture; None: there is none."""
        return f"/hospital/doctors/{self.id}/photo?v={self.photo_tag}" if self.photo_tag else None
