"""Bills that were typed by hand and can still be taken back."""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.billing.model import Charge, ChargeState
from cloud.people.access import Subject, visible_to


def open_by_hand(session: Session, subject: Subject, person_id: uuid.UUID) -> list[Charge]:
    """This patient's, newest first."""
    return list(
        session.scalars(
            select(Charge)
            .where(
                Charge.person_id == person_id,
                Charge.person_id.in_(visible_to(subject)),
                Charge.source == "manual",
                Charge.state == ChargeState.PAYABLE,
            )
            .order_by(Charge.made_at.desc())
        )
    )
