"""Which reference range and which critical limit hold for one person, specimen and measurement. Pure.

What the order says of cycle and pregnancy chooses; an instrument never does. Where a test's ranges ask for a phase that
nobody told, none is taken: the ranges of all phases are shown and the value stands without a flag.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Generic, TypeVar

from cloud.lis.catalog.model import CriticalLimit, Phase, ReferenceRange
from cloud.lis.catalog.rules import NO_END, covers, is_valid

_PHASES = tuple(Phase)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when a range is chosen."""

    sex: str
    age_days: int | None
    phase: str = ""
    """A `Phase`; "" when nobody told."""
    gestation_weeks: int | None = None
    """Completed weeks on the day of collection."""
    specimen_type: str = ""
    method: str = ""
    instrument: str = ""
    """Code of the analyzer; "" for a value typed in."""
    department_id: uuid.UUID | None = None
    diagnosis: str = ""
    timing: str = ""
    """Drawn so long after a meal, a load or a dose (`orders.timing`), where the test itself does not always ask it:
    no range of the catalogue is made for such a value."""

    def __post_init__(self) -> None:
        if self.gestation_weeks is not None and not self.phase:
            object.__setattr__(self, "phase", Phase.PREGNANT.value)

    def to_json(self) -> dict[str, Any]:
        """What chose a range, as it is kept with the result: of the person nothing but what a range asks for."""
        told = {
            "sex": self.sex,
            "age_days": self.age_days,
            "phase": str(self.phase),
            "gestation_weeks": self.gestation_weeks,
            "specimen_type": self.specimen_type,
            "method": self.method,
            "instrument": self.instrument,
            "timing": self.timing,
        }
        return {name: value for name, value in told.items() if value not in ("", None)}


def weeks_on(weeks: int | None, told_on: date, on: date) -> int | None:
    """Weeks of pregnancy on the day of collection, from what was told on the day of the order."""
    if weeks is None:
        return None
    return max(0, weeks + (on - told_on).days // 7)


B = TypeVar("B", bound=ReferenceRange | CriticalLimit)


@dataclass(frozen=True, slots=True)
class Choice(Generic[B]):
    """The band to judge by; or, where a phase would have to be known, none and the bands of all phases to show."""

    band: B | None
    open: tuple[B, ...] = ()


def choose_range(bands: Iterable[ReferenceRange], facts: Facts, on: date) -> Choice[ReferenceRange]:
    """The range for `facts` on that day. Approved goes before draft; then this analyzer, this method, this week of
    pregnancy, this phase, this sex, this specimen before "any"; then the narrower age, the narrower weeks, the newer
    version. A value drawn some time after a meal, a load or a dose has none."""
    if facts.timing:
        return Choice(None)
    fitting = [each for each in bands if is_valid(each, on) and _fits(each, facts)]
    plain = [each for each in fitting if not _asks_cycle(each) or _told(each, facts)]
    best = max(plain, key=_rank, default=None)
    untold = [each for each in fitting if _asks_cycle(each) and not _told(each, facts) and _possible(each, facts)]
    if not untold:
        return Choice(best)
    widest = max(_rank_untold(each) for each in untold)
    if best is not None and _rank_untold(best) >= widest:
        return Choice(best)
    return Choice(None, _one_of_each(each for each in untold if _rank_untold(each) == widest))


def _fits(band: ReferenceRange, facts: Facts) -> bool:
    """Everything but cycle and pregnancy."""
    return (
        covers(band, facts.sex, facts.age_days)
        and band.specimen_type in ("", facts.specimen_type)
        and band.method in ("", facts.method)
        and band.instrument in ("", facts.instrument)
    )


def _pregnancy(band: ReferenceRange) -> bool:
    return band.gestation_min_weeks is not None or band.gestation_max_weeks is not None


def _asks_cycle(band: ReferenceRange) -> bool:
    return bool(band.phase) or _pregnancy(band)


def _told(band: ReferenceRange, facts: Facts) -> bool:
    """What the order told is what the band asks for."""
    if band.phase and band.phase != facts.phase:
        return False
    if not _pregnancy(band):
        return True
    weeks = facts.gestation_weeks
    if weeks is None:
        return False
    return (band.gestation_min_weeks or 0) <= weeks and (
        band.gestation_max_weeks is None or weeks < band.gestation_max_weeks
    )


def _possible(band: ReferenceRange, facts: Facts) -> bool:
    """The band may hold and nobody told: a phase of a woman whose phase is unknown, a week of one who is pregnant.
    Pregnancy itself is never supposed."""
    if facts.sex == "M":
        return False
    if _pregnancy(band):
        return facts.phase == Phase.PREGNANT and facts.gestation_weeks is None
    return not facts.phase


def _width(low: int, high: int | None) -> int:
    return NO_END if high is None else high - low


def _rank(band: ReferenceRange) -> tuple[Any, ...]:
    weeks = _width(band.gestation_min_weeks or 0, band.gestation_max_weeks)
    return (
        band.state == "approved",
        bool(band.instrument),
        bool(band.method),
        _pregnancy(band),
        bool(band.phase),
        bool(band.sex),
        bool(band.specimen_type),
        -_width(band.age_min_days, band.age_max_days),
        -weeks,
        band.version,
    )


def _rank_untold(band: ReferenceRange) -> tuple[Any, ...]:
    """As `_rank`, but for what nobody told and the version."""
    rank = _rank(band)
    return (*rank[:3], *rank[5:8])


def _one_of_each(bands: Iterable[ReferenceRange]) -> tuple[ReferenceRange, ...]:
    """The newest of each phase and week, in the order of the cycle."""
    newest: dict[tuple[int, int], ReferenceRange] = {}
    for each in sorted(bands, key=lambda band: band.version):
        phase = _PHASES.index(Phase(each.phase)) if each.phase else len(_PHASES)
        newest[phase, each.gestation_min_weeks or 0] = each
    return tuple(newest[key] for key in sorted(newest))


def choose_limit(limits: Iterable[CriticalLimit], facts: Facts, on: date) -> CriticalLimit | None:
    """The critical limit for `facts` on that day. Approved goes before draft; then the one with a diagnosis, of this
    department, sex and specimen before "any"; then the narrower age, the newer version."""
    fitting = [
        each
        for each in limits
        if is_valid(each, on)
        and covers(each, facts.sex, facts.age_days)
        and each.specimen_type in ("", facts.specimen_type)
        and each.department_id in (None, facts.department_id)
        and each.diagnosis in facts.diagnosis
    ]
    return max(fitting, key=_limit_rank, default=None)


def _limit_rank(limit: CriticalLimit) -> tuple[Any, ...]:
    return (
        limit.state == "approved",
        bool(limit.diagnosis),
        limit.department_id is not None,
        bool(limit.sex),
        bool(limit.specimen_type),
        -_width(limit.age_min_days, limit.age_max_days),
        limit.version,
    )


def measured_by(facts: Facts, *, method: str, instrument: str) -> Facts:
    """The same person and specimen, measured so."""
    return replace(facts, method=method, instrument=instrument)


__all__: Sequence[str] = ("Choice", "Facts", "choose_limit", "choose_range", "measured_by", "weeks_on")
