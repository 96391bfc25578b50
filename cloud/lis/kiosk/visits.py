"""A patient at a machine: found by what was scanned, confirmed where it was typed, gone when it is over.

What lies before the scanner is the credential: a tube's barcode shows its order, a voucher its visit, a card or
identity number the person. A number that was *typed* on the screen could be anybody's: it shows nothing before the
last four digits of the telephone on file. Every look stands in the audit trail, found or not. The verbs never commit.
"""

from __future__ import annotations

import hmac
import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, NotFound, TooMany
from cloud.lis.kiosk.model import How, Kiosk, KioskVisit
from cloud.lis.orders.model import Order
from cloud.lis.specimens import lookup
from cloud.lis.specimens.rules import clean_barcode
from cloud.people import identity, match
from cloud.people import service as people
from cloud.people.rules import is_citizen_number
from cloud.web import rate
from cloud.web.i18n import mark as N_

STAYS = timedelta(minutes=3)
"""However busy the screen: a visit ends then."""
MISSES_AT_MOST, MISSES_WITHIN, LOCKED_FOR = 10, timedelta(minutes=10), timedelta(minutes=10)
"""Hands that scan the wrong thing miss now and then; who guesses numbers misses all the time."""
LOOKS_AT_MOST, LOOKS_WITHIN = 40, timedelta(minutes=10)
TRIES = 3
PHONE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Shown:
    """Whose reports, and which of them."""

    how: How
    person_id: uuid.UUID
    order_id: uuid.UUID | None = None
    visit_number: str | None = None


def look(session: Session, kiosk: Kiosk, code: str, *, typed: bool) -> KioskVisit | None:
    """A visit for what was scanned or typed; None where nobody is found, which is counted. Raises `TooMany`.

    Commit it whatever comes of it: what was missed is counted in this unit of work.
    """
    now = clock.now()
    wanted = clean_barcode(code)[:64]
    found = _identify(session, wanted) if wanted else None
    record(
        session,
        actor=f"kiosk:{kiosk.id}",
        action="kiosk.look",
        aggregate=("kiosk", kiosk.code) if found is None else ("person", found.person_id),
        after={
            "kiosk": kiosk.code,
            "found": found is not None,
            "how": None if found is None else str(found.how),
            "typed": typed,
            "length": len(wanted),
        },
    )
    if found is None:
        return None
    leave(session, kiosk)
    visit = KioskVisit(
        kiosk_id=kiosk.id,
        how=found.how,
        person_id=found.person_id,
        order_id=found.order_id,
        visit_number=found.visit_number,
        opened_at=now,
        expires_at=now + STAYS,
        confirmed=not typed,
    )
    session.add(visit)
    session.flush()
    return visit


def check_open(session: Session, kiosk: Kiosk) -> None:
    """Count one look of this machine; raises `TooMany` when there were too many, or when it is locked."""
    locked = kiosk.locked_until
    if locked is not None and locked > clock.now():
        raise TooMany(
            "kiosk.locked",
            N_("查询过于频繁，请稍候或到窗口打印。"),
            retry_after_s=max(1, int((locked - clock.now()).total_seconds())),
        )
    rate.count(session, act="kiosk.look", subject=str(kiosk.id), at_most=LOOKS_AT_MOST, within=LOOKS_WITHIN)


def count_miss(session: Session, kiosk: Kiosk) -> None:
    """One number that nobody has, or one wrong confirmation; the machine is locked when there were too many."""
    try:
        rate.count(session, act="kiosk.miss", subject=str(kiosk.id), at_most=MISSES_AT_MOST, within=MISSES_WITHIN)
    except TooMany:
        session.execute(update(Kiosk).where(Kiosk.id == kiosk.id).values(locked_until=clock.now() + LOCKED_FOR))
        record(session, actor=f"kiosk:{kiosk.id}", action="kiosk.locked", aggregate=("kiosk", kiosk.code))


def _identify(session: Session, code: str) -> Shown | None:
    specimen = lookup.find(session, code)
    if specimen is not None:
        return Shown(How.SPECIMEN, identity.surviving_id(session, specimen.person_id), order_id=specimen.order_id)
    of_visit = {
        identity.surviving_id(session, each)
        for each in session.scalars(select(Order.person_id).where(Order.visit_number == code).distinct().limit(5))
    }
    if len(of_visit) == 1:
        return Shown(How.VISIT, of_visit.pop(), visit_number=code)
    person = match.by_card(session, code)
    if person is not None:
        return Shown(How.CARD, person.id)
    person = match.by_id_number(session, code) if is_citizen_number(code) else None
    return None if person is None else Shown(How.ID_NUMBER, person.id)


def open_visit(session: Session, kiosk: Kiosk, visit_id: uuid.UUID) -> KioskVisit:
    """The visit while it lasts, at its own machine; raises `NotFound` when it is over."""
    visit = session.scalar(
        select(KioskVisit).where(
            KioskVisit.id == visit_id,
            KioskVisit.kiosk_id == kiosk.id,
            KioskVisit.closed_at.is_(None),
            KioskVisit.expires_at > clock.now(),
        )
    )
    if visit is None:
        raise NotFound("kiosk.visit_over", N_("操作已结束，请重新扫描。"))
    return visit


def confirm(session: Session, kiosk: Kiosk, visit: KioskVisit, digits: str) -> bool:
    """Whether these are the last digits of the telephone on file; after the third wrong answer the visit is over.

    Raises `Conflict` where no telephone is on file: that patient goes to the window.
    """
    phone = people.get(session, visit.person_id).phone or ""
    if len(phone) < PHONE_DIGITS:
        leave(session, kiosk)
        raise Conflict("kiosk.no_phone", N_("档案中没有登记手机号，请扫描就诊卡或到窗口打印。"))
    right = hmac.compare_digest(digits.strip().encode(), phone[-PHONE_DIGITS:].encode())
    # One statement counts the try and refuses the fourth: two requests at once get no more than three answers.
    counted = session.scalar(
        update(KioskVisit)
        .where(KioskVisit.id == visit.id, KioskVisit.tries < TRIES, KioskVisit.closed_at.is_(None))
        .values(tries=KioskVisit.tries + 1, confirmed=right)
        .returning(KioskVisit.tries)
    )
    if counted is None:
        return False
    session.expire(visit)
    if not right:
        count_miss(session, kiosk)
        if counted >= TRIES:
            leave(session, kiosk)
    record(
        session,
        actor=f"kiosk:{kiosk.id}",
        action="kiosk.confirm",
        aggregate=("person", visit.person_id),
        after={"kiosk": kiosk.code, "right": right},
    )
    return right


def leave(session: Session, kiosk: Kiosk) -> None:
    """Whoever stood there is gone: nothing of theirs is shown any more."""
    session.execute(
        update(KioskVisit)
        .where(KioskVisit.kiosk_id == kiosk.id, KioskVisit.closed_at.is_(None))
        .values(closed_at=clock.now())
    )
