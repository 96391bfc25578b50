"""The words that a test's result may be, with the short keys that type them; the starting lists of `data/choices.csv`.

`rank` puts the grades of a semi-quantitative test in order; words without an order have none.
"""

from __future__ import annotations

import csv
import uuid
from collections.abc import Collection
from importlib import resources

from sqlalchemy import ForeignKey, String, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from cloud.kit import audit
from cloud.kit.db import Base, Created, Identified, begin
from cloud.kit.errors import Invalid
from cloud.lis.catalog.model import Test
from cloud.lis.results.typed import Choice, TypedTest
from cloud.web.i18n import mark as N_


class TestChoice(Identified, Created, Base):
    """One word of a test's list."""

    __test__ = False  # not a test of pytest's
    __tablename__ = "lab_test_choice"
    __table_args__ = (UniqueConstraint("test_id", "key"), UniqueConstraint("test_id", "text"))

    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"))
    key: Mapped[str] = mapped_column(String(8))
    text: Mapped[str] = mapped_column(String(64))
    rank: Mapped[int | None]
    position: Mapped[int] = mapped_column(default=0)
    source: Mapped[str] = mapped_column(default="")


def choices_of(session: Session, test_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, tuple[Choice, ...]]:
    """The lists of these tests, in their order."""
    found: dict[uuid.UUID, list[Choice]] = {}
    rows = session.scalars(
        select(TestChoice).where(TestChoice.test_id.in_(test_ids)).order_by(TestChoice.test_id, TestChoice.position)
    )
    for row in rows:
        found.setdefault(row.test_id, []).append(Choice(row.key, row.text, row.rank))
    return {test_id: tuple(each) for test_id, each in found.items()}


def typed_test(test: Test, choices: tuple[Choice, ...] = ()) -> TypedTest:
    return TypedTest(test.code, test.unit, test.decimals, test.value_type, choices)


def set_choices(session: Session, test: Test, wanted: list[Choice], *, by: str, source: str) -> None:
    """Replace a test's list; refuses two alike. Recorded with what it was."""
    for values in ([each.key for each in wanted], [each.text for each in wanted]):
        if len(set(values)) != len(values) or any(not each.strip() for each in values):
            raise Invalid("choices.twice", N_("按键和结果都不能为空或重复。"))
    before = choices_of(session, [test.id]).get(test.id, ())
    session.execute(delete(TestChoice).where(TestChoice.test_id == test.id))
    for position, each in enumerate(wanted):
        session.add(
            TestChoice(test_id=test.id, key=each.key, text=each.text, rank=each.rank, position=position, source=source)
        )
    session.flush()
    audit.record(
        session,
        actor=by,
        action="test.choices",
        aggregate=("test", str(test.id)),
        before={"choices": [f"{each.key}={each.text}" for each in before]},
        after={"choices": [f"{each.key}={each.text}" for each in wanted]},
    )


def load(session: Session) -> int:
    """The starting lists, for tests that have none yet; how many words are new."""
    tests = {each.code: each.id for each in session.scalars(select(Test))}
    known = set(session.scalars(select(TestChoice.test_id).distinct()))
    new: list[TestChoice] = []
    with resources.files(__package__).joinpath("data", "choices.csv").open(encoding="utf-8") as file:
        for position, row in enumerate(csv.DictReader(file)):
            rank = int(row["rank"]) if row["rank"] else None
            new += [
                TestChoice(
                    test_id=tests[code],
                    key=row["key"],
                    text=row["text"],
                    rank=rank,
                    position=position,
                    source=row["source"],
                )
                for code in row["tests"].split()
                if code in tests and tests[code] not in known
            ]
    session.add_all(new)
    session.flush()
    return len(new)


def run() -> int:
    """Load in a unit of work of its own."""
    with begin() as session:
        return load(session)
