"""What is on its way at one moment: messages on the box that no receipt of the cloud covers yet.

The box's store is opened read-only, as an auditor would: it is the only place that knows, also when the box is dead.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_UNCOVERED = """
    SELECT outbox.link, outbox.sequence FROM outbox JOIN link ON link.id = outbox.link
    WHERE outbox.sequence > link.delivered_through AND outbox.delivered = 0
"""
Waiting = frozenset[tuple[int, int]]
"""(line, sequence) of each message."""


def waiting_on_the_box(store: Path) -> Waiting:
    """Messages that the box has taken over from an analyzer and the cloud has not taken over from the box."""
    if not store.exists():
        return frozenset()
    with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
        return frozenset(connection.execute(_UNCOVERED))
