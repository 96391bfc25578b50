"""Cards that the HIS knows of, held against the cases: reported, missed, and cards without a finding of ours."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Invalid
from cloud.kit.live import announce
from cloud.lis.infectious import rules
from cloud.lis.infectious.model import (
    OPEN_STATES,
    CardSource,
    CaseState,
    CaseStep,
    Disease,
    InfectiousCase,
    ReportCard,
)
from cloud.lis.infectious.opening import TOPIC
from cloud.lis.infectious.service import DECIDE, authorise
from cloud.lis.results.signatory import Signatory, actor
from cloud.people import service as people
from cloud.people.identity import lineage
from cloud.web.i18n import mark as N_

COLUMNS = ("number", "mrn", "name", "disease", "doctor", "reported_at")
HEADS = {
    "卡片编号": "number",
    "病历号": "mrn",
    "姓名": "name",
    "病种": "disease",
    "报告医生": "doctor",
    "报告时间": "reported_at",
}
MOST_ROWS = 20_000
LOCK = 5_005
"""Advisory lock: two tables that come at once are taken one after the other, so that a number counts once."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a table of cards."""

    new: int
    known: int
    """Cards with numbers that were there already."""
    matched: int
    """Of the new ones, those that closed or confirmed a case."""


def take(session: Session, table: bytes, *, by: Signatory) -> Taken:
    """Take in a CSV of the HIS: 卡片编号, 病历号, 姓名, 病种, 报告医生, 报告时间 (or their English names).

    All or nothing; raises Invalid naming the line that is wrong. A number counts once, so a table may come again.
    """
    authorise(by, DECIDE)
    rows = _read(session, table)
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    known = set(
        session.scalars(
            select(ReportCard.number).where(
                ReportCard.source == CardSource.HIS, ReportCard.number.in_([each.number for each in rows])
            )
        )
    )
    matched = 0
    fresh = [each for each in rows if each.number not in known]
    for card in fresh:
        card.entered_by = actor(by)
        session.add(card)
        session.flush()
        matched += match(session, card, by=by)
    record(
        session,
        actor=actor(by),
        action="infectious.cards_taken",
        aggregate=("infectious_cards", clock.today().isoformat()),
        after={"new": len(fresh), "known": len(known), "matched": matched},
    )
    announce(session, TOPIC)
    return Taken(len(fresh), len(rows) - len(fresh), matched)


def match(session: Session, card: ReportCard, *, by: Signatory) -> bool:
    """Find the case of a card: same person and disease, within the episode; an open one is closed as reported."""
    if card.person_id is None:
        return False
    same = lineage(session, card.person_id).person_ids
    cases = session.scalars(
        select(InfectiousCase)
        .where(InfectiousCase.person_id.in_(same), InfectiousCase.disease == card.disease)
        .where(InfectiousCase.state != CaseState.DUPLICATE)
        .order_by(InfectiousCase.found_at.desc())
        .with_for_update()
    )
    for case in cases:
        days = session.get_one(Disease, case.disease_id).episode_days
        if not (
            rules.same_episode(case.last_at, card.reported_at, days)
            or rules.same_episode(case.found_at, card.reported_at, days)
        ):
            continue
        card.case_id, card.matched_by = case.id, "system"
        if case.state in OPEN_STATES:
            case.state, case.closed_at, case.version = CaseState.REPORTED, card.reported_at, case.version + 1
            session.add(
                CaseStep(
                    case_id=case.id,
                    what="reported",
                    at=clock.now(),
                    by=actor(by),
                    by_name=by.name,
                    detail={"card": card.number, "source": "his"},
                )
            )
        session.flush()
        return True
    return False


def _read(session: Session, table: bytes) -> list[ReportCard]:
    try:
        content = table.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            content = table.decode("gb18030")
        except UnicodeDecodeError:
            raise Invalid("infectious.cards_text", N_("文件不是文本表格，请另存为 CSV。")) from None
    lines = csv.reader(io.StringIO(content))
    head = [HEADS.get(each.strip(), each.strip()) for each in next(lines, [])]
    missing = [name for name, key in HEADS.items() if key not in head and key != "doctor"]
    if missing:
        raise Invalid("infectious.cards_columns", N_("表格缺少列：{columns}"), columns="、".join(missing))
    names = _disease_names(session)
    cards: list[ReportCard] = []
    seen: set[str] = set()
    for number, cells in enumerate(lines, start=2):
        if not any(each.strip() for each in cells):
            continue
        if len(cards) >= MOST_ROWS:
            raise Invalid("infectious.cards_many", N_("一次最多 {most} 行，请分开导入。"), most=MOST_ROWS)
        cards.append(_card(session, dict(zip(head, (each.strip() for each in cells), strict=False)), number, names))
        if cards[-1].number in seen:
            raise Invalid("infectious.cards_twice", N_("第 {line} 行：卡片编号重复。"), line=number)
        seen.add(cards[-1].number)
    return cards


