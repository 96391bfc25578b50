"""The one rule that says whether a report may be given to a patient (REP-1): used by phone, self-service print and
share.

Pure: the marks were set in the release transaction, the clock and the director's limits are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Reader(StrEnum):
    PATIENT = "patient"
    """The patient, or somebody the patient allowed to read."""
    CLINICIAN = "clinician"
    """Treating staff: what is held back from the patient is meant for them first."""


class Channel(StrEnum):
    PHONE = "phone"
    SELF_PRINT = "self_print"
    SHARE = "share"
    STAFF = "staff"


class Reason(StrEnum):
    ALLOWED = "allowed"
    RECALLED = "recalled"
    SENSITIVE = "sensitive_waits_for_clinician"
    CRITICAL = "critical_waits_for_read_back"


@dataclass(frozen=True, slots=True)
class ReportMarks:
    """What the rule needs to know of a report's current version."""

    recalled: bool
    contains_critical: bool
    sensitive: bool
    released_at: datetime
    read_back_at: datetime | None
    """When the ward read the critical values of this version back."""
    disclosed_at: datetime | None
    """When a clinician released a sensitive report to the patient."""


@dataclass(frozen=True, slots=True)
class DisclosureLimits:
    critical_after: timedelta | None = None
    """The director's limit: a critical report is given this long after release even without read-back. None: it waits.
    
    """


@dataclass(frozen=True, slots=True)
class Disclosure:
    allowed: bool
    reason: Reason
    until: datetime | None = None
    """When a refusal ends by itself; None: somebody has to act first."""


def disclosure(
    report: ReportMarks,
    reader: Reader,
    channel: Channel,
    now: datetime,
    limits: DisclosureLimits,
) -> Disclosure:
    """May `reader` have this report through `channel` at `now`?

    A recalled report is given to nobody. Clinicians read everything else, but only through the staff's channel: on a
    phone, a kiosk or a share there is no knowing who looks. For patients, sensitive waits for the clinician and
    critical for the read-back (or the limit); where both marks stand, both must be lifted.
    """
    if report.recalled:
        return Disclosure(False, Reason.RECALLED)
    if reader is Reader.CLINICIAN and channel is Channel.STAFF:
        return Disclosure(True, Reason.ALLOWED)
    if report.sensitive and report.disclosed_at is None:
        return Disclosure(False, Reason.SENSITIVE)
    if report.contains_critical and report.read_back_at is None:
        until = None if limits.critical_after is None else report.released_at + limits.critical_after
        if until is None or now < until:
            return Disclosure(False, Reason.CRITICAL, until)
    return Disclosure(True, Reason.ALLOWED)
