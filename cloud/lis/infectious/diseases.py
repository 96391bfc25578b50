"""The list of notifiable diseases as dated rows: written by who may decide, in force once another person approved it.

A row is never changed: what the authorities changed is a new row from its day on, and approving it ends the one before.
"""

from __future__ import annotations

import re
import uuid
from datetime import date, timedelta

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.lis.catalog.model import ApprovalState
from cloud.lis.infectious.markers import APPROVE
from cloud.lis.infectious.model import Disease
from cloud.lis.infectious.service import DECIDE, authorise
from cloud.lis.results.signatory import Signatory, actor
from cloud.web.i18n import mark as N_

LOCK = 5_004
"""Advisory lock: rows of one list are approved one after the other."""
CLASSES = ("A", "B", "C")
LONGEST_H, LONGEST_DAYS = 24 * 30, 3650
_CODE = re.compile(r"[a-z][a-z0-9_]{1,31}")


def set_disease(
    session: Session,
    *,
    code: str,
    name: str,
    name_en: str,
    legal_class: str,
    deadline_hours: str,
    episode_days: str,
    valid_from: date | None,
    valid_to: date | None = None,
    source: str,
    by: Signatory,
) -> Disease:
    """A draft row of the list from `valid_from` on (`valid_to`: its last day, for a disease that leaves the list).

    Raises Forbidden, Invalid, Conflict (the disease has a row from that day already).
    """
    authorise(by, DECIDE)
    if not _CODE.fullmatch(code.strip()):
        raise Invalid("infectious.disease_code", N_("病种代码用小写字母、数字和“_”，2 到 32 位。"))
    if not name.strip() or not name_en.strip():
        raise Invalid("infectious.disease_name", N_("请填写病种的中文名和英文名。"))
    if legal_class not in CLASSES:
        raise Invalid("infectious.disease_class", N_("请选择甲、乙或丙类。"))
    if valid_from is None or (valid_to is not None and valid_to < valid_from):
        raise Invalid("infectious.disease_day", N_("请填写生效日期；失效日期不能早于生效日期。"))
    if not source.strip():
        raise Invalid("infectious.source", N_("请写明依据。"))
    row = Disease(
        code=code.strip(),
        name=name.strip(),
        name_en=name_en.strip(),
        legal_class=legal_class,
        deadline_hours=_whole(deadline_hours, LONGEST_H),
        episode_days=_whole(episode_days, LONGEST_DAYS),
        valid_from=valid_from,
        valid_to=valid_to,
        source=source.strip(),
        state=ApprovalState.DRAFT,
        set_by=actor(by),
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise Conflict("infectious.disease_there", N_("该病种已有同一天生效的一行，请换生效日期。")) from None
    record(
        session,
        actor=actor(by),
        action="infectious.disease",
        aggregate=("infectious_disease", row.id),
        after={"code": row.code, "class": legal_class, "hours": row.deadline_hours, "from": valid_from.isoformat()},
        reason=row.source,
    )
    return row


def _whole(typed: str, most: int) -> int:
    text_ = typed.strip()
    if not (text_.isascii() and text_.isdigit() and 1 <= int(text_) <= most):
        raise Invalid("infectious.disease_number", N_("时限和病程请填正整数。"))
    return int(text_)


def approve(session: Session, disease_id: uuid.UUID, *, by: Signatory) -> Disease:
    """In force from its day on; the row of the same disease before it ends the day before.

    Raises Forbidden (no right, or one's own row), NotFound, Conflict (approved already).
    """
    if APPROVE not in by.permissions:
        raise Forbidden("infectious.approve", N_("您没有批准的权限。"))
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    row = session.get(Disease, disease_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("infectious.disease", N_("没有这个病种。"))
    if row.set_by == actor(by):
        raise Forbidden("infectious.own", N_("不能批准自己设置的规则，请由另一位批准。"))
    if row.state != ApprovalState.DRAFT:
        raise Conflict("infectious.approved", N_("这条规则已经批准。"))
    row.state = ApprovalState.APPROVED
    ended = []
    for each in session.scalars(
        select(Disease).where(Disease.code == row.code, Disease.valid_from < row.valid_from).with_for_update()
    ):
        if each.valid_to is None or each.valid_to >= row.valid_from:
            each.valid_to = row.valid_from - timedelta(days=1)
            ended.append(str(each.id))
    session.flush()
    record(
        session,
        actor=actor(by),
        action="infectious.disease_approved",
        aggregate=("infectious_disease", row.id),
        after={"ended": ended},
    )
    return row
