"""`./xinglin cloud load-history`: plan, world, rows, COPY; then the audit trail is sealed and the tables are analysed.

Rows are drawn by several processes and copied by this one in one transaction: killed in the middle, nothing of them is
there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psycopg
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.gateways.model import GatewayStatus
from cloud.gateways.service import register_gateway
from cloud.history import draws, values
from cloud.history.chronicle import Chronicle
from cloud.history.copying import Sheet, begin_anew, put_indexes_aside, skip_references, text_of
from cloud.history.lanes import Lane, beside, cursor_sheet, in_turns
from cloud.history.patients import Patient, Visit, plan
from cloud.history.verdicts import Channel, Verdicts
from cloud.history.world import Analyzer, Place, Signer, Tested, World
from cloud.hospital import service as hospital
from cloud.kit import clock, seal
from cloud.kit.audit import AuditChain, AuditEntry, body, chained_hash
from cloud.kit.db import begin, engine
from cloud.kit.live import libpq_url
from cloud.kit.sealed import seal as sealed
from cloud.lis.catalog import load as catalog
from cloud.lis.catalog.model import Panel, PanelTest, Test
from cloud.lis.instruments import service as instruments
from cloud.lis.turnaround import times as turnaround
from cloud.people.model import Person, PersonIdentifier, PersonLink, PersonVersion, id_number_index, phone_index
from cloud.people.pinyin import initials_of
from cloud.staff.model import StaffAccount
from protocols.driver import discover
from protocols.uplink.versions import version_of

GATEWAY = "history-box"
LANES = 8
"""Patients are dealt to so many lanes, which the processes share: how many there are changes no value."""
NEVER_TRUNCATED = {"audit_entry", "audit_chain"}
FEW = 5_000
"""Orders that are drawn in one process and go past the indexes as they are."""
A_DAY = 2_700
"""Specimens a day of the made-up hospital, when nothing else is said: about a million a year."""
OPEN_SECONDS = 5 * 3600
"""What was ordered this short before the end is still on its way through the laboratory."""
DEPARTMENTS = {
    "checkup": (("TJ", "体检中心"), ("NK", "内科门诊")),
    "chronic": (("SNK", "肾内科门诊"), ("XNK", "心内科门诊"), ("NFM", "内分泌科门诊"), ("XHK", "消化内科门诊")),
    "ward": (("XNB", "心内科病区"), ("SNB", "肾内科病区"), ("PWB", "普外科病区"), ("ICU", "重症医学科")),
    "emergency": (("JZ", "急诊科"),),
}  # fmt: skip
TECHNICIANS = ("历史-甲技师", "历史-乙技师", "历史-丙技师", "历史-丁技师")
REVIEWERS = ("历史-审核一", "历史-审核二", "历史-审核三")
EXTRA_CHANNELS = ("K", "NA", "CL")
"""Of the ion-selective unit, which the chemistry preset does not name."""
CODES = sorted({code for codes, _ in values.TUBES.values() for code in codes})


class NotInProduction(RuntimeError):
    """A made-up past must never stand among real patients."""


class AlreadyThere(RuntimeError):
    """One history is enough: loading is not adding."""


@dataclass(frozen=True, slots=True)
class Loaded:
    counts: dict[str, int]
    seconds: dict[str, float]


def run(
    specimens: int, *, seed: int = 1, days: int | None = None, until: datetime | None = None,
    say: Callable[[str], None] = lambda _: None, seal_after: bool = True,
) -> Loaded:  # fmt: skip
    """Load so many specimens that end at `until` (now). Raises `NotInProduction`, `AlreadyThere`."""
    if settings().environment == "production":
        raise NotInProduction("load-history makes people up; XINGLIN_ENVIRONMENT=production refuses it")
    started = time.perf_counter()
    random = Random(seed)  # noqa: S311 - a history to look at, no secret
    end = until or clock.now()
    span = days or max(14, round(specimens / A_DAY))
    with begin() as session:
        world = _world(session, end - timedelta(days=span + 30))
        tests = {each.code: each for each in session.scalars(select(Test).where(Test.code.in_(world.tests)))}
        verdicts = Verdicts(session, tests, clock.today())
    patients, visits = plan(
        random, specimens=specimens, start=int((end - timedelta(days=span)).timestamp()), end=int(end.timestamp())
    )
    say(f"{len(patients)} patients, {len(visits)} orders, {specimens} specimens in {span} days, seed {seed}")
    seconds = {"plan": time.perf_counter() - started}
    lanes = [
        Lane(
            lane,
            GATEWAY,
            Chronicle(
                world,
                verdicts,
                Random(f"{seed}/{lane}"),  # noqa: S311
                open_after=int(end.timestamp()) - OPEN_SECONDS,
                lane=lane,
                lanes=LANES,
            ),
            [each for each in visits if each.patient.number % LANES == lane],
        )
        for lane in range(LANES)
    ]
    counts = _copy(lanes, _files(patients, visits, random, end), len(visits), say, seconds)
    at = time.perf_counter()
    for day in range(span + 2):
        with begin() as session:
            since = end - timedelta(days=span - day + 1)
            turnaround.refresh_between(session, since, since + timedelta(days=1))
    seconds["turnaround"] = time.perf_counter() - at
    if seal_after:
        at = time.perf_counter()
        while seal.seal(begin) is not None:
            pass
        seconds["seal"] = time.perf_counter() - at
    seconds["whole"] = time.perf_counter() - started
    return Loaded(counts, seconds)


# ---------------------------------------------------------------------- the world before the first patient


def _world(session: Session, since: datetime) -> World:
    if session.execute(text("SELECT 1 FROM gateway WHERE id = :id"), {"id": GATEWAY}).first():
        raise AlreadyThere("a history is loaded already; start with an empty database for another one")
    catalog.load(session)
    session.flush()
    campus = hospital.main_campus(session)
    box = register_gateway(session, id=GATEWAY, name="历史数据（演示）", campus_id=campus.id, partition=0)
    box.state = GatewayStatus.LOCKED_OUT
    tests = {each.code: Tested.of(each) for each in session.scalars(select(Test).where(Test.code.in_(CODES)))}
    places = {kind: tuple(_place(session, code, name) for code, name in known) for kind, known in DEPARTMENTS.items()}
    return World(
        hospital=settings().hospital_name,
        campus=campus.name,
        tests=tests,
        panels=_panels(session),
        places=places,
        technicians=_signers(session, TECHNICIANS, "technician", since),
        reviewers=_signers(session, REVIEWERS, "reviewer", since),
        counts=tuple(_analyzer(session, f"H-XN{n}", "sysmex_xn", "hematology") for n in (1, 2)),
        chemistry=tuple(_analyzer(session, f"H-BS{n}", "mindray_bs", "chemistry") for n in (1, 2, 3)),
        gateway=GATEWAY,
    )


def _place(session: Session, code: str, name: str) -> Place:
    made = hospital.ensure_department(session, code=code, name=name)
    doctors = Random(code)  # noqa: S311
    return Place(str(made.id), made.name, str(made.campus_id), tuple(f"{draws.name(doctors)}医生" for _ in range(6)))


def _signers(session: Session, names: Sequence[str], role: str, since: datetime) -> tuple[Signer, ...]:
    return tuple(_signer(session, f"history-{role}-{n}", name, role, since) for n, name in enumerate(names, 1))


def _signer(session: Session, login: str, name: str, role: str, since: datetime) -> Signer:
    """Somebody who signed, known since before the first patient came. Nobody knows a password, none fits."""
    account = StaffAccount(login=login, name=name, password_hash="!", roles=[role], created_at=since)  # noqa: S106
    session.add(account)
    session.flush()
    aggregate, after = str(account.id), {"login": login, "name": name, "roles": [role]}
    digest = chained_hash(b"", 1, body("staff", aggregate, since, "system", "staff.create", None, after, None))
    chain = {"kind": "staff", "aggregate_id": aggregate, "number": 1, "hash": digest}
    session.add(AuditChain(**chain))
    session.add(AuditEntry(**chain, at=since, actor="system", action="staff.create", after=after))
    return Signer(account.id, account.name)


def _analyzer(session: Session, code: str, driver: str, section: str) -> Analyzer:
    made = instruments.register(
        session, code=code, name=f"{driver} {code}（历史）", gateway=GATEWAY, link=code.lower(), driver=driver,
        section=section, preset=driver, by="system",
    )  # fmt: skip
    if driver == "mindray_bs":
        for test in EXTRA_CHANNELS:
            instruments.map_channel(
                session, made.id, instruments.Channel(code=f"ISE-{test}", test=test, unit="mmol/L"), by="system"
            )
    names = {each.id: each.code for each in session.scalars(select(Test))}
    channels = {
        names[each.test_id]: Channel(each.code, each.unit, each.factor)
        for each in instruments.channels(session, made.id)
        if each.test_id is not None
    }
    return Analyzer(str(made.id), made.link, driver, version_of(discover()[driver]), channels)


def _panels(session: Session) -> dict[str, tuple[str, str, frozenset[str]]]:
    found: dict[str, tuple[str, str, set[str]]] = {}
    rows = session.execute(
        select(Panel.code, Panel.id, Panel.name, Test.code.label("test"))
        .join(PanelTest, PanelTest.panel_id == Panel.id)
        .join(Test, Test.id == PanelTest.test_id)
    )
    for row in rows:
        found.setdefault(row.code, (str(row.id), row.name, set()))[2].add(row.test)
    return {code: (id_, name, frozenset(tests)) for code, (id_, name, tests) in found.items()}


# ---------------------------------------------------------------------- rows on their way


def _copy(
    lanes: list[Lane], people: list[Sheet], orders: int, say: Callable[[str], None], seconds: dict[str, float]
) -> dict[str, int]:
    big = orders > FEW
    sheets = [*lanes[0].chronicle.sheets(), cursor_sheet()]
    tables = [each.table for each in (*people, *sheets)]
    streams = beside(lanes, max(2, os.cpu_count() or 1)) if big else [each.batches() for each in lanes]
    written: dict[int, dict[str, int]] = {}
    url = libpq_url(engine().url.render_as_string(hide_password=False))
    with psycopg.connect(url) as connection:
        skip_references(connection)
        anew = begin_anew(connection, [each for each in tables if each not in NEVER_TRUNCATED]) if big else set()
        aside = put_indexes_aside(connection, tables) if big else []
        at = said = time.perf_counter()
        counts = {"patients": 0}
        for sheet in people:
            rows = sheet.take()
            counts["patients"] += rows.count(b"\n") * (sheet is people[0])
            _send(connection, sheet, rows, anew)
        for lane, texts, so_far in in_turns(streams):
            for sheet, rows in zip(sheets, texts, strict=False):
                _send(connection, sheet, rows, anew)
            written[lane] = so_far
            if time.perf_counter() - said > 10:
                said = time.perf_counter()
                done = sum(each["specimens"] for each in written.values())
                say(f"{done} specimens, {done / (said - at):.0f}/s")
        seconds["copy"] = time.perf_counter() - at
        at = time.perf_counter()
        connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
        for definition in aside:
            connection.execute(definition.encode())
        seconds["indexes"] = time.perf_counter() - at
    at = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        for table in tables:
            connection.execute(f'VACUUM (ANALYZE) "{table}"'.encode())
    seconds["vacuum"] = time.perf_counter() - at
    return counts | {name: sum(each[name] for each in written.values()) for name in written[0]}


def _send(connection: psycopg.Connection[Any], sheet: Sheet, rows: bytes, anew: set[str]) -> None:
    if rows:
        with connection.cursor().copy(sheet.statement(frozen=sheet.table in anew)) as copy:
            copy.write(rows)


def _files(patients: list[Patient], visits: list[Visit], random: Random, end: datetime) -> list[Sheet]:
    """The persons' files with a first version, their numbers, and the old files that were merged."""
    names = "name sex birth_date phone phone_index id_number id_number_index kind status version initials"
    persons = Sheet(Person, f"id created_at {names}")
    numbers = Sheet(PersonIdentifier, "id created_at person_id system value")
    versions = Sheet(PersonVersion, "id person_id version details by recorded_at")
    links = Sheet(PersonLink, "id retired_id surviving_id reason by linked_at")
    first = datetime.fromtimestamp(visits[0].at, UTC) - timedelta(days=1)
    at = text_of(first)
    half = first + (end - first) / 2
    for each in patients:
        phone, citizen = draws.phone(each.number), draws.citizen_number(each.birth, each.number)
        files = [(each.id, "active", each.mrn)]
        if each.retired_id is not None:
            files.append((each.retired_id, "merged", f"{each.mrn}B"))
        for file, status, mrn in files:
            persons.add(
                file, at, each.name, each.sex, each.birth.isoformat(), text_of(sealed(phone, "person.phone")),
                phone_index(phone), text_of(sealed(citizen, "person.id_number")), id_number_index(citizen),
                "identified", status, "1", initials_of(each.name),
            )  # fmt: skip
            details = json.dumps(
                {
                    "name": each.name, "sex": each.sex, "birth_date": each.birth.isoformat(), "phone": phone,
                    "id_number": citizen, "kind": "identified", "mother_id": None,
                },
                ensure_ascii=False,
            )  # fmt: skip
            version = draws.uuid_at(random, int(first.timestamp() * 1000))
            versions.add(version, file, "1", text_of(sealed(details, "person.version")), "his", at)
            for system, number in (("mrn", mrn), ("card", f"TC{mrn[4:]}")):
                numbers.add(draws.uuid_at(random, int(first.timestamp() * 1000)), at, file, system, number)
        if each.retired_id is not None:
            links.add(
                draws.uuid_at(random, int(half.timestamp() * 1000)), each.retired_id, each.id, "同一人两份档案", "his",
                text_of(half),
            )  # fmt: skip
    return [persons, numbers, versions, links]
