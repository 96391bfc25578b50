"""What is frozen beside the values at release: pictures, earlier values, courses, remarks on the specimen."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Uuid, func, select, true, values
from sqlalchemy import column as sql_column
from sqlalchemy.orm import Session

from cloud.lis.catalog.model import Test
from cloud.lis.reports.model import Report, ReportState
from cloud.lis.reports.view import Earlier, ReportImage, Trend, TrendPoint
from cloud.lis.results.model import InstrumentNotice, Result, ResultAttachment, ResultState
from cloud.lis.specimens import concession, timed
from cloud.lis.specimens.model import Specimen
from cloud.people.identity import person_ids

LONGEST_TREND = 8
SHORTEST_TREND = 3
PRINTABLE = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "application/json")
INDICES = {"H": "溶血", "I": "黄疸", "L": "脂血"}
_GRADES = frozenset({"+", "++", "+++", "++++", "1+", "2+", "3+", "4+"})


def images(session: Session, specimen_id: uuid.UUID, most: int) -> tuple[ReportImage, ...]:
    """The newest picture of each name, in the order in which they came; those kept on the analyzer are left out."""
    if most == 0:
        return ()
    rows = session.execute(
        select(
            ResultAttachment.id,
            ResultAttachment.code,
            ResultAttachment.name,
            ResultAttachment.media_type,
            func.encode(func.sha256(ResultAttachment.data), "hex").label("sha256"),
        )
        .where(
            ResultAttachment.specimen_id == specimen_id,
            ResultAttachment.media_type.in_(PRINTABLE),
            func.length(ResultAttachment.data) > 0,
        )
        .order_by(ResultAttachment.received_at, ResultAttachment.ordinal, ResultAttachment.id)
    ).all()
    newest = {(row.code, row.name): row for row in rows}
    found = [ReportImage(str(row.id), row.name or row.code, row.media_type, row.sha256) for row in newest.values()]
    return tuple(found[:most])


Past = dict[uuid.UUID, list[Result]]
"""Earlier released results by test, newest first."""


def past(session: Session, specimen: Specimen, results: Sequence[Result], most: int) -> Past:
    """The newest `most` results before these, of this person and the files merged into it, without those of recalled
    reports: one walk of the index for each test and file.
    """
    if most == 0 or not results:
        return {}
    persons = person_ids(session, specimen.person_id)
    recalled = select(Report.specimen_id).where(Report.person_id.in_(persons), Report.state == ReportState.RECALLED)
    wanted = values(sql_column("person", Uuid), sql_column("test", Uuid), name="wanted").data(
        [(person, each.test_id) for person in persons for each in results]
    )
    newest = (
        select(Result.id, Result.received_at)
        .where(
            Result.person_id == wanted.c.person,
            Result.test_id == wanted.c.test,
            Result.chosen,
            Result.state == ResultState.RELEASED,
            Result.specimen_id != specimen.id,
            Result.specimen_id.not_in(recalled),
        )
        .order_by(Result.received_at.desc())
        .limit(most)
        .lateral("newest")
    )
    ids = select(newest.c.id).select_from(wanted.join(newest, true()))
    found: Past = defaultdict(list)
    for row in session.scalars(select(Result).where(Result.id.in_(ids)).order_by(Result.received_at.desc())):
        found[row.test_id].append(row)
    return {test: rows[:most] for test, rows in found.items()}


def recalled_previous(session: Session, results: Sequence[Result]) -> set[uuid.UUID]:
    """Of the values that these results name as their previous ones, those whose report was recalled since."""
    named = [each.previous_result_id for each in results if each.previous_result_id is not None]
    if not named:
        return set()
    rows = session.scalars(
        select(Result.id)
        .join(Report, Report.specimen_id == Result.specimen_id)
        .where(Result.id.in_(named), Report.state == ReportState.RECALLED)
    )
    return set(rows)


def before(result: Result, rows: Sequence[Result], recalled: Container[uuid.UUID], most: int) -> dict[str, Any]:
    """The fields of a line that tell of earlier values: the result's own previous one, or the newest that stands where
    that one's report was recalled, and what came before it.
    """
    own = result.previous_result_id
    if own is None or own in recalled:
        valid = rows if own is not None else ()
        value, at = (valid[0].value_text, _at(valid[0]).isoformat()) if valid else (None, None)
        left = list(valid[1:])
    else:
        value, at = result.previous_value, result.previous_at.isoformat() if result.previous_at else None
        left = [each for each in rows if each.id != own] if any(each.id == own for each in rows) else []
    told = tuple(Earlier(each.value_text, _at(each).isoformat(), each.flag) for each in left[: max(most - 1, 0)])
    return {"previous_value": value, "previous_at": at, "earlier": told}


def trends(lines: Iterable[tuple[Test, Result]], found: Past, most: int) -> tuple[Trend, ...]:
    """Courses in the report's unit with at least three numbers: abnormal values first, then in the report's order."""
    ranked = sorted(lines, key=lambda line: line[1].flag in ("", "N"))
    made = (_trend(test, result, found.get(test.id, ())) for test, result in ranked)
    return tuple([each for each in made if each is not None][:most])


def _trend(test: Test, result: Result, rows: Sequence[Result]) -> Trend | None:
    shown = [each for each in (result, *rows) if each.number is not None and each.unit == result.unit]
    if result.number is None or len(shown) < SHORTEST_TREND:
        return None
    points = tuple(
        TrendPoint(_at(each).isoformat(), each.value_text, float(each.number))
        for each in reversed(shown[:LONGEST_TREND])
        if each.number is not None
    )
    low, high = (None if each is None else float(each) for each in (result.range_low, result.range_high))
    return Trend(test.code, test.name, result.unit or "", low, high, points)


def _at(result: Result) -> datetime:
    return result.observed_at or result.received_at


def remarks(session: Session, specimen: Specimen) -> tuple[str, ...]:
    """The time a tube was ordered for, concessions, and serum indices that the analyzer itself raised or graded; a bare
    number has no limit here and says nothing.
    """
    return (*timed.remarks(session, specimen), *concession.remarks(session, specimen), *_serum(session, specimen.id))


def _serum(session: Session, specimen_id: uuid.UUID) -> list[str]:
    rows = session.scalars(
        select(InstrumentNotice)
        .where(InstrumentNotice.specimen_id == specimen_id, InstrumentNotice.serum_index.is_not(None))
        .order_by(InstrumentNotice.received_at, InstrumentNotice.ordinal)
    )
    newest = {row.serum_index: row for row in rows}
    told = []
    for letter, words in INDICES.items():
        row = newest.get(letter)
        if row is not None and (row.raised or (row.value or "").strip() in _GRADES):
            told.append(f"{words}（仪器指数 {row.value}）" if row.value else words)
    return [f"仪器提示标本{'、'.join(told)}，可能影响部分项目结果。"] if told else []
