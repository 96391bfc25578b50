"""What an ingest worker counts, and what waits for a person."""

from __future__ import annotations

from prometheus_client import Counter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.gateways.model import InboxMessage, LinkCursor, MessageStatus
from cloud.kit.metrics import from_database

STORED = Counter("xinglin_ingest_messages_stored_total", "Messages committed to the inbox for the first time")
REPEATED = Counter("xinglin_ingest_messages_repeated_total", "Messages that came again and were stored already")
APPLIED = Counter("xinglin_ingest_messages_applied_total", "Messages that the laboratory took")
QUARANTINED = Counter(
    "xinglin_ingest_quarantined_total",
    "Payloads that were no message of a known box, and messages that the laboratory refused",
    ["what"],
)
COMPARED = Counter(
    "xinglin_ingest_comparisons_total",
    "Answers of boxes compared with what is stored here, by what became of it",
    ["state"],
)
GAPS_ASKED = Counter("xinglin_ingest_gap_requests_total", "Requests to a box to send missing messages again")
QUESTIONS = Counter("xinglin_box_questions_total", "Tubes that boxes asked about, by what they heard", ["answer"])


def _inbox(session: Session) -> dict[str, float]:
    """Pending messages and standing gaps; both by an index of their own or a short table."""
    pending = select(func.count()).select_from(InboxMessage).where(InboxMessage.state == MessageStatus.PENDING)
    gaps = select(func.count()).select_from(LinkCursor).where(LinkCursor.gap_first.is_not(None))
    return {"messages_pending": session.scalar(pending) or 0, "links_at_a_gap": session.scalar(gaps) or 0}


from_database("xinglin_ingest_inbox", "What stands in the inbox now", "what", _inbox)
