"""What the rules are told of one specimen: a plain, complete value that can be stored and decided on again.

Nothing here is looked up while deciding. Tests stand in the order of their codes, so that the order in which results
arrived changes nothing. Sex and age come from the order's person, never from an instrument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

QC_STATES = ("in_control", "warning", "out_of_control", "none", "unknown")
"""`none`: no control was measured in time. `unknown`: nobody judges this channel's controls."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A value of the same person and test before: the last released one, in the catalogue's unit."""

    number: Decimal | None
    at: datetime
    specimen: str = ""
    comparator: str = ""
    text: str = ""
    """Where it is no exact number: a titre, a grade, a bound."""

    @property
    def exact(self) -> Decimal | None:
        return None if self.comparator else self.number


@dataclass(frozen=True, slots=True)
class TestFact:
    """One value of the specimen as it is to be decided on. Numbers are in the unit of the catalogue."""

    __test__ = False  # not a test of pytest's

    code: str
    section: str = ""
    value_type: str = "numeric"
    text: str = ""
    number: Decimal | None = None
    comparator: str = ""
    flag: str = ""
    """As `verification.rules.Flag`: N, L, H, LL, HH, A or "" (nothing to compare with)."""
    critical: bool = False
    draft: bool = False
    """A range or limit that judged it is a draft."""
    holds: tuple[str, ...] = ()
    """Codes of the reasons for which the verdict on the value itself already holds it."""
    low: Decimal | None = None
    high: Decimal | None = None
    """The reference range that was used."""
    instrument: str = ""
    flags: tuple[str, ...] = ()
    status: str = ""
    dilution: str = ""
    typed: bool = False
    rerun: bool = False
    """A person asked for a new measurement and it has not come."""
    run: int = 1
    runs: tuple[Decimal, ...] = ()
    """Numbers of the earlier runs of the same tube, oldest first."""
    at: datetime | None = None
    """When it was measured."""
    earlier: Earlier | None = None
    qc: str = "unknown"
    qc_at: datetime | None = None

    @property
    def exact(self) -> Decimal | None:
        """The number where it is one: "<3.0" is no number to calculate with."""
        return None if self.comparator else self.number


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the rules may use of one specimen at one moment."""

    specimen: str
    tests: tuple[TestFact, ...]
    missing: tuple[str, ...] = ()
    """Ordered tests without a value."""
    sex: str = ""
    age_days: int | None = None
    department: str = ""
    diagnosis: str = ""
    priority: str = ""
    specimen_type: str = ""
    concession: bool = False
    collected_at: datetime | None = None
    received_at: datetime | None = None
    indices: Mapping[str, Decimal] = field(default_factory=dict)
    """Serum indices of the tube by letter: H haemolysis, I icterus, L lipaemia."""
    stops: tuple[str, ...] = ()
    """``all``, ``test:K``, ``instrument:BS-1``: what a person has stopped."""
    production: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tests", tuple(sorted(self.tests, key=lambda each: each.code)))
        object.__setattr__(self, "missing", tuple(sorted(self.missing)))
        object.__setattr__(self, "stops", tuple(sorted(self.stops)))
        object.__setattr__(self, "indices", dict(sorted(self.indices.items())))

    def test(self, code: str) -> TestFact | None:
        return next((each for each in self.tests if each.code == code), None)

    def numbers(self) -> dict[str, Decimal]:
        """The exact numbers by test code."""
        return {each.code: each.exact for each in self.tests if each.exact is not None}


def to_json(facts: Facts) -> dict[str, Any]:
    """For the store: what is not said is left out."""
    stored: dict[str, Any] = _plain(facts)
    return stored


def from_json(stored: Mapping[str, Any]) -> Facts:
    """The facts as they were decided on."""
    tests = tuple(_test(each) for each in stored.get("tests", ()))
    rest = {name: stored[name] for name in _FACTS if name in stored and name != "tests"}
    return Facts(
        **{
            **rest,
            "specimen": stored["specimen"],
            "tests": tests,
            "missing": tuple(rest.get("missing", ())),
            "stops": tuple(rest.get("stops", ())),
            "indices": {key: Decimal(value) for key, value in rest.get("indices", {}).items()},
            "collected_at": _moment(rest.get("collected_at")),
            "received_at": _moment(rest.get("received_at")),
        }
    )


def _test(stored: Mapping[str, Any]) -> TestFact:
    values = dict(stored)
    for name in ("number", "low", "high"):
        if name in values:
            values[name] = Decimal(values[name])
    for name in ("at", "qc_at"):
        values[name] = _moment(values.get(name))
    for name in ("holds", "flags"):
        values[name] = tuple(values.get(name, ()))
    values["runs"] = tuple(Decimal(each) for each in values.get("runs", ()))
    before = values.get("earlier")
    if before is not None:
        moment = datetime.fromisoformat(before["at"])
        values["earlier"] = Earlier(
            Decimal(before["number"]) if "number" in before else None,
            moment,
            before.get("specimen", ""),
            before.get("comparator", ""),
            before.get("text", ""),
        )
    return TestFact(**values)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


_FACTS = tuple(each.name for each in fields(Facts))


def _says_nothing(value: Any) -> bool:
    """Zero is a number that says something; it only equals False."""
    return value is None or value is False or (isinstance(value, str | tuple | Mapping) and not value)


def _plain(value: Any) -> Any:
    if isinstance(value, Facts | TestFact | Earlier):
        found = {each.name: getattr(value, each.name) for each in fields(value)}
        kept = {name: each for name, each in found.items() if not _says_nothing(each)}
        if isinstance(value, TestFact) and value.run == 1:
            kept.pop("run")
        return {name: _plain(each) for name, each in kept.items()}
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
