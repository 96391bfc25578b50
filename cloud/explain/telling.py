"""The explanation as text, line by line, with what came out otherwise counted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from cloud.explain import again, signing
from cloud.explain.again import Check
from cloud.explain.finding import Line, Traced, Version, find
from cloud.explain.paper import paper
from cloud.lis.reports.model import ReportState
from cloud.lis.reports.service import content_hash

MARKS = {True: "same     ", False: "DIFFERENT", None: "-        "}


@dataclass(slots=True)
class Told:
    """How much was compared and what did not come out the same."""

    same: int = 0
    unknown: int = 0
    different: list[str] = field(default_factory=list)

    @property
    def reproducible(self) -> bool:
        return not self.different


def explain(session: Session, name: str, say: Callable[[str], None]) -> Told:
    """Print every step of a report. Raises `finding.NoReport`."""
    traced, told = find(session, name), Told()
    report, specimen = traced.report, traced.specimen
    say(f"report {report.id} of tube {specimen.accession}: {report.state}, version {report.version}")
    if report.state == ReportState.RECALLED:
        say(f"recalled {report.recalled_at:%F %T}Z: {report.recalled_reason}")
    for version in traced.versions:
        _version(session, traced, version, say, told)
    _tell(signing.decisions(session, specimen.id), say, told, "")
    for kind, aggregate in (("report", report.id), ("specimen", specimen.id), ("order", specimen.order_id)):
        found, _ = signing.chain(session, kind, aggregate)
        if kind == "report" or "(none)" not in found.says:
            _tell([found], say, told, "")
    for each in traced.others:
        say(f"not printed: {each.value_text} of {each.received_at:%F %T}Z, run {each.run}, {each.state}")
    say(
        f"{told.same} steps come out the same, {len(told.different)} otherwise,"
        f" {told.unknown} cannot be worked out again"
    )
    for step in told.different:
        say(f"otherwise: {step}")
    return told


def _version(session: Session, traced: Traced, version: Version, say: Callable[[str], None], told: Told) -> None:
    row, content = version.row, version.content
    reason = f", because: {row.reason}" if row.reason else ""
    say(f"\nversion {row.version}, {row.kind}, {row.released_at:%F %T}Z by {row.released_by_name}{reason}")
    digest = content_hash(row.content)
    checks = [Check("content", f"sha256 {digest}", digest == row.content_sha256)]
    if row.pdf is not None:
        made = hashlib.sha256(row.pdf).hexdigest()
        checks.append(Check("pdf", f"{len(row.pdf)} bytes, sha256 {made}", made == row.pdf_sha256))
    checks.append(paper(session, row, content))
    entry = _entry(session, traced, version)
    checks.append(entry)
    act = "result.release" if row.version == 1 or row.kind != ReportState.AMENDED else "report.amend"
    tests = [each.code for each in content.items]
    checks.append(signing.right(session, row.released_by, row.released_by_name, act, row.released_at, tests))
    _tell(checks, say, told, "")
    pairs = [(line.test, line.result) for line in version.lines if line.test is not None and line.result is not None]
    shared = again.together(pairs)
    for line in version.lines:
        _line(session, line, shared, say, told, first=row.version == 1)


def _entry(session: Session, traced: Traced, version: Version) -> Check:
    """The audit entry that was written with the version names the same content."""
    _, entries = signing.chain(session, "report", traced.report.id)
    for each in entries:
        if each.after is not None and each.after.get("version") == version.row.version:
            same = each.after.get("content_sha256") == version.row.content_sha256
            return Check("entry", f"audit number {each.number} {each.action} by {each.actor}", same)
    return Check("entry", "no audit entry names this version", False)


def _line(
    session: Session,
    line: Line,
    shared: dict[str, list[object]],
    say: Callable[[str], None],
    told: Told,
    *,
    first: bool,
) -> None:
    item = line.item
    say(f"  {item.code}: {item.value} {item.unit} {item.flag}".rstrip())
    if line.test is None or line.result is None:
        _tell(
            [Check("value", f"no stored value of {item.code} reads {item.value}", False)], say, told, "    ", item.code
        )
        return
    result = line.result
    checks = [
        *again.message(session, result),
        again.conversion(session, result, line.test),
        *again.verdict(session, result, line.test, shared),
        Check("printed", f"flag {item.flag or '-'}, range {item.range_text or '-'}", _as_printed(line)),
    ]
    if first and result.reviewed_by is not None and result.reviewed_at is not None:
        name = result.reviewed_by_name or ""
        who = (result.reviewed_by, name, "result.review", result.reviewed_at, [item.code])
        checks.append(signing.right(session, *who))
    _tell(checks, say, told, "    ", item.code)


def _as_printed(line: Line) -> bool:
    assert line.result is not None
    result, item = line.result, line.item
    return (item.flag, item.range_text, item.critical) == (result.flag, result.range_text or "", result.critical)


def _tell(checks: Iterable[Check], say: Callable[[str], None], told: Told, indent: str, of: str = "") -> None:
    for each in checks:
        say(f"{indent}  {MARKS[each.same]} {each.step}: {each.says}")
        if each.same is None:
            told.unknown += 1
        elif each.same:
            told.same += 1
        else:
            told.different.append(f"{of} {each.step}: {each.says}".strip())
