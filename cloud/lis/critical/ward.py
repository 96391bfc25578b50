"""What the ward does in its own screen: read the values back by typing them, and say how the doctor dealt with them."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.kit.events import publish
from cloud.kit.live import announce
from cloud.lis.critical.events import CriticalReadBack
from cloud.lis.critical.model import CLOSED, CriticalCase, CriticalContact, CriticalState
from cloud.lis.results.signatory import Signatory, actor
from cloud.web.i18n import mark as N_

RECEIVE = "critical.ward"


def read_back(session: Session, case_id: uuid.UUID, typed: Sequence[str], *, by: Signatory) -> CriticalCase:
    """The ward types each value as it understood it; only all of them right close the case.

    Raises Forbidden, NotFound, Conflict (closed already), Invalid (a value differs: it is read out again).
    """
    _authorise(by)
    case = session.get(CriticalCase, case_id, with_for_update=True, populate_existing=True)
    if case is None:
        raise NotFound("critical.unknown", N_("没有这条危急值记录。"))
    if case.state in CLOSED:
        raise Conflict("critical.closed", N_("这条危急值已经结束（已复述或已取消）。"))
    now = clock.now()
    wrong = [
        value["name"]
        for value, said in zip(case.values, [*typed, *[""] * len(case.values)], strict=False)
        if not same_value(value["value"], said)
    ]
    if wrong:
        raise Invalid(
            "critical.read_back_differs", N_("复述与报告不符：{tests}。请核对后重新输入。"), tests="、".join(wrong)
        )
    case.state, case.read_back_at = CriticalState.READ_BACK, now
    case.told_at = case.told_at or now
    session.add(CriticalContact(case_id=case.id, at=now, by=by.id, by_name=by.name, told=by.name, outcome="read_back"))
    session.flush()
    publish(session, CriticalReadBack(aggregate_id=case.id, specimen_id=case.specimen_id))
    record(session, actor=actor(by), action="critical.ward_read_back", aggregate=("critical", case.id))
    announce(session, "critical", {"case": str(case.id)})
    return case


def same_value(value: str, said: str) -> bool:
    """Whether somebody typed what the report says: full-width digits and spaces do not matter, the number does."""
    return _plain(value) == _plain(said) != ""


def _plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split()).lower()


def handled(session: Session, case_id: uuid.UUID, *, doctor: str, handling: str, by: Signatory) -> None:
    """How the doctor dealt with it, once, after the read-back. Raises Forbidden, Invalid, NotFound, Conflict."""
    _authorise(by)
    if not doctor.strip() or not handling.strip():
        raise Invalid("critical.handling", N_("请填写处理的医生和处理措施。"))
    changed = session.execute(
        update(CriticalCase)
        .where(
            CriticalCase.id == case_id,
            CriticalCase.state.in_((CriticalState.READ_BACK, CriticalState.KNOWN)),
            CriticalCase.handled_at.is_(None),
        )
        .values(handled_at=clock.now(), handled_by_name=doctor.strip(), handling=handling.strip())
        .returning(CriticalCase.id)
    ).scalar()
    if changed is None:
        if session.scalar(select(CriticalCase.id).where(CriticalCase.id == case_id)) is None:
            raise NotFound("critical.unknown", N_("没有这条危急值记录。"))
        raise Conflict("critical.handled", N_("这条危急值还没有复述，或已经登记过处理。"))
    record(
        session,
        actor=actor(by),
        action="critical.handled",
        aggregate=("critical", case_id),
        after={"doctor": doctor.strip()},
    )
    announce(session, "critical", {"case": str(case_id)})


def _authorise(by: Signatory) -> None:
    if RECEIVE not in by.permissions:
        raise Forbidden("critical.ward", N_("您没有在病区接收危急值的权限。"))
