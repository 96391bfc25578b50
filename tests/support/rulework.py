"""Facts and rules for tests of the automatic verification, said briefly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from cloud.lis.verification.facts import Earlier, Facts, TestFact
from cloud.lis.verification.ruleset import Rule, RuleSet, Scope

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
SECTION = {"K": "chemistry", "NA": "chemistry", "MCV": "hematology"}


def value(code: str, number: str | None, **said: Any) -> TestFact:
    """A value in range, in control, measured at noon; `before=("140", 24)`: a value 24 hours ago."""
    before = said.pop("before", None)
    earlier = None if before is None else Earlier(Decimal(before[0]), NOON - timedelta(hours=before[1]))
    given: dict[str, Any] = {
        "section": SECTION.get(code, "chemistry"),
        "text": number or "",
        "number": None if number is None else Decimal(number),
        "flag": "N",
        "instrument": "BS-1",
        "at": NOON,
        "earlier": earlier,
        "qc": "in_control",
    }
    return TestFact(code, **{**given, **said})


def tube(*tests: TestFact, **said: Any) -> Facts:
    return Facts("s-1", tests, **said)


def rule(kind: str, *tests: str, scope: dict[str, Any] | None = None, **said: Any) -> Rule:
    """A rule with its params as keywords; numbers as text."""
    own = {name: said.pop(name) for name in ("whole", "unknown", "id", "source", "active") if name in said}
    params = {name: Decimal(each) if isinstance(each, int) else each for name, each in said.items()}
    name = own.pop("id", kind)
    source = own.pop("source", "test")
    return Rule(id=name, kind=kind, scope=Scope(tests=tests, **(scope or {})), params=params, source=source, **own)


def rules(*given: Rule, enabled: tuple[str, ...] = ("K", "NA", "MCV")) -> RuleSet:
    return RuleSet("set-1", "test", 1, (rule("enable", *enabled), *given))
