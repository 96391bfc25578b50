"""Two at one empty cell on PostgreSQL: typed once, never over a value that nobody saw, twice where it must be."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict
from cloud.lis.catalog.model import Test
from cloud.lis.results import review, sheets
from cloud.lis.results.double_entry import DoubleEntry, FirstEntry, Pending
from cloud.lis.results.model import Result
from cloud.lis.results.service import ingest
from cloud.lis.results.typed import TypedValue
from cloud.lis.results.value_entry import enter_value
from cloud.lis.specimens.model import Specimen
from cloud.lis.worksheets import service as worksheets
from cloud.people.access import Subject
from tests.support.bench import Bench, Technologist, observed, set_up, technician
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.racing import race

pytestmark = pytest.mark.req("LIS-3")
ZHAO, QIAN = technician(), Technologist("钱检验", technician().permissions)
ROUNDS = 3


@dataclass
class Site:
    person_id: uuid.UUID
    tests: dict[str, uuid.UUID]

    def specimens(self, code: str = "WBC", number: int = ROUNDS) -> list[uuid.UUID]:
        with begin() as session:
            bench = Bench(session, self.person_id, {})
            return [bench.specimen(code).id for _ in range(number)]

    def typed(self, specimen_id: uuid.UUID, value: str, by: Technologist, *, code: str = "WBC") -> Result | Pending:
        """Into one tube, from a page that showed no value."""
        with begin() as session:
            return review.enter(
                session, specimen_id, by=by, version=0, test_id=self.tests[code], value=value, reason=""
            )

    def cell(self, specimen_id: uuid.UUID, value: str, by: Technologist) -> None:
        """Into a cell that showed no value."""
        with begin() as session:
            specimen, test = session.get_one(Specimen, specimen_id), session.get_one(Test, self.tests["WBC"])
            enter_value(session, specimen, test, TypedValue(value), by=by, seen=None)

    def arrive(self, specimen_id: uuid.UUID, value: str) -> None:
        with begin() as session:
            specimen = session.get_one(Specimen, specimen_id)
            ingest(session, Bench(session, self.person_id, {}).source(), [observed(specimen, "WBC", value)])


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url, cloud_on(url, patch):
        with begin() as session:
            bench = set_up(session)
            made = Site(bench.person_id, {code: test.id for code, test in bench.tests.items()})
        yield made


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as both:
        yield both


def values(specimen_id: uuid.UUID) -> list[tuple[str, bool, int]]:
    with begin() as session:
        rows = session.scalars(select(Result).where(Result.specimen_id == specimen_id).order_by(Result.run))
        return [(each.value_text, each.chosen, each.run) for each in rows]


@pytest.mark.parametrize("where", ["one tube", "worksheet"])
def test_of_two_who_type_the_same_value_one_enters_it_and_the_other_is_shown_it(
    site: Site, pool: ThreadPoolExecutor, where: str
) -> None:
    act = site.typed if where == "one tube" else site.cell
    refused = "sheet.stale" if where == "one tube" else "enter.stale"
    for specimen in site.specimens():
        outcome = race(pool, lambda: act(specimen, "6.2", ZHAO), lambda: act(specimen, "6.2", QIAN))  # noqa: B023
        assert sorted(outcome) == sorted(["done", refused])
        assert values(specimen) == [("6.2", True, 1)]


@pytest.mark.parametrize("where", ["one tube", "worksheet"])
def test_an_analyzers_value_that_arrives_while_one_is_typed_is_never_typed_over_unseen(
    site: Site, pool: ThreadPoolExecutor, where: str
) -> None:
    act = site.typed if where == "one tube" else site.cell
    seen: Counter[str] = Counter()
    for specimen in site.specimens():
        typed, arrived = race(
            pool,
            lambda: act(specimen, "6.2", ZHAO),  # noqa: B023
            lambda: site.arrive(specimen, "7.7"),  # noqa: B023
        )
        assert arrived == "done", "what an analyzer sends is always kept"
        if typed == "done":
            assert values(specimen) == [("6.2", False, 1), ("7.7", True, 2)]
        else:
            assert typed in ("sheet.stale", "enter.stale")
            assert values(specimen) == [("7.7", True, 1)]
        seen[typed] += 1
    assert sum(seen.values()) == ROUNDS


@pytest.fixture
def two_persons(site: Site) -> Iterator[None]:
    with begin() as session:
        worksheets.set_double(session, site.tests["HGB"], "other", by="staff:test")
    yield
    with begin() as session:
        session.delete(session.get_one(DoubleEntry, site.tests["HGB"]))


def hgb(site: Site, specimen: uuid.UUID, value: str, by: Technologist) -> Result | Pending:
    with begin() as session:
        version = sheets.version_of(session, specimen)
        return review.enter(session, specimen, by=by, version=version, test_id=site.tests["HGB"], value=value)


@pytest.mark.usefixtures("two_persons")
def test_a_single_entry_of_a_test_that_two_must_type_counts_when_both_agree(site: Site) -> None:
    [specimen] = site.specimens("HGB", 1)
    first = hgb(site, specimen, "131", ZHAO)
    assert isinstance(first, Pending)
    assert values(specimen) == [], "one entry is no result"
    with pytest.raises(Conflict) as refused:
        hgb(site, specimen, "131", ZHAO)
    assert refused.value.code == "entry.same_person"
    other = hgb(site, specimen, "113", QIAN)
    assert isinstance(other, Pending)
    assert other.differs
    assert values(specimen) == []
    agreed = hgb(site, specimen, "１１３", ZHAO)
    assert isinstance(agreed, Result)
    assert values(specimen) == [("113", True, 1)]
    with begin() as session:
        assert session.scalars(select(FirstEntry).where(FirstEntry.specimen_id == specimen)).all() == []
        trail = select(AuditEntry.action).where(AuditEntry.aggregate_id == str(specimen)).order_by(AuditEntry.number)
        acts = session.scalars(trail).all()
    assert [each for each in acts if each.startswith(("entry", "result"))] == [
        "entry.differs",
        "entry.agrees",
        "result.enter",
    ]


@pytest.mark.usefixtures("two_persons")
def test_two_who_type_the_first_entry_at_once_make_a_pair_or_one_looks_again(
    site: Site, pool: ThreadPoolExecutor
) -> None:
    """From pages of one version: the second is told that something happened, types again, and they agree."""
    for specimen in site.specimens("HGB"):
        outcome = race(
            pool,
            lambda: site.typed(specimen, "131", ZHAO, code="HGB"),  # noqa: B023
            lambda: site.typed(specimen, "131", QIAN, code="HGB"),  # noqa: B023
        )
        assert sorted(outcome) == ["done", "sheet.stale"]
        assert values(specimen) == []
        late = QIAN if outcome[0] == "done" else ZHAO
        assert isinstance(hgb(site, specimen, "131", late), Result)
        assert values(specimen) == [("131", True, 1)]


@pytest.mark.usefixtures("two_persons")
def test_two_at_one_cell_of_a_worksheet_at_once_are_the_two_entries(site: Site, pool: ThreadPoolExecutor) -> None:
    specimens = site.specimens("HGB")
    with begin() as session:
        sheet = worksheets.make(
            session, _everybody(), worksheets.tests_of_codes(session, ["HGB"]), by=ZHAO, rows=len(specimens)
        ).id
    for specimen in specimens:

        def act(by: Technologist, specimen: uuid.UUID = specimen) -> None:
            with begin() as session:
                value = TypedValue("131")
                worksheets.enter_cell(session, sheet, specimen, site.tests["HGB"], value, by=by, seen=None)

        assert race(pool, lambda: act(ZHAO), lambda: act(QIAN)) == ("done", "done")
        assert values(specimen) == [("131", True, 1)]


def _everybody() -> Subject:
    return Subject("staff:test", sees_all=True)
