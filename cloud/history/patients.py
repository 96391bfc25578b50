"""Who comes, when and for what: a plan of visits, in the order of time, before any value is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

from cloud.history import draws

DAY = 86_400
CONDITIONS = ("", "renal", "liver", "diabetes", "anaemia", "heart")
_CONDITION_WEIGHTS = (62, 8, 8, 12, 6, 4)
KINDS = ("checkup", "chronic", "ward", "emergency")
_KIND_WEIGHTS = (42, 28, 22, 8)
TUBES = (
    ("CBC", "RENAL_ELEC"),
    ("CBC",),
    ("RENAL_ELEC",),
    ("LIVER_RENAL",),
    ("LIPID_HEART",),
    ("CBC", "LIVER_RENAL"),
    ("RENAL_ELEC", "URINE"),
    ("LIPID_HEART", "URINE"),
)
_TUBE_WEIGHTS = {
    "checkup": (8, 6, 18, 14, 26, 6, 10, 12),
    "chronic": (8, 4, 44, 10, 18, 2, 12, 2),
    "ward": (26, 10, 44, 10, 4, 4, 2, 0),
    "emergency": (34, 10, 40, 6, 8, 2, 0, 0),
}
"""How often which tubes are drawn together, by kind of visit."""


@dataclass(slots=True)
class Previous:
    """The last released value of a test: what the next one is compared with."""

    result_id: str
    text: str
    number: Decimal | None
    at: datetime
    at_text: str
    """The same for COPY."""

    @property
    def columns(self) -> str:
        return f"{self.result_id}\t{self.text}\t{self.at_text}"


@dataclass(slots=True)
class Patient:
    """One person's file and what makes the values of this person alike from one visit to the next."""

    number: int
    id: str
    name: str
    sex: str
    birth: date
    mrn: str
    condition: str
    severity: float
    own: dict[str, float] = field(default_factory=dict)
    """How far this person lies from the middle, by test, in standard deviations between persons."""
    last: dict[str, Previous] = field(default_factory=dict)
    retired_id: str | None = None
    """An older file of the same person, merged into this one later: earlier visits stand under it."""


@dataclass(frozen=True, slots=True)
class Visit:
    at: int
    """Seconds of the epoch at which the order was placed."""
    patient: Patient
    kind: str
    tubes: tuple[str, ...]
    under_old_file: bool = False


def plan(random: Random, *, specimens: int, start: int, end: int) -> tuple[list[Patient], list[Visit]]:
    """Patients and their visits, in time, with exactly so many tubes in all."""
    patients: list[Patient] = []
    visits: list[Visit] = []
    left = specimens
    while left > 0:
        patient = _patient(random, len(patients), start, end)
        patients.append(patient)
        kind = "chronic" if patient.number == 0 else random.choices(KINDS, _KIND_WEIGHTS)[0]
        days = _dialysis(start, end) if patient.number == 0 and specimens > 2000 else _days(random, kind, start, end)
        half = (start + end) // 2
        for at in days:
            tubes = random.choices(TUBES, _TUBE_WEIGHTS[kind])[0][:left]
            if not tubes:
                break
            left -= len(tubes)
            visits.append(Visit(at, patient, kind, tubes, patient.retired_id is not None and at < half))
    visits.sort(key=lambda each: each.at)
    return patients, visits


def _patient(random: Random, number: int, start: int, end: int) -> Patient:
    age = min(95, max(18, int(random.gauss(54, 17))))
    birth = datetime.fromtimestamp(end, UTC).date() - timedelta(
        days=age * 365 + random.randrange(365) + 4 + (end - start) // DAY
    )
    known_at = (start - DAY) * 1000
    return Patient(
        number=number,
        id=draws.uuid_at(random, known_at),
        name=draws.name(random),
        sex=random.choice("MF"),
        birth=birth,
        mrn=f"TEST{number + 1:08d}",
        condition="renal" if number == 0 else random.choices(CONDITIONS, _CONDITION_WEIGHTS)[0],
        severity=random.random(),
        retired_id=draws.uuid_at(random, known_at) if number % 400 == 7 else None,
    )


def _dialysis(start: int, end: int) -> list[int]:
    """One patient with very many visits: three times a week, for as long as the history goes."""
    return [day * DAY + 23 * 3600 for day in range(start // DAY, end // DAY) if day % 7 in (0, 2, 4)]


def _days(random: Random, kind: str, start: int, end: int) -> Iterator[int]:
    span = (end - start) // DAY or 1
    if kind == "checkup":
        for _ in range(random.choice((1, 1, 1, 2))):
            yield _moment(random, start, end, random.randrange(span), draws.OUTPATIENT_HOURS)
    elif kind == "chronic":
        every = random.randint(14, 75)
        for day in range(random.randrange(every), span, every):
            yield _moment(random, start, end, day, draws.OUTPATIENT_HOURS)
    elif kind == "ward":
        first, stay = random.randrange(span), random.randint(3, 16)
        for day in range(first, min(span, first + stay), random.choice((1, 1, 2))):
            yield _moment(random, start, end, day, draws.WARD_HOURS)
    else:
        day = random.randrange(span)
        first_at = _moment(random, start, end, day, draws.EMERGENCY_HOURS)
        yield first_at
        if random.random() < 0.35 and first_at + 4 * 3600 < end:
            yield first_at + random.randint(2, 4) * 3600


def _moment(random: Random, start: int, end: int, day: int, hours: tuple[int, ...]) -> int:
    """On that day of the history, fewer at weekends; `hours` are those of Shanghai."""
    first = start // DAY * DAY
    at = first + day * DAY + draws.second_of_day(random, hours) - 8 * 3600
    weekday = (at // DAY + 3) % 7
    if weekday >= 5 and random.random() < 0.55:
        at += DAY * (7 - weekday)
    return max(start, min(end - 1, at))
