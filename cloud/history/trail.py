"""What is chained and what is told: audit entries with the product's own hashes, facts, and the ids of both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from cloud.history import draws
from cloud.history.copying import Sheet, json_text, moment, text_of
from cloud.kit.audit import AuditChain, AuditEntry, body, chained_hash
from cloud.kit.events import StoredEvent

Act = tuple[datetime, str, str, Any, Any, str | None]
"""When, who, what, before, after, why."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Trail:
    """Every chain is written whole at once: nothing of the past is added to later."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.entries = Sheet(AuditEntry, "id kind aggregate_id number at actor action before after reason hash")
        self.chains = Sheet(AuditChain, "kind aggregate_id number hash")
        self.facts = Sheet(StoredEvent, "id type version occurred_at aggregate_id payload")

    def sheets(self) -> list[Sheet]:
        return [self.entries, self.chains, self.facts]

    def audit(self, kind: str, aggregate: str, acts: Sequence[Act]) -> None:
        digest = b""
        for number, (at, actor, action, before, after, reason) in enumerate(acts, 1):
            content = body(kind, aggregate, at, actor, action, before, after, reason)
            digest = chained_hash(digest, number, content)
            self.entries.add(
                self.id(at), kind, aggregate, str(number), moment(at), actor, action, text_of(before),
                json_text(after), text_of(reason), r"\\x" + digest.hex(),
            )  # fmt: skip
        self.chains.add(kind, aggregate, str(len(acts)), r"\\x" + digest.hex())

    def fact(self, type_: str, at: datetime, aggregate: str, payload: dict[str, Any]) -> None:
        self.facts.add(self.id(at), type_, "1", moment(at), aggregate, json_text(payload))

    def id(self, at: datetime) -> str:
        return draws.uuid_at(self._random, (at - _EPOCH) // _MILLISECOND)

    def ids(self, at: datetime, count: int) -> list[str]:
        """So many of one moment."""
        random, at_ms = self._random, (at - _EPOCH) // _MILLISECOND
        return [draws.uuid_at(random, at_ms) for _ in range(count)]
