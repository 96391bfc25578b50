"""A crowd for one morning of numbers (`xinglin cloud seed-crowd`): signed-in phones, a department, released sessions.

For load tests. Refuses in production, for it makes sessions nobody signed in to.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import Iterator
from datetime import time, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.demo import NotInProduction
from cloud.hospital import service as hospital
from cloud.hospital.doctors import ensure_doctor
from cloud.hospital.release import at_hospital
from cloud.hospital.schedule_model import MOST_NUMBERS
from cloud.hospital.schedules import SessionWish, publish
from cloud.kit import clock
from cloud.kit.ids import new_id
from cloud.kit.jobs import Begin
from cloud.patient.identity.access import REALM, SIGNED_IN_FOR
from cloud.patient.identity.model import Binding, PatientAccount
from cloud.patient.registration import numbers
from cloud.patient.registration.model import RegistrationSettings
from cloud.people.access import FAMILY_SCOPES
from cloud.people.model import Person, PersonGrant
from cloud.web.cookies import full_name
from cloud.web.sessions import WebSession

BATCH = 1000
BY = "system"


def seed(begin: Begin, *, patients: int, sold: int, hold_s: int, out: Path) -> list[uuid.UUID]:
    """Write `out` (one JSON object: sessions, cookies) and return the clinic sessions' ids."""
    if settings().environment == "production":
        raise NotInProduction("seed-crowd signs people in by itself and never runs in production")
    with begin() as session:
        known = session.get(RegistrationSettings, 1) or RegistrationSettings(id=1)
        known.hold_s = hold_s
        session.add(known)
        clinics = [_clinic(session, at, size) for at, size in enumerate(_sizes(sold))]
    cookies: list[str] = []
    for at in range(0, patients, BATCH):
        with begin() as session:
            cookies += _people(session, at, min(BATCH, patients - at))
    told = {"sessions": [str(each) for each in clinics], "cookie": full_name(f"xl_{REALM}"), "phones": cookies}
    out.touch(mode=0o600)
    out.write_text(json.dumps(told), encoding="utf-8")
    return clinics


def _sizes(sold: int) -> Iterator[int]:
    while sold > 0:
        yield min(sold, MOST_NUMBERS)
        sold -= MOST_NUMBERS


def _clinic(session: Session, at: int, size: int) -> uuid.UUID:
    """An expert's morning of tomorrow, all its numbers free now."""
    department = hospital.ensure_department(session, code="CROWD", name="热门专科")
    department.bookable = True
    doctor = ensure_doctor(session, code=f"CROWD{at}", name="名专家", department_id=department.id, title="chief")
    day = clock.today() + timedelta(days=1)
    wish = SessionWish(
        code=f"CROWD-{new_id()}",
        department_id=department.id,
        doctor_id=doctor.id,
        day=day,
        half="morning",
        starts_at=at_hospital(day, time(8)),
        ends_at=at_hospital(day, time(12)),
        kind="expert",
        fee_fen=50_00,
        capacity=size,
        release_at=clock.now() - timedelta(minutes=1),
    )
    clinic = publish(session, wish, by=BY)
    numbers.make(session, clinic)
    return clinic.id


def _people(session: Session, begin_at: int, many: int) -> list[str]:
    """Persons, accounts, bindings, rights and open sessions in few statements; the sessions' cookies."""
    now = clock.now()
    rows: dict[Any, list[dict[str, Any]]] = {
        Person: [], PatientAccount: [], Binding: [], PersonGrant: [], WebSession: []
    }  # fmt: skip
    cookies = []
    for at in range(begin_at, begin_at + many):
        person, account, token = new_id(), new_id(), secrets.token_urlsafe(32)
        cookies.append(token)
        rows[Person].append(
            {"id": person, "created_at": now, "name": f"甲{at:05}", "initials": "j", "sex": "U", "kind": "identified"}
        )
        rows[PatientAccount].append(
            {"id": account, "created_at": now, "channel": "wechat", "app_id": settings().wechat_app_id,
             "open_id": f"crowd-{person.hex}", "seen_at": now}
        )  # fmt: skip
        rows[Binding].append(
            {"id": new_id(), "account_id": account, "person_id": person, "relation": "self", "method": "window",
             "by": BY, "bound_at": now}
        )  # fmt: skip
        rows[PersonGrant] += [
            {"id": new_id(), "account_id": account, "person_id": person, "scope": scope, "origin": "self", "by": BY,
             "state": "active", "granted_at": now}
            for scope in FAMILY_SCOPES
        ]  # fmt: skip
        rows[WebSession].append(
            {"id": new_id(), "created_at": now, "realm": REALM, "subject_id": account,
             "token_hash": hashlib.sha256(token.encode()).digest(), "data": {}, "seen_at": now,
             "expires_at": now + SIGNED_IN_FOR, "address": "crowd", "browser": "crowd"}
        )  # fmt: skip
    for table, values in rows.items():
        session.execute(insert(table), values)
    return cookies
