"""Saved questions, and taking an answer out of the house: every export is in the audit trail."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Protocol

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.lis.query import finding
from cloud.lis.query.model import SavedQuery
from cloud.lis.query.rules import Question
from cloud.lis.query.workbook import Cell
from cloud.people.access import Subject
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

MOST_EXPORTED = 20_000
MOST_SAVED = 50
_PAGE = 500


class _Staff(Protocol):
    @property
    def id(self) -> uuid.UUID: ...
    @property
    def actor(self) -> str: ...
    @property
    def permissions(self) -> frozenset[str]: ...


def save(session: Session, owner_id: uuid.UUID, name: str, question: Question) -> SavedQuery:
    """Keep the question under a name; the same name again replaces it."""
    kept = name.strip()[:60]
    if not kept:
        raise Invalid("query.name", N_("请给这个查询起个名字。"))
    if question.empty:
        raise Invalid("query.empty", N_("还没有任何查询条件。"))
    count = session.scalar(select(func.count()).where(SavedQuery.owner_id == owner_id, SavedQuery.name != kept)) or 0
    if count >= MOST_SAVED:
        raise Conflict("query.many", N_("最多保存 {most} 个查询，请先删除不用的。"), most=MOST_SAVED)
    values = {"id": new_id(), "created_at": clock.now(), "owner_id": owner_id, "name": kept}
    statement = insert(SavedQuery).values(**values, fields=question.fields())
    return session.scalars(
        statement.on_conflict_do_update(
            constraint="uq_lab_saved_query_owner_id_name", set_={"fields": statement.excluded.fields}
        ).returning(SavedQuery)
    ).one()


def saved(session: Session, owner_id: uuid.UUID) -> list[SavedQuery]:
    return list(session.scalars(select(SavedQuery).where(SavedQuery.owner_id == owner_id).order_by(SavedQuery.name)))


def forget(session: Session, owner_id: uuid.UUID, query_id: uuid.UUID) -> None:
    """Raises `NotFound` for another person's alike."""
    gone = session.execute(
        delete(SavedQuery).where(SavedQuery.id == query_id, SavedQuery.owner_id == owner_id).returning(SavedQuery.id)
    ).first()
    if gone is None:
        raise NotFound("query.unknown", N_("没有这个已保存的查询。"))


def export(session: Session, staff: _Staff, question: Question, *, form: str) -> list[list[Cell]]:
    """The whole answer as a table, at most `MOST_EXPORTED` lines; who took what is in the audit trail."""
    if question.empty:
        raise Invalid("query.empty", N_("还没有任何查询条件。"))
    rows = [_heading(bool(question.test)), *_lines(session, staff, question)]
    asked: dict[str, object] = dict(question.fields())
    record(
        session,
        actor=staff.actor,
        action="query.export",
        aggregate=("query_export", new_id()),
        after={"question": asked, "rows": len(rows) - 1, "form": form},
    )
    return rows


def _lines(session: Session, staff: _Staff, question: Question) -> Iterator[list[Cell]]:
    subject, after, written = Subject.staff(staff), "", 0
    while written < MOST_EXPORTED:
        answer = finding.find(session, subject, question, after=after, limit=min(_PAGE, MOST_EXPORTED - written))
        if answer.too_many_persons:
            raise Invalid("query.persons", N_("符合的患者太多，请输入更完整的姓名或病历号。"))
        for hit in answer.hits:
            yield _line(hit, answer)
        written += len(answer.hits)
        after = answer.after
        if not after:
            return


def _heading(by_value: bool) -> list[Cell]:
    heads: list[Cell] = [
        _("条码"), _("姓名"), _("性别"), _("出生日期"), _("科室"), _("申请医生"), _("组合"), _("优先级"), _("标本状态"),
        _("时间"),
    ]  # fmt: skip
    if by_value:
        return [*heads, _("项目"), _("结果"), _("单位"), _("标志"), _("参考区间"), _("仪器")]
    return [*heads, _("异常项数"), _("危急项数")]


def _line(hit: finding.Hit, answer: finding.Answer) -> list[Cell]:
    moment = clock.local(hit.at).strftime("%Y-%m-%d %H:%M") if hit.at else ""
    birth = hit.person.birth_date.isoformat() if hit.person.birth_date else ""
    line: list[Cell] = [
        hit.specimen.barcode, hit.person.name, hit.person.sex, birth, hit.department, hit.order.ordered_by, hit.panels,
        hit.specimen.priority, hit.specimen.state, moment,
    ]  # fmt: skip
    if hit.result is None or answer.test is None:
        return [*line, hit.abnormal, hit.critical]
    result = hit.result
    test = answer.test.short_name
    return [*line, test, result.value_text, result.unit, result.flag, result.range_text or "", hit.instrument]
