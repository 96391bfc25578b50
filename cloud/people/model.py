"""Persons as the hospital's file knows them, and who may see them.

A person's row is the present view; every state it had is kept as a `PersonVersion`, every merge as a `PersonLink` that
can be taken back. Nothing is deleted, and orders keep pointing at the person they were written for.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.kit.sealed import SealedText, blind_index
from cloud.people.pinyin import initials_of
from cloud.people.rules import normal_id_number, normal_phone

SEXES = ("M", "F", "U")
KINDS = ("identified", "unknown", "newborn")
STATUSES = ("active", "merged")
GRANT_STATES = ("active", "suspended", "ended")
SCOPES = ("book", "pay", "visit", "order", "report", "inpatient", "checkup")


def phone_index(phone: str) -> str:
    return blind_index(normal_phone(phone), "person.phone")


def id_number_index(id_number: str) -> str:
    return blind_index(normal_id_number(id_number), "person.id_number")


class Person(Identified, Created, Base):
    """One file of the patient index. `name` is empty for an unknown person; sex U is "not known"."""

    __tablename__ = "person"
    __table_args__ = (
        CheckConstraint(f"sex IN {SEXES}", name="sex"),
        CheckConstraint(f"kind IN {KINDS}", name="kind"),
        CheckConstraint(f"status IN {STATUSES}", name="status"),
        Index("ix_person_initials", "initials", postgresql_ops={"initials": "text_pattern_ops"}),
        Index("ix_person_name", "name", postgresql_ops={"name": "text_pattern_ops"}),
    )

    name: Mapped[str]
    initials: Mapped[str] = mapped_column(default="", server_default="")
    """Of the name in pinyin (王小明: "wxm"), for the keyboard; kept by `name`."""
    sex: Mapped[str]
    birth_date: Mapped[date | None]
    phone: Mapped[str | None] = mapped_column(SealedText("person.phone"))
    phone_index: Mapped[str | None] = mapped_column(index=True)
    id_number: Mapped[str | None] = mapped_column(SealedText("person.id_number"))
    id_number_index: Mapped[str | None] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(default="identified")
    status: Mapped[str] = mapped_column(default="active")
    """``merged``: a link leads to the person that goes on (`service.surviving_id`)."""
    mother_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    """Of a newborn, as the hospital's file says; gives no access by itself."""
    version: Mapped[int] = mapped_column(default=1)

    identifiers: Mapped[list[PersonIdentifier]] = relationship(back_populates="person", order_by="PersonIdentifier.id")

    @validates("name")
    def _spell_name(self, _key: str, name: str) -> str:
        self.initials = initials_of(name)
        return name

    @validates("phone")
    def _index_phone(self, _key: str, phone: str | None) -> str | None:
        self.phone_index = phone_index(phone) if phone else None
        return phone

    @validates("id_number")
    def _index_id_number(self, _key: str, id_number: str | None) -> str | None:
        self.id_number_index = id_number_index(id_number) if id_number else None
        return id_number


class PersonIdentifier(Identified, Created, Base):
    """A number by which a neighbour knows the person: ``mrn`` (the HIS's), ``card`` (visit card) ..."""

    __tablename__ = "person_identifier"
    __table_args__ = (UniqueConstraint("system", "value", name="uq_person_identifier_system_value"),)

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"), index=True)
    system: Mapped[str]
    value: Mapped[str]
    person: Mapped[Person] = relationship(back_populates="identifiers")


class PersonVersion(Identified, Base):
    """What the file said from `recorded_at` on; `details` is sealed JSON (name, sex, birth date, phone, ID ...)."""

    __tablename__ = "person_version"
    __table_args__ = (UniqueConstraint("person_id", "version", name="uq_person_version_person_id_version"),)

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    version: Mapped[int]
    details: Mapped[str] = mapped_column(SealedText("person.version"))
    by: Mapped[str]
    recorded_at: Mapped[datetime] = mapped_column(default=clock.now)


class PersonLink(Identified, Base):
    """A merge: `retired_id` goes on as `surviving_id` until `unlinked_at`."""

    __tablename__ = "person_link"
    __table_args__ = (
        CheckConstraint("retired_id <> surviving_id", name="two_persons"),
        Index(
            "uq_person_link_retired_id_live", "retired_id", unique=True, postgresql_where=text("unlinked_at IS NULL")
        ),
        Index("ix_person_link_surviving_id_live", "surviving_id", postgresql_where=text("unlinked_at IS NULL")),
    )

    retired_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    surviving_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    reason: Mapped[str]
    by: Mapped[str]
    linked_at: Mapped[datetime] = mapped_column(default=clock.now)
    unlinked_at: Mapped[datetime | None]
    unlinked_by: Mapped[str | None]
    unlink_reason: Mapped[str | None]


class PersonGrant(Identified, Base):
    """One account may do one thing (`scope`) for one person. What ended stays ended; a new grant is a new row.

    `account_id` is the patient slice's account (higher in the order, so no foreign key). `origin`: ``self`` (verified
    to be this person), ``family`` (bound relative: books and pays), ``consent`` (the person allowed it), ``window``.
    """

    __tablename__ = "person_grant"
    __table_args__ = (
        CheckConstraint(f"scope IN {SCOPES}", name="scope"),
        CheckConstraint(f"state IN {GRANT_STATES}", name="state"),
        Index(
            "uq_person_grant_live",
            "account_id",
            "person_id",
            "scope",
            unique=True,
            postgresql_where=text("state <> 'ended'"),
        ),
        Index("ix_person_grant_person_id_scope", "person_id", "scope"),
    )

    account_id: Mapped[uuid.UUID]
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    scope: Mapped[str]
    origin: Mapped[str]
    by: Mapped[str]
    state: Mapped[str] = mapped_column(default="active")
    granted_at: Mapped[datetime] = mapped_column(default=clock.now)
    expires_at: Mapped[datetime | None]
    suspended_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    why: Mapped[str | None]
    """Why it was suspended or ended: ``merge``, ``unmerge``, ``real_name``, ``unbound``, ``revoked``,
    ``verified_again``."""


def snapshot(person: Person) -> dict[str, Any]:
    """The file's present content, for a `PersonVersion`."""
    return {
        "name": person.name,
        "sex": person.sex,
        "birth_date": person.birth_date.isoformat() if person.birth_date else None,
        "phone": person.phone,
        "id_number": person.id_number,
        "kind": person.kind,
        "mother_id": str(person.mother_id) if person.mother_id else None,
    }
