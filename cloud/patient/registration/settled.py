"""What the hospital has settled for registration, read anew in each unit of work."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from types import MappingProxyType
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit.audit import record
from cloud.kit.errors import Invalid
from cloud.patient.registration.model import RegistrationSettings
from cloud.patient.registration.rules import SHORTEST_HOLD, Limits
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

FIELDS: dict[str, tuple[int, int]] = {
    "hold_s": (int(SHORTEST_HOLD.total_seconds()), 3600),
    "open_per_person": (1, 20),
    "per_department_day": (1, 10),
    "per_doctor_day": (1, 10),
    "per_day": (1, 20),
    "per_month": (1, 60),
    "cancel_before_minutes": (0, 7 * 24 * 60),
    "changes_per_booking": (0, 10),
    "return_min_minutes": (0, 120),
    "return_max_minutes": (0, 240),
    "offer_minutes": (6, 240),
    "waiting_per_session": (0, 500),
    "no_shows": (0, 20),
    "no_show_days": (1, 730),
    "blocked_days": (1, 730),
    "choose_hours": (1, 168),
}
"""Each with its least and its most."""


def of(session: Session) -> RegistrationSettings:
    """The row, or the defaults."""
    found = session.get(RegistrationSettings, 1)
    if found is not None:
        return found
    defaults = {column.name: column.default.arg for column in RegistrationSettings.__table__.columns}
    return RegistrationSettings(**defaults)


def limits(session: Session) -> Limits:
    known = of(session)
    return Limits(
        open_per_person=known.open_per_person,
        per_department_day=known.per_department_day,
        per_doctor_day=known.per_doctor_day,
        per_day=known.per_day,
        per_month=known.per_month,
    )


def change(
    session: Session,
    wanted: dict[str, int | bool | time],
    *,
    by: str,
    names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Settle anew. Raises `Invalid` for a number outside its bounds, called by its word in `names`."""
    for name, value in wanted.items():
        if name in FIELDS:
            least, most = FIELDS[name]
            if not isinstance(value, int) or not least <= value <= most:
                raise Invalid(
                    "registration.setting",
                    N_("“{name}”应在 {least} 到 {most} 之间。"),
                    name=_(names.get(name, name)),
                    least=least,
                    most=most,
                )
    known = of(session)
    before = {name: getattr(known, name) for name in wanted}
    least_return = wanted.get("return_min_minutes", known.return_min_minutes)
    if int(least_return) > int(wanted.get("return_max_minutes", known.return_max_minutes)):  # type: ignore[arg-type]
        raise Invalid("registration.setting_order", N_("退号放出的最短时间不能大于最长时间。"))
    everything = {column.name: getattr(known, column.name) for column in RegistrationSettings.__table__.columns}
    statement = insert(RegistrationSettings).values({**everything, **wanted})
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=dict(wanted)))
    session.expire_all()
    record(
        session,
        actor=by,
        action="registration.settings",
        aggregate=("registration_settings", 1),
        before=_told(before),
        after=_told(wanted),
    )


def _told(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, time) else value for name, value in values.items()}
