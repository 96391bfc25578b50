"""Codes to the phone on the hospital's file: six digits, kept as a keyed hash, five tries, good once.

One code binds, another (`scopes`) gives a consent: who has the phone of the file reads from the message which it is.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.ids import new_id
from cloud.kit.sealed import blind_index
from cloud.notify import service as notify
from cloud.patient.identity.model import BindingCode, PatientAccount
from cloud.patient.identity.rules import CODE_LIFETIME, CODE_TRIES, new_sms_code
from cloud.people.access import mask_phone
from cloud.people.identity import surviving_id
from cloud.people.model import Person
from cloud.people.rules import normal_phone
from cloud.web.i18n import mark as N_


def issue(
    session: Session,
    account: PatientAccount,
    person: Person,
    relation: str,
    *,
    template: str = "binding_code",
    words: dict[str, str] | None = None,
    scopes: Sequence[str] = (),
    lasts_days: int | None = None,
    real_name: str | None = None,
) -> BindingCode:
    """Send a code to the phone on the person's file; the account's earlier codes are over."""
    code = new_sms_code()
    now = clock.now()
    phone = normal_phone(person.phone or "")
    session.execute(
        update(BindingCode)
        .where(BindingCode.account_id == account.id, BindingCode.used_at.is_(None), BindingCode.expires_at > now)
        .values(expires_at=now)
    )
    issued = BindingCode(
        id=new_id(),
        account_id=account.id,
        person_id=person.id,
        relation=relation,
        code_hash="",
        phone_shown=mask_phone(phone),
        scopes=" ".join(scopes) or None,
        lasts_days=lasts_days,
        real_name=real_name,
        expires_at=now + CODE_LIFETIME,
    )
    issued.code_hash = _hash(issued.id, code)
    session.add(issued)
    session.flush()
    minutes = str(int(CODE_LIFETIME.total_seconds() // 60))
    notify.send(
        session,
        recipient=notify.Recipient(notify.SMS, phone, issued.phone_shown),
        template=template,
        parameters={"code": code, "minutes": minutes, **(words or {})},
        dedupe_key=f"{template}:{issued.id}",
        expires_at=issued.expires_at,
    )
    return issued


def _hash(code_id: uuid.UUID, code: str) -> str:
    return blind_index(f"{code_id}:{code}", "patient.binding_code")


@dataclass(frozen=True, slots=True)
class Tried:
    """One try of a code: it counts whatever comes after. `left`: how many more there are."""

    code: BindingCode
    right: bool
    left: int


def try_code(session: Session, account_id: uuid.UUID, code_id: uuid.UUID, typed: str) -> Tried:
    """Count the try, then compare: commit it whatever it says. Raises `Conflict` when there is no live code."""
    row = session.scalar(
        update(BindingCode)
        .where(
            BindingCode.id == code_id,
            BindingCode.account_id == account_id,
            BindingCode.used_at.is_(None),
            BindingCode.expires_at > clock.now(),
            BindingCode.tries < CODE_TRIES,
        )
        .values(tries=BindingCode.tries + 1)
        .returning(BindingCode)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise _over()
    right = hmac.compare_digest(row.code_hash, _hash(row.id, typed.strip()))
    return Tried(row, right, CODE_TRIES - row.tries)


def use_up(session: Session, tried: Tried, *, consents: bool) -> tuple[PatientAccount, BindingCode]:
    """The code is good once and for one purpose, and the person must still be who got it: a merge meanwhile asks for
    a new one. Holds the account's row."""
    if not tried.right:
        raise Conflict("code_wrong", N_("验证码不正确。"))
    code = tried.code
    account = held_account(session, code.account_id)
    used = session.scalar(
        update(BindingCode)
        .where(BindingCode.id == code.id, BindingCode.used_at.is_(None), BindingCode.scopes.is_not(None) == consents)
        .values(used_at=clock.now())
        .returning(BindingCode.id)
    )
    if used is None or surviving_id(session, code.person_id) != code.person_id:
        raise _over()
    return account, code


def held_account(session: Session, account_id: uuid.UUID) -> PatientAccount:
    """Acts of one account take turns, so that two taps cannot pass a limit together."""
    account = session.get(PatientAccount, account_id, with_for_update=True)
    if account is None:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    return account


def live_code(session: Session, account_id: uuid.UUID, code_id: uuid.UUID) -> BindingCode:
    """The account's own open code, for the page that asks for it; raises `Conflict` when it is over."""
    row = session.get(BindingCode, code_id)
    if row is None or row.account_id != account_id or row.used_at is not None or row.expires_at <= clock.now():
        raise _over()
    return row


def expires_in_s(code: BindingCode, now: datetime) -> int:
    """Whole seconds the code is still good."""
    return max(0, int((code.expires_at - now).total_seconds()))


def _over() -> Conflict:
    return Conflict("code_over", N_("验证码已失效，请重新获取。"))
