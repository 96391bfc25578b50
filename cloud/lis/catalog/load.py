"""Loads the starting catalogue from `data/` (`xinglin cloud seed-catalog`). May run again at any time.

What the laboratory approved or changed is never overwritten: a row that exists stays as it is, except a draft test
whose line changed. A corrected range is a new version in the file and becomes a new row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib import resources
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.kit.db import begin
from cloud.lis.catalog.model import (
    ApprovalState,
    CriticalLimit,
    Panel,
    PanelTest,
    QualityGoal,
    ReferenceRange,
    Test,
    Tube,
)
from cloud.lis.catalog.rules import years_in_days

SEED_LOCK = 5_001
"""Advisory lock: two processes that seed at once do it one after the other."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows the catalogue holds after loading, and how many of them are new."""

    tests: int
    panels: int
    tubes: int
    ranges: int
    critical_limits: int
    new_rows: int


def run() -> Loaded:
    """Load in a unit of work of its own."""
    with begin() as session:
        return load(session)


def load(session: Session) -> Loaded:
    """Load into the caller's transaction."""
    session.execute(select(func.pg_advisory_xact_lock(SEED_LOCK)))
    new = _tubes(session)
    new += _tests(session)
    new += _panels(session)
    new += _ranges(session)
    new += _critical_limits(session)
    new += _goals(session)

    def count(table: type[Any]) -> int:
        return session.scalar(select(func.count()).select_from(table)) or 0

    return Loaded(count(Test), count(Panel), count(Tube), count(ReferenceRange), count(CriticalLimit), new)


def rows(name: str) -> Iterator[dict[str, str]]:
    """The lines of one data file, by column name."""
    with resources.files(__package__).joinpath("data", name).open(encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _number(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def _tubes(session: Session) -> int:
    known = set(session.scalars(select(Tube.code)))
    added = [
        Tube(**{**row, "volume_ml": Decimal(row["volume_ml"]), "position": int(row["position"])})
        for row in rows("tubes.csv")
        if row["code"] not in known
    ]
    session.add_all(added)
    session.flush()
    return len(added)


def _tests(session: Session) -> int:
    tubes = {each.code: each.id for each in session.scalars(select(Tube))}
    known = {each.code: each for each in session.scalars(select(Test))}
    new = 0
    for position, row in enumerate(rows("tests.csv"), start=1):
        values: dict[str, Any] = {
            **row,
            "unitless": row["unitless"] == "1",
            "orderable": row["orderable"] == "1",
            "decimals": int(row["decimals"]) if row["decimals"] else None,
            "loinc": row["loinc"] or None,
            "tube_id": tubes[row["tube"]],
            "position": position,
        }
        del values["tube"]
        test = known.get(row["code"])
        if test is None:
            session.add(Test(**values))
            new += 1
        elif test.state == ApprovalState.DRAFT:
            for name, value in values.items():
                setattr(test, name, value)
    session.flush()
    return new


def _panels(session: Session) -> int:
    tests = {each.code: each.id for each in session.scalars(select(Test))}
    known = set(session.scalars(select(Panel.code)))
    new = 0
    for position, row in enumerate(rows("panels.csv"), start=1):
        codes = row.pop("tests").split()
        if row["code"] in known:
            continue
        panel = Panel(**row, position=position)
        session.add(panel)
        session.flush()
        session.add_all(
            PanelTest(panel_id=panel.id, test_id=tests[code], position=place) for place, code in enumerate(codes, 1)
        )
        new += 1
    session.flush()
    return new


def _band(row: dict[str, str]) -> dict[str, Any]:
    return {
        "sex": row["sex"],
        "age_min_days": years_in_days(row["age_from_years"]),
        "age_max_days": years_in_days(row["age_to_years"]) if row["age_to_years"] else None,
        "low": _number(row["low"]),
        "high": _number(row["high"]),
        "source": row["source"],
        "valid_from": date.fromisoformat(row["valid_from"]),
        "version": int(row["version"]),
    }


def _ranges(session: Session) -> int:
    tests = {each.code: each for each in session.scalars(select(Test))}
    known = {
        (each.test_id, each.specimen_type, each.sex, each.age_min_days, each.phase, each.method, each.version)
        for each in session.scalars(select(ReferenceRange))
    }
    added = []
    for row in rows("ranges.csv"):
        test, band = tests[row["test"]], _band(row)
        more = {"phase": row["phase"], "method": row["method"], "text": row["text"]}
        key = (test.id, test.specimen_type, band["sex"], band["age_min_days"], row["phase"], row["method"])
        if (*key, band["version"]) not in known:
            added.append(ReferenceRange(test_id=test.id, specimen_type=test.specimen_type, **more, **band))
    session.add_all(added)
    session.flush()
    return len(added)


def _critical_limits(session: Session) -> int:
    tests = {each.code: each.id for each in session.scalars(select(Test))}
    known = {
        (each.test_id, each.sex, each.age_min_days, each.version) for each in session.scalars(select(CriticalLimit))
    }
    added = []
    for row in rows("critical.csv"):
        test_id, band = tests[row["test"]], _band(row)
        if (test_id, band["sex"], band["age_min_days"], band["version"]) not in known:
            at_limit = row["inclusive"] == "1"
            added.append(CriticalLimit(test_id=test_id, low_inclusive=at_limit, high_inclusive=at_limit, **band))
    session.add_all(added)
    session.flush()
    return len(added)


def _goals(session: Session) -> int:
    tests = {each.code: each.id for each in session.scalars(select(Test))}
    known = {(each.test_id, each.version) for each in session.scalars(select(QualityGoal))}
    added = [
        QualityGoal(
            test_id=tests[row["test"]],
            tea_percent=_number(row["tea_percent"]),
            tea_absolute=_number(row["tea_absolute"]),
            cv_percent=_number(row["cv_percent"]),
            source=row["source"],
            valid_from=date.fromisoformat(row["valid_from"]),
            version=int(row["version"]),
        )
        for row in rows("goals.csv")
        if (tests[row["test"]], int(row["version"])) not in known
    ]
    session.add_all(added)
    session.flush()
    return len(added)
