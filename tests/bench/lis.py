"""``./xinglin bench lis``: how long the laboratory's pages take on a database with a long past.

The real application (uvicorn, HTTP, sessions, templates) on the PostgreSQL that XINGLIN_DATABASE_URL or
XINGLIN_STATE_DIR names, which ``./xinglin cloud load-history`` has filled; one browser asks one page after the other.
Times are from the request's first byte to the answer's last, in milliseconds. Every statement that takes longer than
``--slow`` is run again under EXPLAIN (ANALYZE, BUFFERS) and its plan is printed. Nothing is stored but an account
"bench-director" and its sessions, and what opening a page stores by itself.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import re
import secrets
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlencode

import structlog
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from cloud import config
from cloud.app import load_slices, settle_memory
from cloud.kit import clock, db, verify
from cloud.kit.db import begin
from cloud.staff import service as staff
from tests.support.site import Visitor, running_site

LOGIN = "bench-director"
AIM_MS = 100


@dataclass(slots=True)
class Slow:
    """The slowest run of one statement."""

    seconds: float
    page: str
    statement: str
    parameters: object
    times: int = 1


@dataclass(slots=True)
class Watch:
    """Listens to every statement of the application."""

    slow_s: float
    page: str = ""
    statements: int = 0
    seconds: float = 0.0
    slow: dict[str, Slow] = field(default_factory=dict)

    def listen(self) -> None:
        engine = db.engine()
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)

    def _before(
        self, _connection: object, _cursor: object, _sql: str, _values: object, context: object, _: bool
    ) -> None:
        context.bench_started = time.perf_counter()  # type: ignore[attr-defined]

    def _after(self, _c: object, _cursor: object, sql: str, values: object, context: object, _: bool) -> None:
        took = time.perf_counter() - context.bench_started  # type: ignore[attr-defined]
        self.statements += 1
        self.seconds += took
        if took < self.slow_s or not self.page:
            return
        key = re.sub(r"_\d+(_\d+)?", "", sql)[:4000]
        found = self.slow.get(key)
        if found is None:
            self.slow[key] = Slow(took, self.page, sql, values)
        else:
            found.times += 1
            if took > found.seconds:
                found.seconds, found.page, found.statement, found.parameters = took, self.page, sql, values


@dataclass(frozen=True, slots=True)
class Sample:
    """Who and what is asked for; drawn with a seed from what is there."""

    open_specimens: list[str]
    specimens: list[str]
    barcodes: list[str]
    persons: list[str]
    heaviest: str
    numbers: list[str]
    initials: list[str]
    names: list[str]
    doctors: list[str]
    departments: list[str]
    reports: list[str]
    orders: list[str]
    days: list[str]


def sample(session: Session, seed: int) -> Sample:
    def column(sql: str, **values: object) -> list[str]:
        return [str(row[0]) for row in session.execute(text(sql), values)]

    some = "TABLESAMPLE SYSTEM (:share) REPEATABLE (:seed)"
    total = session.execute(text("SELECT reltuples FROM pg_class WHERE relname = 'lab_specimen'")).scalar_one()
    share = min(100.0, 40_000 / max(1.0, total / 100) if total > 4000 else 100.0)
    draw = {"share": share, "seed": seed}
    opened = (
        "SELECT specimen_id FROM lab_result WHERE chosen AND NOT after_release AND state IN ('received', 'reviewed')"
        " GROUP BY 1 LIMIT 400"
    )
    today = clock.today()
    return Sample(
        open_specimens=column(opened),
        specimens=column(f"SELECT id FROM lab_specimen {some} LIMIT 400", **draw),
        barcodes=column(f"SELECT barcode FROM lab_specimen {some} LIMIT 400", **draw),
        persons=column(f"SELECT DISTINCT person_id FROM lab_report {some} LIMIT 400", **draw),
        heaviest=column(
            "SELECT person_id FROM lab_report WHERE released_at > now() - interval '40 days'"
            " GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
        )[0],
        numbers=column(f"SELECT value FROM person_identifier {some} LIMIT 400", **draw),
        initials=column(f"SELECT initials FROM person {some} WHERE length(initials) = 3 LIMIT 400", **draw),
        names=column(f"SELECT name FROM person {some} LIMIT 400", **draw),
        doctors=column("SELECT DISTINCT ordered_by FROM lab_order WHERE ordered_at > now() - interval '10 days'"),
        departments=column("SELECT code FROM department"),
        reports=column(f"SELECT id FROM lab_report {some} LIMIT 400", **draw),
        orders=column(f"SELECT id FROM lab_order {some} LIMIT 400", **draw),
        days=[(today - timedelta(days=each)).isoformat() for each in range(1, 300, 7)],
    )


def pages(known: Sample, draw: random.Random) -> dict[str, Callable[[], str]]:
    """Addresses by the name of the page; each call draws another one."""
    one = draw.choice

    def query(**fields: str) -> str:
        return "/staff/lis/query?" + urlencode(fields)

    found: dict[str, Callable[[], str]] = {
        "home (work list)": lambda: "/staff",
        "review queue": lambda: "/staff/lis/review",
        "review queue, one section": lambda: "/staff/lis/review?section=chemistry",
        "review screen, open": lambda: f"/staff/lis/review/{one(known.open_specimens)}",
        "review screen, done": lambda: f"/staff/lis/review/{one(known.specimens)}",
        "orders": lambda: "/staff/lis/orders",
        "specimen timeline": lambda: f"/staff/lis/specimens/{one(known.barcodes)}",
        "unmatched": lambda: "/staff/lis/unmatched",
        "reports of a day": lambda: f"/staff/lis/reports?day={one(known.days)}",
        "report": lambda: f"/staff/lis/reports/{one(known.reports)}",
        "critical values": lambda: "/staff/lis/critical",
        "turnaround": lambda: "/staff/lis/turnaround",
        "patient over time": lambda: f"/staff/lis/cumulative/{one(known.persons)}",
        "patient over time, the heaviest": lambda: f"/staff/lis/cumulative/{known.heaviest}",
        "query: a month": lambda: query(state="done"),
        "query: barcode": lambda: query(barcode=one(known.barcodes)),
        "query: number": lambda: query(patient=one(known.numbers)),
        "query: initials": lambda: query(patient=one(known.initials)),
        "query: name": lambda: query(patient=one(known.names)),
        "query: doctor": lambda: query(doctor=one(known.doctors)),
        "query: department, a day": lambda: query(department="SNK", since=(day := one(known.days)), until=day),
        "query: critical potassium, a year": lambda: query(test="K", flag="HH", since=known.days[-1]),
        "query: high glucose": lambda: query(test="GLU", flag="H"),
        "query: creatinine over 600, a year": lambda: query(test="CREA", low="600", since=known.days[-1]),
        "query: haemoglobin 100 to 110, ward": lambda: query(test="HGB", low="100", high="110", department="SNB"),
        "query: analyzer and flag": lambda: query(instrument="H-XN1", flag="L"),
        "query: urgent and critical": lambda: query(priority="S", flag="critical"),
        "query: nothing fits": lambda: query(test="K", low="90", since=known.days[-1]),
    }
    needs = {"review screen, open": known.open_specimens, "query: doctor": known.doctors}
    return {name: address for name, address in found.items() if needs.get(name, True)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=40, help="of each page")
    parser.add_argument("--slow", type=float, default=40.0, help="statements above so many ms are explained")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="pages whose name holds this")
    parser.add_argument("--audit", action="store_true", help="time verify-audit too")
    arguments = parser.parse_args()
    os.environ.setdefault("XINGLIN_ENVIRONMENT", "demo")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    config.settings.cache_clear()
    load_slices()
    password = secrets.token_urlsafe(18)
    with begin() as session:
        _account(session, password)
        known = sample(session, arguments.seed)
        sizes = _sizes(session)
    print("; ".join(f"{count:,} {name}" for name, count in sizes.items()))
    watch = Watch(arguments.slow / 1000)
    watch.listen()
    draw = random.Random(arguments.seed)
    worst = 0.0
    with running_site() as site:
        settle_memory()
        visitor = site.visitor()
        assert visitor.sign_in(LOGIN, password).status_code == 200
        heads = "".join(f"{each:>8}" for each in ("p50", "p95", "p99", "max", "CPU", "SQL", "in SQL"))
        print(f"{'page':<40}{heads}   ms, of {arguments.requests}")
        for name, address in pages(known, draw).items():
            if arguments.only in name:
                worst = max(worst, _measure(visitor, name, address, arguments.requests, watch))
    print(f"worst p95: {worst:.1f} ms (aim: under {AIM_MS})")
    _explain(watch)
    if arguments.audit:
        _audit()
    return 0


def _account(session: Session, password: str) -> None:
    found = staff.account_by_login(session, LOGIN)
    if found is None:
        staff.create_account(session, login=LOGIN, name="测速", password=password, roles=("director",))
        return
    staff.reset_password(session, found.id, new=password, by="system")
    found.must_change_password = False


def _sizes(session: Session) -> dict[str, int]:
    tables = ("lab_specimen", "lab_result", "lab_report", "person", "audit_entry", "event")
    sql = "SELECT reltuples::bigint FROM pg_class WHERE relname = :name"
    return {each: session.execute(text(sql), {"name": each}).scalar_one() for each in tables}


def _measure(visitor: Visitor, name: str, address: Callable[[], str], requests: int, watch: Watch) -> float:
    visitor.get(address())  # the first pays for templates and statements
    watch.page, statements, in_sql = name, watch.statements, watch.seconds
    taken: list[float] = []
    cpu = time.process_time()
    for _ in range(requests):
        target = address()
        started = time.perf_counter()
        response = visitor.http.get(target)
        taken.append((time.perf_counter() - started) * 1000)
        if response.status_code != 200:
            print(f"{name:<40} {response.status_code} at {target}")
            return 0.0
    watch.page = ""
    cpu = 1000 * (time.process_time() - cpu) / requests
    taken.sort()
    p95 = taken[max(0, round(0.95 * len(taken)) - 1)]
    p99 = taken[max(0, round(0.99 * len(taken)) - 1)]
    each, sql = (watch.statements - statements) / requests, 1000 * (watch.seconds - in_sql) / requests
    figures = (statistics.median(taken), p95, p99, taken[-1], cpu, each, sql)
    line = f"{name:<40}" + "".join(f"{figure:>8.1f}" for figure in figures)
    print(line + ("" if p95 < AIM_MS else "   <-- over the aim"), flush=True)
    return p95


def _explain(watch: Watch) -> None:
    for found in sorted(watch.slow.values(), key=lambda each: -each.seconds)[:12]:
        print(f"\n-- {found.seconds * 1000:.0f} ms, {found.times} times slow, on {found.page}")
        print(" ".join(found.statement.split())[:1500])
        if not found.statement.lstrip().upper().startswith(("SELECT", "WITH")):
            continue
        with begin() as session:
            cursor = session.connection().connection.cursor()
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS) " + found.statement, found.parameters)  # type: ignore[arg-type]
            print("\n".join(str(row[0]) for row in cursor.fetchall()))


def _audit() -> None:
    started = time.perf_counter()
    verdict = verify.verify(begin)
    took = time.perf_counter() - started
    print(
        f"verify-audit: {verdict.entries:,} entries in {verdict.chains:,} chains, {verdict.seals} seals,"
        f" in {took:.1f} s ({verdict.entries / took:,.0f} entries/s): {'intact' if verdict.intact else 'TAMPERED'}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