def _card(session: Session, row: dict[str, str], line: int, names: dict[str, str]) -> ReportCard:
    for key in ("number", "name", "disease", "reported_at"):
        if not row.get(key):
            column = next(name for name, each in HEADS.items() if each == key)
            raise Invalid("infectious.cards_empty", N_("第 {line} 行缺少“{column}”。"), line=line, column=column)
    disease = names.get(row["disease"])
    if disease is None:
        raise Invalid(
            "infectious.cards_disease", N_("第 {line} 行：不认识病种“{disease}”。"), line=line, disease=row["disease"]
        )
    at = _moment(row["reported_at"])
    if at is None:
        raise Invalid("infectious.cards_time", N_("第 {line} 行：报告时间应写成 2026-11-23 08:30。"), line=line)
    mrn = row.get("mrn", "")
    person = people.find(session, "mrn", mrn) if mrn else None
    return ReportCard(
        number=row["number"],
        source=CardSource.HIS,
        person_id=None if person is None else person.id,
        mrn=mrn,
        name=row["name"],
        disease=disease,
        fields={},
        doctor=row.get("doctor", ""),
        reported_at=at,
    )


def _disease_names(session: Session) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in session.scalars(select(Disease)):
        found |= {each.code: each.code, each.name: each.code}
    return found


def _moment(text: str) -> datetime | None:
    try:
        said = datetime.fromisoformat(text.replace("/", "-"))
    except ValueError:
        return None
    return (said if said.tzinfo else said.replace(tzinfo=clock.hospital_zone())).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Held:
    """The comparison of a period."""

    missed: Sequence[InfectiousCase]
    """Past their deadline without a card or a reason."""
    late: Sequence[InfectiousCase]
    """Reported after their deadline."""
    strangers: Sequence[ReportCard]
    """Cards without a finding of the laboratory: diagnosed clinically, or somebody else's."""
    twice: Sequence[tuple[InfectiousCase, int]]
    """Cases with more than one card."""
    found: int
    reported: int
    dismissed: int

    @property
    def missed_share(self) -> float | None:
        """Of all findings that had to be reported."""
        must = self.found - self.dismissed
        return len(self.missed) / must if must else None


def held_against(session: Session, since: datetime, until: datetime, now: datetime | None = None) -> Held:
    """Cases found in [since, until) against the cards; one cohort for every rate."""
    moment = now or clock.now()
    cases = session.scalars(
        select(InfectiousCase)
        .where(InfectiousCase.found_at >= since, InfectiousCase.found_at < until)
        .where(InfectiousCase.state != CaseState.DUPLICATE)
        .order_by(InfectiousCase.due_at)
    ).all()
    cards = session.scalars(
        select(ReportCard).where(ReportCard.reported_at >= since, ReportCard.reported_at < until + timedelta(days=1))
    ).all()
    by_case: dict[uuid.UUID, list[ReportCard]] = {}
    for each in session.scalars(select(ReportCard).where(ReportCard.case_id.in_([case.id for case in cases]))):
        if each.case_id is not None:
            by_case.setdefault(each.case_id, []).append(each)
    reported = [each for each in cases if each.state == CaseState.REPORTED]
    return Held(
        [each for each in cases if each.state in OPEN_STATES and each.due_at < moment],
        [each for each in reported if each.closed_at is not None and each.closed_at > each.due_at],
        [each for each in cards if each.source == CardSource.HIS and each.case_id is None],
        [(each, len(by_case[each.id])) for each in cases if len(by_case.get(each.id, ())) > 1],
        len(cases),
        len(reported),
        sum(each.state == CaseState.DISMISSED for each in cases),
    )


def too_large() -> Invalid:
    return Invalid("infectious.cards_large", N_("文件太大，请分开导入。"))
