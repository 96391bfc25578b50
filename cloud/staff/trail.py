"""Reading the audit trail: the newest first, a page at a time by key, and never more of a patient than the reader may.

What an entry says of a patient's order, specimen or report is shown only to who may read patients and results;
telephone and identity numbers inside a text are masked for everybody.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, select, text, tuple_
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import AuditChain, AuditEntry
from cloud.kit.errors import Invalid
from cloud.staff.access import CurrentStaff
from cloud.staff.model import StaffAccount
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

PAGE_SIZE = 50
HIDDEN = "•••"
WITHOUT_PATIENTS = frozenset(
    {"staff", "gateway", "instrument", "job", "department", "doctor", "clinic_session", "session_pattern", "clinic_day",
     "clinic_settings", "holiday", "holiday_year"}
)  # fmt: skip
"""Kinds of things whose entries say nothing of a patient; `catalog_…` too. Every other kind may."""
OPEN_FIELDS = frozenset({"state", "version", "content_sha256"})
"""What anybody who reads the trail may see of any entry."""
NAMING = frozenset({"patient", "patient_name", "phone", "id_number", "birth_date", "mrn", "card"})
"""Fields that name a patient: shown to nobody here, the patient's own page has them."""
_IDENTITY_NUMBER = re.compile(r"(?<![\w-])\d{6}(?:19|20)\d{2}\d{6}[\dXx](?![\w-])|(?<![\w-])\d{17}[\dXx](?![\w-])")
_PHONE = re.compile(r"(?<![\w-])\d{11}(?![\w-])")

_KINDS = text(
    """
    WITH RECURSIVE known AS (
        (SELECT kind FROM audit_chain ORDER BY kind LIMIT 1)
        UNION ALL
        SELECT (SELECT next.kind FROM audit_chain AS next WHERE next.kind > known.kind ORDER BY next.kind LIMIT 1)
        FROM known WHERE known.kind IS NOT NULL
    ) SELECT kind FROM known WHERE kind IS NOT NULL
    """
)
"""One step on the index for each kind, however many chains there are."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filters as typed; empty text does not filter. `since` and `until` are days on the hospital's calendar."""

    kind: str = ""
    aggregate_id: str = ""
    actor: str = ""
    """A login, ``his``, ``system`` or an actor as stored."""
    action: str = ""
    since: str = ""
    until: str = ""
    before: str = ""
    """The key of the last entry of the page before this one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One entry as this reader may see it."""

    entry: AuditEntry
    actor: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One field before and after; None: there was none."""

    field: str
    before: str | None
    after: str | None


def page(session: Session, wanted: Wanted, reader: CurrentStaff) -> tuple[list[Line], str | None]:
    """The entries, newest first, and the key of the page that follows (None: this is the last)."""
    found = list(
        session.scalars(
            select(AuditEntry)
            .where(*_conditions(session, wanted))
            .order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
            .limit(PAGE_SIZE + 1)
        )
    )
    following = key_of(found[PAGE_SIZE - 1]) if len(found) > PAGE_SIZE else None
    return lines(session, found[:PAGE_SIZE], reader), following


def lines(session: Session, entries: Iterable[AuditEntry], reader: CurrentStaff) -> list[Line]:
    """The entries with their actors by name."""
    found = list(entries)
    names = _names(session, {each.actor for each in found})
    return [
        Line(each, names.get(each.actor, each.actor), shown_text(each.reason, open_to(reader, each.kind)))
        for each in found
    ]


def kinds(session: Session) -> list[str]:
    return list(session.scalars(_KINDS))


def is_sealed(session: Session, entry: AuditEntry) -> bool:
    """Whether a signed root outside the database covers this entry."""
    chain = session.get(AuditChain, (entry.kind, entry.aggregate_id))
    return chain is not None and chain.sealed_number >= entry.number


def open_to(reader: CurrentStaff, kind: str) -> bool:
    """Whether the reader may see what entries of this kind say."""
    harmless = kind in WITHOUT_PATIENTS or kind.startswith("catalog_")
    return harmless or (reader.may("patient.read") and reader.may("result.read"))


def changes(entry: AuditEntry, reader: CurrentStaff) -> list[Change]:
    """Before and after, field by field; a value that is no object stands under an empty name."""
    may = open_to(reader, entry.kind)
    was, is_now = _fields(entry.before), _fields(entry.after)
    return [
        Change(
            name,
            _shown(name, was[name], may) if name in was else None,
            _shown(name, is_now[name], may) if name in is_now else None,
        )
        for name in sorted(was.keys() | is_now.keys())
    ]


def shown_text(value: str | None, may: bool) -> str | None:
    """A text of an entry, numbers of persons masked; nothing of it for who may not read it."""
    if value is None:
        return None
    if not may:
        return HIDDEN
    return _PHONE.sub(HIDDEN, _IDENTITY_NUMBER.sub(HIDDEN, value))


def key_of(entry: AuditEntry) -> str:
    """The entry's place in the order of the list."""
    return f"{entry.at.astimezone(UTC).isoformat()}~{entry.id.hex}"


def _fields(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"": value}


def _shown(name: str, value: Any, may: bool) -> str:
    if name in NAMING:
        return HIDDEN
    if value is None:
        return "—"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_shown(str(key), each, may or name in OPEN_FIELDS)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(name, each, may) for each in value)
    if isinstance(value, bool) and (may or name in OPEN_FIELDS):
        return _("是") if value else _("否")
    return shown_text(str(value), may or name in OPEN_FIELDS) or ""


def _names(session: Session, actors: set[str]) -> dict[str, str]:
    ids = {uuid.UUID(each[6:]): each for each in actors if re.fullmatch(r"staff:[0-9a-f-]{36}", each)}
    rows = session.execute(
        select(StaffAccount.id, StaffAccount.name, StaffAccount.login).where(StaffAccount.id.in_(ids))
    )
    return {ids[row.id]: f"{row.name}（{row.login}）" for row in rows}


def _conditions(session: Session, wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.kind:
        conditions.append(AuditEntry.kind == wanted.kind)
    if wanted.aggregate_id.strip():
        conditions.append(AuditEntry.aggregate_id == wanted.aggregate_id.strip())
    if wanted.actor.strip():
        conditions.append(AuditEntry.actor == _actor(session, wanted.actor.strip()))
    if wanted.action.strip():
        conditions.append(AuditEntry.action == wanted.action.strip())
    if wanted.since:
        conditions.append(AuditEntry.at >= clock.day_begins(_day(wanted.since)))
    if wanted.until:
        conditions.append(AuditEntry.at < clock.day_begins(_day(wanted.until) + timedelta(days=1)))
    if wanted.before:
        conditions.append(tuple_(AuditEntry.at, AuditEntry.id) < tuple_(*_key(wanted.before)))
    return conditions


def _actor(session: Session, typed: str) -> str:
    found = session.scalar(select(StaffAccount.id).where(StaffAccount.login == typed.lower()))
    return typed if found is None else f"staff:{found}"


def _day(typed: str) -> date:
    day = clock.typed_day(typed)
    if day is None:
        raise Invalid("audit.day", N_("日期格式应为 2026-03-01。"))
    return day


def _key(typed: str) -> tuple[datetime, uuid.UUID]:
    at, _, id_ = typed.partition("~")
    try:
        moment, key = datetime.fromisoformat(at), uuid.UUID(id_)
    except ValueError as error:
        raise Invalid("audit.key", N_("翻页位置无效，请从第一页重新查看。")) from error
    if moment.tzinfo is None:
        raise Invalid("audit.key", N_("翻页位置无效，请从第一页重新查看。"))
    return moment, key
