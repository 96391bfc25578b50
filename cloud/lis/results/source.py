"""What `ingest` is given besides the items, and what it answers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class MessageSource:
    """Where the items come from: one stored message of one link."""

    inbox_id: uuid.UUID
    gateway: str
    link: str
    epoch: str
    sequence: int
    received_at: datetime
    driver: str
    driver_version: str
    late: bool = False
    """Out of its turn: put back by a person, declared lost and arrived, or matched by hand. What was measured since
    stays chosen."""


@dataclass(frozen=True, slots=True)
class IngestOutcome:
    """How many items became what. The same numbers come back when a message is ingested again."""

    matched: int = 0
    """New results of ordered tests, reruns included."""
    after_release: int = 0
    """New values of tests that were released already (also counted in `matched`)."""
    unmatched: int = 0
    qc: int = 0
    resent: int = 0
    queries: int = 0
    events: int = 0
    undecoded: int = 0
    attachments: int = 0
    unanswered: int = 0
    """Tubes that the box had no order for."""
    messages: int = 0
    """Codes mapped as messages of the instrument: kept with the specimen, no results."""
    readings: int = 0
    """Of the environment."""
    line_events: int = 0
    """What an assembly line did with tubes, those of nobody (`unknown_tubes`) included."""
    unknown_tubes: int = 0
