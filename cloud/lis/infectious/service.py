"""What people do about a case: tell the doctor, record the card, dismiss, mark as a duplicate, open again.

Each act names the version of the case the person saw; of two who act at once one succeeds and the other is told.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.kit.live import announce
from cloud.lis.infectious import rules
from cloud.lis.infectious.model import (
    OPEN_STATES,
    CardSource,
    CaseState,
    CaseStep,
    InfectiousCase,
    ReportCard,
)
from cloud.lis.infectious.opening import TOPIC
from cloud.lis.results.signatory import Signatory, actor
from cloud.web.i18n import mark as N_

TELL, DECIDE = "infectious.tell", "infectious.decide"


def tell(
    session: Session, case_id: uuid.UUID, *, version: int, told: str, how: str, note: str = "", by: Signatory
) -> InfectiousCase:
    """The laboratory told the ordering doctor. Raises Forbidden, NotFound, Invalid, Conflict (stale)."""
    authorise(by, TELL)
    if not told.strip():
        raise Invalid("infectious.told", N_("请填写被告知的医生。"))
    now = clock.now()
    case = _move(session, case_id, version, OPEN_STATES, {"state": CaseState.TOLD, "told_at": now})
    _step(session, case, "told", by, note=note, detail={"told": told.strip(), "how": how.strip()})
    return case


def report(
    session: Session, case_id: uuid.UUID, *, version: int, number: str, fields: Mapping[str, str], by: Signatory
) -> ReportCard:
    """The card was filled in and sent. Raises Invalid for a wrong or missing box, Conflict for a used number."""
    authorise(by, DECIDE)
    said = checked(fields)
    if not number.strip():
        raise Invalid("infectious.card_number", N_("请填写卡片编号。"))
    now = clock.now()
    case = _move(session, case_id, version, OPEN_STATES, {"state": CaseState.REPORTED, "closed_at": now})
    card = ReportCard(
        number=number.strip(),
        source=CardSource.HERE,
        case_id=case.id,
        person_id=case.person_id,
        name=said["patient_name"],
        disease=case.disease,
        fields=said,
        doctor=by.name,
        reported_at=now,
        matched_by=actor(by),
        entered_by=actor(by),
    )
    try:
        with session.begin_nested():
            session.add(card)
    except IntegrityError:  # of two who enter one number at once the second waits here for the first
        raise Conflict("infectious.card_used", N_("卡片编号已使用，请核对。")) from None
    _step(session, case, "reported", by, detail={"card": card.number})
    return card


def dismiss(
    session: Session, case_id: uuid.UUID, *, version: int, reason: str, note: str = "", by: Signatory
) -> InfectiousCase:
    """It needs no card, for a coded reason; "other" wants words."""
    authorise(by, DECIDE)
    if reason not in {str(each) for each in rules.Dismissal}:
        raise Invalid("infectious.reason", N_("请选择排除的原因。"))
    if reason == rules.Dismissal.OTHER and not note.strip():
        raise Invalid("infectious.reason_note", N_("选择“其他”时请写明原因。"))
    case = _move(session, case_id, version, OPEN_STATES, {"state": CaseState.DISMISSED, "closed_at": clock.now()})
    _step(session, case, "dismissed", by, reason=reason, note=note)
    return case


def duplicate(session: Session, case_id: uuid.UUID, *, version: int, of_number: int, by: Signatory) -> InfectiousCase:
    """It is the same episode as another case of this disease; later values go there."""
    authorise(by, DECIDE)
    other = session.scalars(select(InfectiousCase).where(InfectiousCase.number == of_number)).first()
    case = session.get(InfectiousCase, case_id)
    if case is None or other is None:
        raise NotFound("infectious.case", N_("没有这个病例。"))
    if other.id == case.id or other.disease != case.disease or other.state == CaseState.DUPLICATE:
        raise Invalid("infectious.duplicate_of", N_("请填写同一疾病的另一个病例，且它本身不是重复病例。"))
    moved = _move(
        session,
        case_id,
        version,
        OPEN_STATES,
        {"state": CaseState.DUPLICATE, "closed_at": clock.now(), "duplicate_of": other.id},
    )
    _step(session, moved, "duplicate", by, detail={"of": other.number})
    return moved


def reopen(session: Session, case_id: uuid.UUID, *, version: int, note: str, by: Signatory) -> InfectiousCase:
    """Back to open, with a reason; its clock goes on from the finding."""
    authorise(by, DECIDE)
    if not note.strip():
        raise Invalid("infectious.reopen_note", N_("请填写重新打开的原因。"))
    closed = (CaseState.REPORTED, CaseState.DISMISSED, CaseState.DUPLICATE)
    case = _move(session, case_id, version, closed, {"state": CaseState.OPEN, "closed_at": None, "duplicate_of": None})
    _step(session, case, "reopened", by, note=note)
    return case


def checked(fields: Mapping[str, str]) -> dict[str, str]:
    """The card's boxes, without padding; raises Invalid naming the first box that is wrong."""
    said = {each.key: fields.get(each.key, "").strip() for each in rules.CARD_FIELDS}
    for field in rules.CARD_FIELDS:
        value = said[field.key]
        if field.required and not value:
            raise Invalid("infectious.card_missing", N_("报告卡缺少“{field}”。"), field=field.name)
        if value and field.choices and value not in field.choices:
            raise Invalid("infectious.card_choice", N_("“{field}”不能填“{value}”。"), field=field.name, value=value)
        if value and field.kind in ("date", "datetime-local") and not _is_moment(value):
            raise Invalid("infectious.card_date", N_("“{field}”不是日期：{value}"), field=field.name, value=value)
    return said


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def authorise(by: Signatory, permission: str) -> None:
    if permission not in by.permissions:
        raise Forbidden("infectious.forbidden", N_("您没有处理传染病病例的权限。"))


def _move(
    session: Session, case_id: uuid.UUID, version: int, from_states: tuple[CaseState, ...], values: dict[str, Any]
) -> InfectiousCase:
    moved = session.execute(
        update(InfectiousCase)
        .where(
            InfectiousCase.id == case_id,
            InfectiousCase.version == version,
            InfectiousCase.state.in_(from_states),
        )
        .values(version=version + 1, **values)
        .returning(InfectiousCase.id),
        execution_options={"synchronize_session": False},
    ).scalar()
    session.expire_all()
    case = session.get(InfectiousCase, case_id)
    if case is None:
        raise NotFound("infectious.case", N_("没有这个病例。"))
    if moved is None:
        raise Conflict("infectious.stale", N_("这个病例已有人处理，请刷新页面。"))
    return case


def _step(
    session: Session,
    case: InfectiousCase,
    what: str,
    by: Signatory,
    *,
    reason: str = "",
    note: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    session.add(
        CaseStep(
            case_id=case.id,
            what=what,
            at=clock.now(),
            by=actor(by),
            by_name=by.name,
            reason=reason,
            note=note.strip(),
            detail=detail or {},
        )
    )
    record(
        session,
        actor=actor(by),
        action=f"infectious.{what}",
        aggregate=("infectious_case", case.id),
        after={"state": case.state, **(detail or {})},
        reason=note.strip() or reason,
    )
    announce(session, TOPIC, {"case": str(case.id)})
