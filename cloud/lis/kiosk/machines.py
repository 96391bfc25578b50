"""Self-service machines as data: registered with their printer, let in by a code, retired. The verbs never commit."""

from __future__ import annotations

import re
import secrets
import uuid
from datetime import timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.lis.kiosk.model import Kiosk
from cloud.lis.printing import printers
from cloud.lis.printing.model import PrinterKind
from cloud.web.i18n import mark as N_
from cloud.web.sessions import revoke_all

REALM = "kiosk"
KNOWN_FOR = timedelta(days=365)
CODE_FOR = timedelta(minutes=15)
SEEN_EVERY = timedelta(minutes=1)
AWAY_AFTER = timedelta(minutes=5)
LONGEST_DAYS, IDLE_S = 365, range(15, 181)
_CODE = re.compile(r"[A-Za-z0-9_-]{1,24}")
_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without what looks alike on a label: 0 O 1 I."""


def register(
    session: Session, *, code: str, name: str, place: str, printer: str, days: int, idle_s: int, by: str
) -> Kiosk:
    """A new machine with the printer inside it."""
    if not _CODE.fullmatch(code) or not name.strip():
        raise Invalid("kiosk.code", N_("请填写自助机的代码（字母、数字、- 或 _）和名称。"))
    if not 1 <= days <= LONGEST_DAYS or idle_s not in IDLE_S:
        raise Invalid("kiosk.limits", N_("可打印天数为 1 到 365 天，无人操作返回时间为 15 到 180 秒。"))
    inside = printers.by_code(session, printer)
    if inside.kind != PrinterKind.KIOSK or inside.retired_at is not None:
        raise Invalid("kiosk.printer", N_("请选择一台用途为“自助机内”的打印机。"))
    kiosk = Kiosk(code=code, name=name.strip(), place=place.strip(), printer_id=inside.id, days=days, idle_s=idle_s)
    session.add(kiosk)
    try:
        with session.begin_nested():
            session.flush()
    except IntegrityError as error:
        raise Conflict("kiosk.code_taken", N_("已有同一代码的自助机。")) from error
    record(
        session,
        actor=by,
        action="kiosk.register",
        aggregate=("kiosk", code),
        after={"name": kiosk.name, "place": kiosk.place, "printer": printer, "days": days, "idle_s": idle_s},
    )
    return kiosk


def enrolment(session: Session, kiosk_id: uuid.UUID, *, by: str) -> str:
    """A code for the machine's own screen, good once and for a few minutes; the browser let in before is let out."""
    kiosk = _locked(session, kiosk_id)
    if kiosk.retired_at is not None:
        raise Conflict("kiosk.retired", N_("这台自助机已经停用。"))
    code = "".join(secrets.choice(_LETTERS) for _ in range(8))
    kiosk.enrol_hash, kiosk.enrol_until, kiosk.enrolled_at = printers.digest(code), clock.now() + CODE_FOR, None
    revoke_all(session, realm=REALM, subject_id=kiosk.id)
    session.flush()
    record(session, actor=by, action="kiosk.enrolment", aggregate=("kiosk", kiosk.code))
    return code


def enrol(session: Session, typed: str) -> Kiosk | None:
    """The machine whose code this is, its code spent; None for a wrong one."""
    code = re.sub(r"[\s-]", "", typed).upper()
    kiosk = session.scalar(
        update(Kiosk)
        .where(Kiosk.enrol_hash == printers.digest(code), Kiosk.enrol_until > clock.now(), Kiosk.retired_at.is_(None))
        .values(enrol_hash=None, enrol_until=None, enrolled_at=clock.now())
        .returning(Kiosk)
    )
    if kiosk is not None:
        record(session, actor=f"kiosk:{kiosk.id}", action="kiosk.enrol", aggregate=("kiosk", kiosk.code))
    return kiosk


def retire(session: Session, kiosk_id: uuid.UUID, *, by: str) -> None:
    """Let out for good."""
    kiosk = _locked(session, kiosk_id)
    if kiosk.retired_at is not None:
        raise Conflict("kiosk.retired", N_("这台自助机已经停用。"))
    kiosk.retired_at, kiosk.enrol_hash = clock.now(), None
    revoke_all(session, realm=REALM, subject_id=kiosk.id)
    session.flush()
    record(session, actor=by, action="kiosk.retire", aggregate=("kiosk", kiosk.code))


def seen(session: Session, kiosk: Kiosk) -> None:
    now = clock.now()
    session.execute(
        update(Kiosk)
        .where(Kiosk.id == kiosk.id, or_(Kiosk.seen_at.is_(None), Kiosk.seen_at < now - SEEN_EVERY))
        .values(seen_at=now)
    )


def away(kiosk: Kiosk) -> bool:
    return kiosk.seen_at is None or kiosk.seen_at < clock.now() - AWAY_AFTER


def by_code(session: Session, code: str) -> Kiosk:
    found = session.scalar(select(Kiosk).where(Kiosk.code == code))
    if found is None:
        raise NotFound("kiosk.unknown", N_("没有这台自助机。"))
    return found


def in_use(session: Session) -> list[Kiosk]:
    return list(session.scalars(select(Kiosk).where(Kiosk.retired_at.is_(None)).order_by(Kiosk.code)))


def _locked(session: Session, kiosk_id: uuid.UUID) -> Kiosk:
    found = session.get(Kiosk, kiosk_id, with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound("kiosk.unknown", N_("没有这台自助机。"))
    return found
