"""What the pages show of readings anew: the list, one request with both readings, what is to be amended."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from cloud.gateways.model import InboxMessage
from cloud.gateways.redecode import service
from cloud.gateways.redecode.model import (
    MessageFate,
    Redecode,
    RedecodeAmendment,
    RedecodeMessage,
    RedecodeState,
    Which,
)
from cloud.kit.errors import NotFound
from cloud.lis.catalog.model import Test
from cloud.lis.reports.model import Report
from cloud.lis.results.differences import ADDED, CHANGED, REMOVED
from cloud.lis.results.model import Result, ResultState
from cloud.lis.specimens.model import Specimen
from cloud.web.i18n import mark as N_

PAGE_SIZE = 20
STATES = {
    RedecodeState.ASKED: (N_("正在试读"), "info"),
    RedecodeState.READY: (N_("等待批准"), "warn"),
    RedecodeState.NOTHING: (N_("没有差异"), "neutral"),
    RedecodeState.REFUSED: (N_("已驳回"), "neutral"),
    RedecodeState.APPROVED: (N_("正在写入"), "info"),
    RedecodeState.APPLIED: (N_("已写入"), "good"),
    RedecodeState.FAILED: (N_("无法试读"), "bad"),
}
WHICH = {
    Which.ALL: N_("以下全部"),
    Which.OLDER: N_("用旧版驱动解码的"),
    Which.UNDECODED: N_("未能解码的"),
    Which.REFUSED: N_("处理失败被隔离的"),
    Which.ONE: N_("一条消息"),
}
FATES = {
    MessageFate.SAME: (N_("相同"), "neutral"),
    MessageFate.DIFFERS: (N_("有差异"), "warn"),
    MessageFate.UNREADABLE: (N_("新驱动读不出"), "bad"),
    MessageFate.APPLIED: (N_("已写入"), "good"),
    MessageFate.MOVED: (N_("期间有变化，未动"), "warn"),
    MessageFate.NOT_TAKEN: (N_("写入失败"), "bad"),
}
WHAT = {ADDED: (N_("新增"), "good"), CHANGED: (N_("改变"), "warn"), REMOVED: (N_("不再有"), "bad")}
_SHOWN_FIRST = (MessageFate.NOT_TAKEN, MessageFate.MOVED, MessageFate.UNREADABLE)


@dataclass(frozen=True, slots=True)
class Side:
    """One item of a reading, as a row shows it."""

    kind: str
    specimen: str
    code: str
    value: str
    rest: str
    """The fields that became others, besides the value."""


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    before: Side | None
    after: Side | None


@dataclass(frozen=True, slots=True)
class MessageView:
    line: RedecodeMessage
    message: InboxMessage
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Amendment:
    row: RedecodeAmendment
    specimen: Specimen
    test: Test
    old: Result
    new: Result | None
    report_id: uuid.UUID | None

    @property
    def open(self) -> bool:
        return self.row.dismissed_at is None and self.old.chosen and self.old.state == ResultState.RELEASED


@dataclass(frozen=True, slots=True)
class RedecodeView:
    redecode: Redecode
    fates: dict[str, int]
    added: int
    changed: int
    removed: int
    messages: tuple[MessageView, ...]
    """Those that differ or went wrong, one page of them."""
    total: int
    amendments: tuple[Amendment, ...]
    outcome: dict[str, int]


def listed(session: Session, limit: int = 100) -> list[Redecode]:
    """What waits for a decision first, then the newest."""
    ready = Redecode.state != RedecodeState.READY
    return list(session.scalars(select(Redecode).order_by(ready, Redecode.asked_at.desc()).limit(limit)))


def of_message(session: Session, inbox_id: uuid.UUID) -> list[tuple[RedecodeMessage, Redecode]]:
    """How often a message was read anew, the newest first."""
    rows = session.execute(
        select(RedecodeMessage, Redecode)
        .join(Redecode, Redecode.id == RedecodeMessage.redecode_id)
        .where(RedecodeMessage.inbox_id == inbox_id)
        .order_by(Redecode.asked_at.desc())
    )
    return [(line, row) for line, row in rows]


def view(session: Session, redecode_id: uuid.UUID, page: int) -> RedecodeView:
    row = session.get(Redecode, redecode_id, populate_existing=True)
    if row is None:
        raise NotFound("redecode.unknown", N_("没有这次重新解码。"))
    mine = RedecodeMessage.redecode_id == redecode_id
    counts = session.execute(
        select(
            RedecodeMessage.state,
            func.count().label("number"),
            func.sum(RedecodeMessage.added).label("added"),
            func.sum(RedecodeMessage.changed).label("changed"),
            func.sum(RedecodeMessage.removed).label("removed"),
        )
        .where(mine)
        .group_by(RedecodeMessage.state)
    ).all()
    counted = [each for each in counts if each.state not in (MessageFate.SAME, MessageFate.UNREADABLE)]
    shown = (mine, RedecodeMessage.state != MessageFate.SAME)
    found = session.execute(
        select(RedecodeMessage, InboxMessage)
        .join(InboxMessage, InboxMessage.id == RedecodeMessage.inbox_id)
        .where(*shown)
        .order_by(RedecodeMessage.state.not_in(_SHOWN_FIRST), RedecodeMessage.inbox_id)
        .limit(PAGE_SIZE)
        .offset((max(page, 1) - 1) * PAGE_SIZE)
        .execution_options(populate_existing=True)
    )
    return RedecodeView(
        redecode=row,
        fates={str(each.state): each.number for each in counts},
        added=sum(int(each.added) for each in counted),
        changed=sum(int(each.changed) for each in counted),
        removed=sum(int(each.removed) for each in counted),
        messages=tuple(MessageView(line, message, tuple(_rows(line))) for line, message in found),
        total=session.scalar(select(func.count()).select_from(RedecodeMessage).where(*shown)) or 0,
        amendments=tuple(amendments(session, redecode_id)),
        outcome=_outcome(session, redecode_id),
    )


def _outcome(session: Session, redecode_id: uuid.UUID) -> dict[str, int]:
    """What was applied, added up over the messages."""
    total: dict[str, int] = {}
    for outcome in session.scalars(
        select(RedecodeMessage.outcome).where(
            RedecodeMessage.redecode_id == redecode_id, RedecodeMessage.outcome.is_not(None)
        )
    ):
        for key, value in (outcome or {}).items():
            total[key] = total.get(key, 0) + int(value)
    return total


def _rows(line: RedecodeMessage) -> list[Row]:
    rows = []
    for each in line.differences:
        before = line.before[each["before_at"]] if each["before_at"] is not None else None
        after = line.after[each["after_at"]] if each["after_at"] is not None else None
        rows.append(Row(each["what"], _side(before, each["fields"]), _side(after, each["fields"])))
    return rows


_IN_COLUMNS = {"kind", "specimen", "code", "value", "unit"}


def _side(item: dict[str, Any] | None, fields: Sequence[str]) -> Side | None:
    if item is None:
        return None
    named = next((str(item[key]) for key in ("code", "name", "point", "action") if item.get(key)), "")
    value = " ".join(str(item[key]) for key in ("value", "unit") if item.get(key))
    others = [key for key in fields if key not in _IN_COLUMNS]
    return Side(
        kind=str(item.get("kind", "")),
        specimen=str(item.get("specimen") or ""),
        code=named,
        value=value or str(item.get("reason") or item.get("detail") or ""),
        rest=" · ".join(f"{key}={_plain(item.get(key))}" for key in others),
    )


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_plain(each) for each in value)[:120] or "—"
    return str(value)[:120] if value not in (None, "") else "—"


def amendments(session: Session, redecode_id: uuid.UUID | None = None) -> list[Amendment]:
    """Of one request all of them, else those that are still open."""
    old, new = aliased(Result), aliased(Result)
    if redecode_id is not None:
        wanted = RedecodeAmendment.redecode_id == redecode_id
    else:
        wanted = service.still_open(old)
    rows = session.execute(
        select(RedecodeAmendment, Specimen, Test, old, new, Report.id)
        .join(old, old.id == RedecodeAmendment.result_id)
        .join(Specimen, Specimen.id == RedecodeAmendment.specimen_id)
        .join(Test, Test.id == old.test_id)
        .outerjoin(new, new.id == RedecodeAmendment.new_result_id)
        .outerjoin(Report, Report.specimen_id == Specimen.id)
        .where(wanted)
        .order_by(RedecodeAmendment.asked_at, RedecodeAmendment.id)
        .execution_options(populate_existing=True)
    )
    return [Amendment(*each) for each in rows]
