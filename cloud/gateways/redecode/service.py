"""The verbs: ask for a new reading, approve or refuse what it found, and settle what it says of released reports."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from cloud.gateways.arrivals import REUSED
from cloud.gateways.model import Gateway, InboxMessage, MessageStatus
from cloud.gateways.redecode import reading
from cloud.gateways.redecode.model import Redecode, RedecodeAmendment, RedecodeState, Which
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.kit.jobs import enqueue
from cloud.kit.live import announce
from cloud.lis.results.model import Result, ResultState
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.web.i18n import mark as N_
from protocols.uplink.asking import BOX

READ, APPLY = "gateways.redecode_read", "gateways.redecode_apply"
ASKS: Collection[str] = ("result.review", "gateway.configure")
"""Either right is enough to ask: nothing is changed by it."""
APPROVES = "result.release"
AMENDS = "report.amend"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be read anew. `driver` "": the one that the box serves the link with now."""

    gateway: str
    link: str
    which: Which
    driver: str = ""
    stored_from: datetime | None = None
    stored_to: datetime | None = None
    inbox_id: uuid.UUID | None = None


def ask(session: Session, wanted: Wanted, *, by: Signatory, reason: str) -> Redecode:
    """Have a job read them; nothing is applied before a second person approves.

    Raises Invalid without a reason, for an unknown driver or for options that it does not take.
    """
    if not any(each in by.permissions for each in ASKS):
        raise Forbidden("forbidden", N_("您没有这项操作的权限，请联系管理员。"))
    if not reason.strip():
        raise Invalid("redecode.reason", N_("请写明为什么要重新解码。"))
    gateway = session.get(Gateway, wanted.gateway)
    if gateway is None:
        raise NotFound("gateway.unknown", N_("没有登记这个网关。"))
    driver_id, options, known = _as_the_link_has_it(session, gateway, wanted)
    driver = reading.driver_of(driver_id, options)
    row = Redecode(
        gateway=wanted.gateway,
        link=wanted.link,
        which=wanted.which,
        inbox_id=wanted.inbox_id,
        stored_from=wanted.stored_from,
        stored_to=wanted.stored_to,
        driver=driver_id,
        driver_version=reading.version(driver),
        options=options,
        options_known=known,
        state=RedecodeState.ASKED,
        asked_at=clock.now(),
        asked_by=by.id,
        asked_by_name=by.name,
        asked_reason=reason.strip(),
    )
    session.add(row)
    session.flush()
    if not session.scalar(select(func.count()).select_from(InboxMessage).where(*conditions(row))):
        raise Invalid("redecode.nothing", N_("这个范围内没有可以重新解码的消息。"))
    enqueue(session, READ, lock=f"redecode:{row.id}", redecode=row.id)
    _record(session, row, "gateway.redecode_ask", by, row.asked_reason, {"driver": driver_id, "which": str(row.which)})
    return row


def _as_the_link_has_it(session: Session, gateway: Gateway, wanted: Wanted) -> tuple[str, dict[str, Any], bool]:
    """(driver, its options, whether they are the ones the box uses). Options belong to the driver they were set for."""
    links: list[dict[str, Any]] = (gateway.last_state or {}).get("links", [])
    said = next((each for each in links if each["link"] == wanted.link), {})
    served = str(said.get("driver") or "")
    driver = wanted.driver or served or _driver_of_message(session, wanted)
    if driver == served and "options" in said:
        return driver, dict(said["options"] or {}), True
    return driver, {}, False


def _driver_of_message(session: Session, wanted: Wanted) -> str:
    """Of a link that the box does not serve any more: the driver that read its last message."""
    found = select(InboxMessage.driver).where(
        InboxMessage.gateway == wanted.gateway, InboxMessage.link == wanted.link, InboxMessage.driver != BOX
    )
    return session.scalar(found.order_by(InboxMessage.id.desc()).limit(1)) or reading.AUTO


def conditions(row: Redecode) -> list[ColumnElement[bool]]:
    """The messages of a request. What is not whole, was set aside or waits for its turn is never among them."""
    read_by_the_box = (InboxMessage.driver.not_in(("", BOX)), ~InboxMessage.epoch.startswith(REUSED, autoescape=True))
    states = {
        Which.OLDER: (InboxMessage.state == MessageStatus.APPLIED) & _older(row),
        Which.UNDECODED: _unread(),
        Which.REFUSED: _refused(),
        Which.ALL: ((InboxMessage.state == MessageStatus.APPLIED) & _older(row)) | _unread() | _refused(),
        Which.ONE: (InboxMessage.state == MessageStatus.APPLIED) | _unread() | _refused(),
    }
    found = [
        InboxMessage.gateway == row.gateway,
        InboxMessage.link == row.link,
        *read_by_the_box,
        states[Which(row.which)],
    ]
    if row.inbox_id is not None:
        found.append(InboxMessage.id == row.inbox_id)
    if row.stored_from is not None:
        found.append(InboxMessage.stored_at >= row.stored_from)
    if row.stored_to is not None:
        found.append(InboxMessage.stored_at < row.stored_to)
    return found


