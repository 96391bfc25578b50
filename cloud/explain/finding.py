"""The report that is meant, and the rows its versions were made from."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.lis.catalog.model import Test
from cloud.lis.reports.model import Report, ReportVersion
from cloud.lis.reports.view import ReportContent, ReportItem
from cloud.lis.results.model import Result
from cloud.lis.specimens.model import Specimen, SpecimenBarcode
from cloud.lis.specimens.rules import clean_barcode


class NoReport(LookupError):
    """Nothing is called so."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one version with the row it prints; none where the two do not find each other."""

    item: ReportItem
    test: Test | None
    result: Result | None


@dataclass(frozen=True, slots=True)
class Version:
    row: ReportVersion
    content: ReportContent
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Traced:
    report: Report
    specimen: Specimen
    versions: tuple[Version, ...]
    others: tuple[Result, ...]
    """Values of the tube that no version prints: reruns, superseded ones, what came after the release."""


def find(session: Session, name: str) -> Traced:
    """By the report's id, its number (``2000000015`` or ``2000000015-2``) or the tube's barcode. Raises `NoReport`."""
    report = _report(session, name.strip())
    specimen = session.get_one(Specimen, report.specimen_id)
    results = session.scalars(
        select(Result).where(Result.specimen_id == specimen.id).order_by(Result.received_at, Result.run)
    ).all()
    tests = {
        each.code: each for each in session.scalars(select(Test).where(Test.id.in_({each.test_id for each in results})))
    }
    rows = session.scalars(
        select(ReportVersion).where(ReportVersion.report_id == report.id).order_by(ReportVersion.version)
    ).all()
    versions = tuple(_version(row, tests, results) for row in rows)
    printed = {line.result.id for version in versions for line in version.lines if line.result is not None}
    return Traced(report, specimen, versions, tuple(each for each in results if each.id not in printed))


def _report(session: Session, name: str) -> Report:
    try:
        found = session.get(Report, uuid.UUID(name))
    except ValueError:
        found = None
    for word in (name, name.rpartition("-")[0]):
        if found is None and word:
            known = session.get(SpecimenBarcode, clean_barcode(word))
            if known is not None:
                found = session.scalar(select(Report).where(Report.specimen_id == known.specimen_id))
    if found is None:
        raise NoReport(f"no report is called {name}: give its id, its number or the tube's barcode")
    return found


def _version(row: ReportVersion, tests: dict[str, Test], results: Sequence[Result]) -> Version:
    content = ReportContent.from_json(row.content)
    lines = []
    for item in content.items:
        test = tests.get(item.code)
        lines.append(Line(item, test, None if test is None else _printed(row, item, test, results)))
    return Version(row, content, tuple(lines))


def _printed(row: ReportVersion, item: ReportItem, test: Test, results: Sequence[Result]) -> Result | None:
    """The last value of the test that had been released by then and reads as printed."""
    fitting = [
        each
        for each in results
        if each.test_id == test.id
        and each.value_text == item.value
        and each.released_at is not None
        and each.released_at <= row.released_at
    ]
    return max(fitting, key=lambda each: (each.released_at, each.run), default=None)
