"""Binding at the window: the phone shows a short code, staff scan the patient's card and look at the document."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.sealed import blind_index
from cloud.patient.identity.binding import bind
from cloud.patient.identity.model import Binding, PatientAccount, WindowCode
from cloud.patient.identity.rules import WINDOW_CODE_LIFETIME, new_window_code, normal_window_code
from cloud.people.access import Subject, person
from cloud.people.match import by_card
from cloud.people.model import Person
from cloud.web.i18n import mark as N_


def show_code(session: Session, account_id: uuid.UUID) -> str:
    """A new short code for this phone; earlier ones end."""
    now = clock.now()
    session.execute(
        update(WindowCode)
        .where(WindowCode.account_id == account_id, WindowCode.used_at.is_(None), WindowCode.expires_at > now)
        .values(expires_at=now)
    )
    while True:
        code = new_window_code()
        try:
            with session.begin_nested():
                session.add(
                    WindowCode(account_id=account_id, code_index=_index(code), expires_at=now + WINDOW_CODE_LIFETIME)
                )
        except IntegrityError:  # somebody had these eight characters before
            continue
        return code


@dataclass(frozen=True, slots=True)
class AtTheWindow:
    """Whom the card and the code name, for staff to compare with the document."""

    person: Person
    account: PatientAccount


def look(session: Session, subject: Subject, *, card: str, code: str) -> AtTheWindow:
    """Who stands there: raises `NotFound` for an unknown card, `Conflict` for a code that is not live."""
    holder = by_card(session, card)
    if holder is None:
        raise NotFound("card_unknown", N_("没有找到这张就诊卡，或者号码对应多份档案，请先核对档案。"))
    account_id = session.scalar(
        select(WindowCode.account_id).where(
            WindowCode.code_index == _index(code), WindowCode.used_at.is_(None), WindowCode.expires_at > clock.now()
        )
    )
    account = session.get(PatientAccount, account_id) if account_id else None
    if account is None:
        raise Conflict("window_code_over", N_("手机上的短码不正确或已过期，请让患者刷新后重试。"))
    return AtTheWindow(person(session, subject, holder.id), account)


def bind_at_window(session: Session, subject: Subject, *, card: str, code: str, relation: str) -> Binding:
    """Bind after staff have seen the document; the short code is used up. Limits for online binding do not apply."""
    found = look(session, subject, card=card, code=code)
    used = session.scalar(
        update(WindowCode)
        .where(WindowCode.code_index == _index(code), WindowCode.used_at.is_(None), WindowCode.expires_at > clock.now())
        .values(used_at=clock.now())
        .returning(WindowCode.id)
    )
    if used is None:
        raise Conflict("window_code_over", N_("手机上的短码不正确或已过期，请让患者刷新后重试。"))
    return bind(session, found.account, found.person.id, relation=relation, method="window", by=subject.actor)


def _index(code: str) -> str:
    return blind_index(normal_window_code(code), "patient.window_code")
