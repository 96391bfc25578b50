"""Delta limits by test code, as versioned data. A draft limit holds a result in demo and test; production ignores
drafts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from cloud.lis.verification.rules import DeltaLimit


@dataclass(frozen=True, slots=True)
class SourcedLimit:
    limit: DeltaLimit
    source: str


def _limit(code: str, *, days: int, absolute: str | None = None, percent: str | None = None) -> DeltaLimit:
    return DeltaLimit(
        id=f"delta:{code}",
        version=1,
        state="draft",
        window=timedelta(days=days),
        percent=None if percent is None else Decimal(percent),
        absolute=None if absolute is None else Decimal(absolute),
    )


LIMITS: dict[str, SourcedLimit] = {
    "NA": SourcedLimit(_limit("NA", days=3, absolute="13"), "AACC 2011, example of a delta check: 13 mmol/L in 3 days"),
    "MCV": SourcedLimit(
        _limit("MCV", days=7, absolute="3.0"),
        "Miller 2015, Arch Pathol Lab Med 139:1042: 3.0 fL; the window of 7 days is a default of ours, to be tuned",
    ),
}
"""Only limits whose number has a source; a test without one shows its change and is not held for it."""


def limit_for(code: str, *, production: bool) -> DeltaLimit | None:
    """The delta limit of a test; in production only an approved one."""
    found = LIMITS.get(code)
    if found is None or (production and found.limit.state != "approved"):
        return None
    return found.limit
