"""The list of diseases and the first markers, from `data/`: drafts with their source. What is there stays as it is."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from importlib import resources

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.db import begin
from cloud.lis.catalog.model import ApprovalState, Test
from cloud.lis.infectious.model import Disease, Marker


def run() -> int:
    """Load in a unit of work of its own."""
    with begin() as session:
        return load(session)


def load(session: Session) -> int:
    """How many rows are new."""
    new = 0
    known = {(each.code, each.valid_from) for each in session.scalars(select(Disease))}
    for row in _rows("diseases.csv"):
        valid_from = date.fromisoformat(row["valid_from"])
        if (row["code"], valid_from) in known:
            continue
        session.add(
            Disease(
                code=row["code"],
                name=row["name"],
                name_en=row["name_en"],
                legal_class=row["class"],
                deadline_hours=int(row["deadline_hours"]),
                episode_days=int(row["episode_days"]),
                valid_from=valid_from,
                valid_to=date.fromisoformat(row["valid_to"]) if row["valid_to"] else None,
                source=row["source"],
                state=ApprovalState.DRAFT,
            )
        )
        new += 1
    tests = {each.code: each.id for each in session.scalars(select(Test))}
    marked = {(each.test_id, each.disease) for each in session.scalars(select(Marker))}
    for row in _rows("markers.csv"):
        test_id = tests.get(row["test"])
        if test_id is None or (test_id, row["disease"]) in marked:
            continue
        session.add(
            Marker(
                test_id=test_id,
                disease=row["disease"],
                condition=row["condition"],
                threshold=Decimal(row["threshold"]) if row["threshold"] else None,
                screening=row["screening"] == "1",
                hint=row["hint"],
                source=row["source"],
                state=ApprovalState.DRAFT,
                active=True,
                set_by="system",
            )
        )
        new += 1
    session.flush()
    return new


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files(__package__).joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
