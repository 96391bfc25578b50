"""Loads the starting formulas from `data/formulas.toml` as drafts. May run again at any time.

A version that is stored stays as it is; a corrected formula is the next version in the file. Nobody edited these: the
director may approve each.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.lis.calculation.formula import Definition
from cloud.lis.calculation.model import Formula
from cloud.lis.calculation.service import parts_of
from cloud.lis.catalog.model import Test

LOADED_BY = "system"


def definitions() -> Iterator[tuple[dict[str, Any], Definition]]:
    """The formulas of the file."""
    with resources.files(__package__).joinpath("data", "formulas.toml").open("rb") as file:
        for row in tomllib.load(file)["formula"]:
            yield row, Definition.of_json(row["test"], row["expression"].strip(), row)


def load(session: Session) -> int:
    """Into the caller's transaction; how many are new. A formula of a test that the catalogue lacks is left out."""
    tests = {each.code: each.id for each in session.scalars(select(Test))}
    known = {tuple(row) for row in session.execute(select(Formula.test_id, Formula.version))}
    new = [
        Formula(
            test_id=tests[row["test"]],
            version=row["version"],
            expression=definition.expression,
            parts=parts_of(definition),
            adds_itself=row.get("adds_itself", False),
            source=row["source"],
            valid_from=clock.today(),
            edited_by=LOADED_BY,
            edited_by_name="杏林起始目录",
        )
        for row, definition in definitions()
        if row["test"] in tests and (tests[row["test"]], row["version"]) not in known
    ]
    session.add_all(new)
    session.flush()
    return len(new)


def run() -> int:
    """Load in a unit of work of its own."""
    with begin() as session:
        return load(session)
