"""What a page asks the database does not grow with the work: as many statements for six tubes as for two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from cloud.kit.db import begin, engine
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from tests.support.bench import Bench, observed, set_up
from tests.support.site import Visitor, hire_cast, running_site

VALUES = {"HGB": "131", "WBC": "9.8", "PLT": "420", "K": "7.9"}


@contextmanager
def counting() -> Iterator[list[str]]:
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        asked.append(statement)

    event.listen(engine(), "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine(), "before_cursor_execute", note)


def measure(bench: Bench, tubes: int) -> Specimen:
    """So many tubes of one more patient's values arrive."""
    for _ in range(tubes):
        specimen = bench.specimen(*VALUES)
        source = bench.source()
        ingest(bench.session, source, [observed(specimen, code, value) for code, value in VALUES.items()])
    return specimen


def statements(visitor: Visitor, pages: list[str]) -> dict[str, int]:
    counts = {}
    for page in pages:
        visitor.get(page)  # what is asked once in a process is asked now
        with counting() as asked:
            assert visitor.get(page).status_code == 200, page
        counts[page] = len(asked)
    return counts


@pytest.mark.req("LIS-3", "LIS-8")
def test_a_page_asks_as_many_statements_for_six_tubes_as_for_two(database: str) -> None:
    hire_cast()
    with begin() as session:
        bench = set_up(session)
        first, person = measure(bench, 2).id, bench.person_id
    pages = [
        "/staff",
        "/staff/lis/review",
        "/staff/lis/review?section=chemistry&stage=review",
        f"/staff/lis/review/{first}",
        "/staff/lis/review/batch?act=review",
        "/staff/lis/orders",
        "/staff/lis/critical",
        "/staff/lis/turnaround",
        f"/staff/lis/cumulative/{person}",
        "/staff/lis/query?state=received",
        "/staff/lis/query?test=K&flag=critical",
    ]
    with running_site() as site:
        director = site.staff("director")
        few = statements(director, pages)
        with begin() as session:
            bench.session = session
            measure(bench, 4)
        assert statements(director, pages) == few
        queue = director.get("/staff/lis/review").text
    assert queue.count("data-specimen-row") == 6
