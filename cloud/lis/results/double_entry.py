"""Tests whose typed values count only when they were typed twice alike, wherever they are typed (worksheet or tube).

The first of two is no result. The second, like the first and where it is wanted by another person, becomes one; a
second that differs is the first of a new pair, and the difference stands in the audit trail.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from cloud.kit import audit, clock
from cloud.kit.db import Base, Created, Identified
from cloud.kit.errors import Conflict
from cloud.lis.authority.service import require_authority
from cloud.lis.catalog.model import Test
from cloud.lis.results.choices import choices_of, typed_test
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.lis.results.typed import TypedValue, read_typed
from cloud.lis.specimens.model import Specimen
from cloud.web.i18n import mark as N_


class FirstEntry(Identified, Created, Base):
    """The first of two entries of a test that is typed twice; it is no result. Gone when the second agreed."""

    __tablename__ = "lab_first_entry"
    __table_args__ = (UniqueConstraint("specimen_id", "test_id"),)

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"))
    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"))
    text: Mapped[str]
    """As it was read: two ways to write one value agree."""
    typed: Mapped[str]
    entered_by: Mapped[uuid.UUID]
    entered_by_name: Mapped[str]


class DoubleEntry(Base):
    """Tests whose typed values count only when they were typed twice alike."""

    __tablename__ = "lab_double_entry"

    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"), primary_key=True)
    two_persons: Mapped[bool]
    """The second entry is another person's."""
    set_by: Mapped[str]
    set_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Pending:
    """What was typed waits for a second entry."""

    first: FirstEntry
    differs: bool = False
    """It was not like the first: it is the first of a new pair."""


def first_entries(
    session: Session, specimen_ids: Collection[uuid.UUID]
) -> dict[tuple[uuid.UUID, uuid.UUID], FirstEntry]:
    """By specimen and test: what waits for its second entry."""
    rows = session.scalars(
        select(FirstEntry).where(FirstEntry.specimen_id.in_(specimen_ids)).execution_options(populate_existing=True)
    )
    return {(each.specimen_id, each.test_id): each for each in rows}


def first_of_two(
    session: Session, specimen: Specimen, test: Test, value: TypedValue, *, by: Signatory, strict: bool = True
) -> Pending | None:
    """What waits for a second entry; None: the test is typed once, or this is the second and agrees (the first is taken
    away). Of two that type at the same moment one is the first, and the other is compared with it.
    """
    double = session.get(DoubleEntry, test.id)
    if double is None:
        return None
    authorise(by, "result.review")
    require_authority(session, by, "result.enter", [test.code])
    choices = choices_of(session, [test.id]).get(test.id, ())
    read = read_typed(value.text, typed_test(test, choices), unit=value.unit, dilution=value.dilution, strict=strict)
    made: FirstEntry | None = session.scalar(
        insert(FirstEntry)
        .values(
            id=uuid.uuid4(),
            created_at=clock.now(),
            specimen_id=specimen.id,
            test_id=test.id,
            text=read.text,
            typed=read.raw,
            entered_by=by.id,
            entered_by_name=by.name,
        )
        .on_conflict_do_nothing()
        .returning(FirstEntry)
    )
    if made is not None:
        return Pending(made)
    first = session.scalars(
        select(FirstEntry)
        .where(FirstEntry.specimen_id == specimen.id, FirstEntry.test_id == test.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if first is None:
        raise Conflict("entry.meanwhile", N_("这一格刚刚由他人完成录入，请刷新核对。"))
    if double.two_persons and first.entered_by == by.id:
        raise Conflict(
            "entry.same_person", N_("该项目须由另一人第二次录入（首次：{name}）。"), name=first.entered_by_name
        )
    if first.text != read.text:
        first.text, first.typed = read.text, read.raw
        first.entered_by, first.entered_by_name, first.created_at = by.id, by.name, clock.now()
        _record(session, specimen, "entry.differs", by, {"test": test.code, "typed": first.typed})
        session.flush()
        return Pending(first, differs=True)
    said = {"test": test.code, "value": read.text, "first": first.entered_by_name, "at": first.created_at.isoformat()}
    _record(session, specimen, "entry.agrees", by, said)
    session.delete(first)
    session.flush()
    return None


def _record(session: Session, specimen: Specimen, action: str, by: Signatory, said: dict[str, str]) -> None:
    audit.record(session, actor=actor(by), action=action, aggregate=("specimen", specimen.id), after=said)
