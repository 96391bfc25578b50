"""While these are open an account keeps the person: a number held or booked, a place in a line, money on its way.

A number booked at a window is nobody's phone's and hinders no account.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.patient.identity import hindrances
from cloud.patient.identity.hindrances import Hindrance
from cloud.patient.registration.model import Booking, BookingState, WaitingEntry
from cloud.payments.model import Payment, Refund, RefundState
from cloud.web.i18n import mark as N_

TO_COME = (BookingState.CONFIRMED, BookingState.STOPPED)
UNDER_WAY = (BookingState.HELD, BookingState.PAYING, BookingState.CONFIRMING, BookingState.CANCELLING)
ON_ITS_WAY = tuple(each for each in RefundState if each not in (RefundState.DONE, RefundState.DROPPED))


def booked(session: Session, account_id: uuid.UUID, persons: Collection[uuid.UUID]) -> bool:
    """A booking that this account made for the person and that is not over, or one that is still paid for."""
    mine = (Booking.account_id == account_id, Booking.person_id.in_(persons))
    live = or_(Booking.state.in_(UNDER_WAY), and_(Booking.state.in_(TO_COME), Booking.day >= clock.today()))
    return bool(session.scalar(select(exists().where(*mine, live))))


def refunding(session: Session, account_id: uuid.UUID, persons: Collection[uuid.UUID]) -> bool:
    """Its fee is on its way back to this account."""
    found = (
        select(Refund.id)
        .join(Payment, Payment.id == Refund.payment_id)
        .join(Booking, Booking.id == Payment.subject_id)
        .where(Payment.payer_key == str(account_id), Booking.person_id.in_(persons), Refund.state.in_(ON_ITS_WAY))
    )
    return bool(session.scalar(select(found.exists())))


def waiting(session: Session, account_id: uuid.UUID, persons: Collection[uuid.UUID]) -> bool:
    entry = and_(
        WaitingEntry.account_id == account_id,
        WaitingEntry.person_id.in_(persons),
        WaitingEntry.state.in_(("waiting", "offered")),
    )
    return bool(session.scalar(select(exists().where(entry))))


hindrances.register(
    Hindrance("bookings", N_("这位患者还有未完成的挂号。请先在“我的挂号”里退号，或就诊之后再解除绑定。"), booked)
)
hindrances.register(
    Hindrance("fee", N_("这位患者的挂号费正在退回。请等退款到账后再解除绑定，进度见“我的交易”。"), refunding)
)
hindrances.register(Hindrance("waiting", N_("这位患者还在候补排队。请先在“我的挂号”里退出候补，再解除绑定。"), waiting))
