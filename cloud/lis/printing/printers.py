"""Printers as data: registered, changed, paused, retired; the token of an agent. The verbs never commit."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from datetime import timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.live import announce
from cloud.lis.printing.device import http_address
from cloud.lis.printing.model import Printer, PrinterKind, Road
from cloud.web.i18n import mark as N_

TOPIC = "printing"
AGENT_SILENT_AFTER = timedelta(minutes=2)
"""An agent asks every few seconds; one that has not asked for so long is away."""
SEEN_EVERY = timedelta(seconds=15)
_CODE = re.compile(r"[A-Za-z0-9_-]{1,24}")


def register(
    session: Session,
    *,
    code: str,
    name: str,
    kind: str,
    road: str,
    by: str,
    place: str = "",
    address: str = "",
    department_id: uuid.UUID | None = None,
    two_sided: bool = False,
) -> Printer:
    """A new printer. Its agent's token is issued apart (`issue_token`)."""
    if not _CODE.fullmatch(code):
        raise Invalid("printer.code", N_("打印机代码由字母、数字、- 或 _ 组成，最多 24 位。"))
    if kind not in set(PrinterKind) or road not in set(Road):
        raise Invalid("printer.kind", N_("请选择打印机的用途和连接方式。"))
    _check(session, name, road, address, department_id)
    printer = Printer(
        code=code,
        name=name.strip(),
        place=place.strip(),
        kind=kind,
        road=road,
        address=address.strip() if road == Road.IPP else "",
        department_id=department_id,
        two_sided=two_sided,
    )
    session.add(printer)
    try:
        with session.begin_nested():
            session.flush()
    except IntegrityError as error:
        raise Conflict("printer.code_taken", N_("已有同一代码的打印机。")) from error
    _told(session, printer, "printer.register", by, after=_words(printer))
    return printer


def change(
    session: Session,
    printer_id: uuid.UUID,
    *,
    name: str,
    place: str,
    address: str,
    department_id: uuid.UUID | None,
    two_sided: bool,
    by: str,
) -> Printer:
    """Where it stands and how it is reached. Its purpose and road stay: another road is another printer."""
    printer = locked(session, printer_id)
    _check(session, name, printer.road, address, department_id)
    before = _words(printer)
    printer.name, printer.place, printer.two_sided = name.strip(), place.strip(), two_sided
    printer.address = address.strip() if printer.road == Road.IPP else ""
    printer.department_id = department_id
    printer.failures, printer.retry_at = 0, None
    session.flush()
    if before != _words(printer):
        _told(session, printer, "printer.change", by, before=before, after=_words(printer))
    return printer


def pause(session: Session, printer_id: uuid.UUID, *, paused: bool, by: str) -> Printer:
    """Stop it (paper is changed, it prints rubbish): its jobs wait. Or let it go on, at once."""
    printer = locked(session, printer_id)
    if printer.paused == paused:
        raise Conflict("printer.paused_already", N_("打印机的状态刚刚改变，请刷新。"))
    printer.paused = paused
    printer.failures, printer.retry_at = 0, None
    session.flush()
    _told(session, printer, "printer.pause" if paused else "printer.resume", by)
    return printer


def retire(session: Session, printer_id: uuid.UUID, *, by: str) -> Printer:
    """No new jobs. Whoever calls this looks first that none wait (`queue.waiting_at`)."""
    printer = locked(session, printer_id)
    if printer.retired_at is not None:
        raise Conflict("printer.retired", N_("这台打印机已经停用。"))
    printer.retired_at, printer.token_hash = clock.now(), None
    session.flush()
    _told(session, printer, "printer.retire", by)
    return printer


def issue_token(session: Session, printer_id: uuid.UUID, *, by: str) -> str:
    """A new token for its agent, shown once; the one before is worth nothing from now on."""
    printer = locked(session, printer_id)
    if printer.road != Road.AGENT or printer.retired_at is not None:
        raise Conflict("printer.no_agent", N_("这台打印机不经打印代理连接。"))
    token = secrets.token_urlsafe(32)
    printer.token_hash = digest(token)
    session.flush()
    _told(session, printer, "printer.token", by)
    return token


def by_token(session: Session, token: str) -> Printer | None:
    """Whose agent asks; None for a token that is unknown or was replaced."""
    if not token:
        return None
    return session.scalar(select(Printer).where(Printer.token_hash == digest(token), Printer.retired_at.is_(None)))


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def seen(session: Session, printer_id: uuid.UUID, trouble: str = "") -> None:
    """It, or its agent, answered. Written at most every few seconds, unless what it says changed."""
    now = clock.now()
    changed = session.execute(
        update(Printer)
        .where(
            Printer.id == printer_id,
            or_(
                Printer.seen_at.is_(None),
                Printer.seen_at < now - SEEN_EVERY,
                Printer.trouble != trouble,
                Printer.failures > 0,
            ),
        )
        .values(seen_at=now, trouble=trouble[:300], failures=0, retry_at=None)
        .returning(Printer.id)
    ).first()
    if changed is not None:
        announce(session, TOPIC, {"printer": str(printer_id)})


def by_id(session: Session, printer_id: uuid.UUID) -> Printer:
    found = session.get(Printer, printer_id)
    if found is None:
        raise NotFound("printer.unknown", N_("没有这台打印机。"))
    return found


def by_code(session: Session, code: str) -> Printer:
    found = session.scalar(select(Printer).where(Printer.code == code))
    if found is None:
        raise NotFound("printer.unknown", N_("没有这台打印机。"))
    return found


def locked(session: Session, printer_id: uuid.UUID) -> Printer:
    found = session.get(Printer, printer_id, with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound("printer.unknown", N_("没有这台打印机。"))
    return found


def usable(session: Session, kind: PrinterKind | None = None) -> list[Printer]:
    """Printers that take jobs, by code."""
    wanted = select(Printer).where(Printer.retired_at.is_(None)).order_by(Printer.code)
    return list(session.scalars(wanted if kind is None else wanted.where(Printer.kind == kind)))


def away(printer: Printer) -> bool:
    """Whether it does not answer now."""
    if printer.road == Road.AGENT:
        return printer.seen_at is None or printer.seen_at < clock.now() - AGENT_SILENT_AFTER
    return printer.failures > 0


def _check(session: Session, name: str, road: str, address: str, department_id: uuid.UUID | None) -> None:
    if not name.strip():
        raise Invalid("printer.name", N_("请填写打印机名称。"))
    if road == Road.IPP:
        try:
            http_address(address.strip())
        except ValueError as error:
            raise Invalid(
                "printer.address", N_("请填写打印机的 IPP 地址，例如 ipp://10.0.0.8:631/ipp/print。")
            ) from error
    if department_id is not None and session.get(Department, department_id) is None:
        raise Invalid("department_unknown", N_("没有这个科室，请重新选择。"))


def _words(printer: Printer) -> dict[str, object]:
    return {
        "code": printer.code,
        "name": printer.name,
        "place": printer.place,
        "kind": printer.kind,
        "road": printer.road,
        "address": printer.address,
        "two_sided": printer.two_sided,
        "department": str(printer.department_id) if printer.department_id else None,
    }


def _told(
    session: Session,
    printer: Printer,
    action: str,
    by: str,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    announce(session, TOPIC, {"printer": str(printer.id)})
    record(session, actor=by, action=action, aggregate=("printer", printer.code), before=before, after=after)
