"""Staff accounts: create, sign in, lock out, reset, disable. Every act stands in the audit trail."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.staff import passwords
from cloud.staff.model import StaffAccount
from cloud.staff.roles import ROLES
from cloud.web.i18n import mark as N_
from cloud.web.sessions import revoke_all

REALM = "staff"
WRONG_PASSWORDS_TO_LOCK = 10
LOCKED_FOR = timedelta(minutes=15)

_COUNT_WRONG = text(
    """
    UPDATE staff_account SET
        wrong_passwords = CASE WHEN wrong_passwords + 1 >= :limit THEN 0 ELSE wrong_passwords + 1 END,
        locked_until = CASE WHEN wrong_passwords + 1 >= :limit THEN :until ELSE locked_until END
    WHERE id = :id
    RETURNING locked_until IS NOT DISTINCT FROM :until AS locked_now
    """
)


def create_account(
    session: Session,
    *,
    login: str,
    name: str,
    password: str,
    roles: Sequence[str],
    by: str = "system",
    must_change_password: bool = False,
) -> StaffAccount:
    """A new active account. `by` is the audit's actor. Raises `Invalid` or `Conflict` (login taken)."""
    login = login.strip().lower()
    if not login or not name.strip():
        raise Invalid("account_incomplete", N_("请填写登录名和姓名。"))
    _check_roles(roles)
    passwords.check_new(password, login)
    account = StaffAccount(
        login=login,
        name=name.strip(),
        password_hash=passwords.hash_password(password),
        roles=sorted(set(roles)),
        must_change_password=must_change_password,
    )
    try:
        with session.begin_nested():
            session.add(account)
    except IntegrityError:
        raise Conflict("login_taken", N_("登录名“{login}”已被使用。"), login=login) from None
    audit.record(
        session,
        actor=by,
        action="staff.create",
        aggregate=("staff", account.id),
        after={"login": login, "name": account.name, "roles": account.roles},
    )
    return account


def account_by_login(session: Session, login: str) -> StaffAccount | None:
    return session.scalar(select(StaffAccount).where(StaffAccount.login == login.strip().lower()))


def account(session: Session, account_id: uuid.UUID) -> StaffAccount:
    found = session.get(StaffAccount, account_id)
    if found is None:
        raise NotFound("no_account", N_("没有这个账号。"))
    return found


def accounts(session: Session) -> list[StaffAccount]:
    return list(session.scalars(select(StaffAccount).order_by(StaffAccount.active.desc(), StaffAccount.login)))


def authenticate(session: Session, *, login: str, password: str, address: str) -> StaffAccount | None:
    """The account whose password this is, or None after counting the wrong one; the tenth in a row locks.

    Returns instead of raising, because the count must be committed. Raises `Forbidden` (nothing to count) while locked,
    so that a guesser learns nothing from further guesses.
    """
    found = account_by_login(session, login)
    if found is not None and found.locked_until is not None and found.locked_until > clock.now():
        minutes = int((found.locked_until - clock.now()).total_seconds() // 60) + 1
        raise Forbidden(
            "account_locked", N_("密码多次错误，账号已锁定，请 {minutes} 分钟后再试，或请管理员解锁。"), minutes=minutes
        )
    right = passwords.verify(password, found.password_hash if found else None)
    if found is None:
        return None
    if right and found.active:
        session.execute(
            update(StaffAccount).where(StaffAccount.id == found.id).values(wrong_passwords=0, locked_until=None)
        )
        _note(session, found, "staff.sign_in", address)
        return found
    if not right:
        _count_wrong(session, found, address)
    else:
        _note(session, found, "staff.sign_in_disabled", address)
    return None


def _count_wrong(session: Session, found: StaffAccount, address: str) -> None:
    until = clock.now() + LOCKED_FOR
    locked_now = session.execute(
        _COUNT_WRONG, {"id": found.id, "limit": WRONG_PASSWORDS_TO_LOCK, "until": until}
    ).scalar_one()
    session.expire(found)
    _note(session, found, "staff.locked" if locked_now else "staff.wrong_password", address)


def _note(session: Session, found: StaffAccount, action: str, address: str) -> None:
    audit.record(
        session, actor=f"staff:{found.id}", action=action, aggregate=("staff", found.id), after={"address": address}
    )


def change_password(session: Session, account_id: uuid.UUID, *, old: str, new: str, keep: uuid.UUID) -> bool:
    """The person's own change; False if the old one is wrong. Ends all their sessions but `keep`."""
    found = account(session, account_id)
    if not passwords.verify(old, found.password_hash):
        return False
    passwords.check_new(new, found.login)
    found.password_hash = passwords.hash_password(new)
    found.must_change_password = False
    revoke_all(session, realm=REALM, subject_id=found.id, but=keep)
    audit.record(session, actor=f"staff:{found.id}", action="staff.change_password", aggregate=("staff", found.id))
    return True


def reset_password(session: Session, account_id: uuid.UUID, *, new: str, by: str) -> None:
    """An administrator's reset: to be changed at the next sign-in; unlocks; ends every session."""
    found = account(session, account_id)
    passwords.check_new(new, found.login)
    found.password_hash = passwords.hash_password(new)
    found.must_change_password = True
    found.wrong_passwords = 0
    found.locked_until = None
    revoke_all(session, realm=REALM, subject_id=found.id)
    audit.record(session, actor=by, action="staff.reset_password", aggregate=("staff", found.id))


def unlock(session: Session, account_id: uuid.UUID, *, by: str) -> None:
    found = account(session, account_id)
    found.wrong_passwords = 0
    found.locked_until = None
    audit.record(session, actor=by, action="staff.unlock", aggregate=("staff", found.id))


def set_active(session: Session, account_id: uuid.UUID, *, active: bool, by: str) -> None:
    """Disable (ends every session at once) or enable."""
    found = account(session, account_id)
    if f"staff:{found.id}" == by and not active:
        raise Conflict("own_account", N_("不能停用自己的账号。"))
    before = {"active": found.active}
    found.active = active
    if not active:
        revoke_all(session, realm=REALM, subject_id=found.id)
    audit.record(
        session,
        actor=by,
        action="staff.enable" if active else "staff.disable",
        aggregate=("staff", found.id),
        before=before,
        after={"active": active},
    )


def set_roles(session: Session, account_id: uuid.UUID, *, roles: Sequence[str], by: str) -> None:
    """Takes effect at the person's next request."""
    _check_roles(roles)
    found = account(session, account_id)
    if f"staff:{found.id}" == by and "admin" in found.roles and "admin" not in roles:
        raise Conflict("own_admin", N_("不能取消自己的管理员角色，请由另一位管理员操作。"))
    before = {"roles": list(found.roles)}
    found.roles = sorted(set(roles))
    audit.record(
        session,
        actor=by,
        action="staff.set_roles",
        aggregate=("staff", found.id),
        before=before,
        after={"roles": found.roles},
    )


def _check_roles(roles: Sequence[str]) -> None:
    if not roles or set(roles) - set(ROLES):
        raise Invalid("unknown_role", N_("请至少选择一个有效的角色。"))