def _older(row: Redecode) -> ColumnElement[bool]:
    """Read by another release, or by another driver; of a link that recognises its messages any may be older."""
    if row.driver == reading.AUTO:
        return InboxMessage.driver_version.is_not(None)
    return or_(InboxMessage.driver_version != row.driver_version, InboxMessage.driver != row.driver)


def _unread() -> ColumnElement[bool]:
    partly = (InboxMessage.state == MessageStatus.APPLIED) & (InboxMessage.undecoded > 0)
    return or_(InboxMessage.state == MessageStatus.UNDECODED, partly)


def _refused() -> ColumnElement[bool]:
    return (InboxMessage.state == MessageStatus.QUARANTINED) & InboxMessage.applied_by.is_not(None)


def fingerprint(message: InboxMessage) -> str:
    """Over a message's present reading: what a decision about it was made from."""
    plain = [message.state, message.driver, message.driver_version, message.items]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def approve(session: Session, redecode_id: uuid.UUID, *, by: Signatory, reason: str) -> Redecode:
    """Have a job apply what the new reading found. Once: of two who approve at the same moment one is told."""
    authorise(by, APPROVES)
    row = _decide(session, redecode_id, RedecodeState.APPROVED, by, reason)
    enqueue(session, APPLY, lock=f"redecode:{row.id}", redecode=row.id)
    _record(session, row, "gateway.redecode_approve", by, reason.strip(), {"state": str(row.state)})
    return row


def refuse(session: Session, redecode_id: uuid.UUID, *, by: Signatory, reason: str) -> Redecode:
    """Everything stays as it was; what was found stays on record."""
    authorise(by, APPROVES)
    row = _decide(session, redecode_id, RedecodeState.REFUSED, by, reason)
    _record(session, row, "gateway.redecode_refuse", by, reason.strip(), {"state": str(row.state)})
    return row


def _decide(session: Session, redecode_id: uuid.UUID, state: RedecodeState, by: Signatory, reason: str) -> Redecode:
    if not reason.strip():
        raise Invalid("redecode.decision", N_("请写明批准或驳回的依据。"))
    row = session.get(Redecode, redecode_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("redecode.unknown", N_("没有这次重新解码。"))
    if row.asked_by == by.id:
        raise Forbidden("redecode.second_person", N_("申请人不能批准或驳回自己的申请，请由另一人核对。"))
    if row.state != RedecodeState.READY:
        raise Conflict("redecode.decided", N_("这次重新解码已有人处理，请刷新页面。"))
    row.state, row.decided_at, row.decided_reason = state, clock.now(), reason.strip()
    row.decided_by, row.decided_by_name = by.id, by.name
    session.flush()
    announce(session, "gateways", {"redecode": str(row.id)})
    return row


def dismiss(session: Session, amendment_id: uuid.UUID, *, by: Signatory, reason: str) -> RedecodeAmendment:
    """The report stands as it is, and why."""
    authorise(by, AMENDS)
    if not reason.strip():
        raise Invalid("redecode.dismiss", N_("请写明为什么不需要修正报告。"))
    changed = session.execute(
        update(RedecodeAmendment)
        .where(RedecodeAmendment.id == amendment_id, RedecodeAmendment.dismissed_at.is_(None))
        .values(dismissed_at=clock.now(), dismissed_by=by.id, dismissed_by_name=by.name, reason=reason.strip())
        .returning(RedecodeAmendment.id)
    ).first()
    row = session.get(RedecodeAmendment, amendment_id, populate_existing=True)
    if row is None:
        raise NotFound("redecode.amendment", N_("没有这条记录。"))
    if changed is None:
        raise Conflict("redecode.dismissed", N_("这一项已有人处理，请刷新页面。"))
    announce(session, "gateways", {"redecode": str(row.redecode_id)})
    record(
        session,
        actor=actor(by),
        action="gateway.redecode_dismiss",
        aggregate=("redecode", row.redecode_id),
        after={"result": str(row.result_id)},
        reason=row.reason,
    )
    return row


def to_decide(session: Session) -> int:
    """Readings that wait for a second person, for the home page."""
    waiting = select(func.count()).select_from(Redecode).where(Redecode.state == RedecodeState.READY)
    return session.scalar(waiting) or 0


def to_amend(session: Session) -> int:
    """Released values that a new reading contradicts, which nobody amended or let stand yet."""
    found = select(func.count()).select_from(RedecodeAmendment)
    return session.scalar(found.join(Result, Result.id == RedecodeAmendment.result_id).where(still_open(Result))) or 0


def still_open(old: type[Result]) -> ColumnElement[bool]:
    """The old value is still the reported one, and nobody said that it may stand."""
    return and_(RedecodeAmendment.dismissed_at.is_(None), old.chosen, old.state == ResultState.RELEASED)


def _record(session: Session, row: Redecode, action: str, by: Signatory, reason: str, after: dict[str, Any]) -> None:
    place = {"gateway": row.gateway, "link": row.link}
    record(
        session, actor=actor(by), action=action, aggregate=("redecode", row.id), after={**place, **after}, reason=reason
    )
    announce(session, "gateways", {"redecode": str(row.id)})
