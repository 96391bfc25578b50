"""What is known of one morning while it runs: visits, tubes, what each analyzer has sent. Read from the ledgers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulators.demo.compare import Sent
from simulators.ledger import LedgerReader


@dataclass(slots=True)
class TubeRun:
    """One tube on its way: from the label to the phone. Times are seconds since the epoch."""

    accession: str
    placer: str
    analyzer: str
    loaded_at: float
    ordered: tuple[str, ...] = ()
    """Codes the box named when the analyzer asked."""
    acknowledged: int = 0
    """Observations the box has taken over."""
    finished_at: float | None = None
    """When the last observation was acknowledged."""
    stored: int = 0
    """Results the reviewer saw on the screen when he released."""
    released_at: float | None = None
    seen_at: float | None = None

    @property
    def measured(self) -> bool:
        return bool(self.ordered) and self.acknowledged >= len(self.ordered)


@dataclass(slots=True)
class Visit:
    """One order of the HIS."""

    placer: str
    person: dict[str, Any]
    items: tuple[str, ...]
    tubes: int
    registered: bool = False
    ordered: bool = False


@dataclass(slots=True)
class Bench:
    """Shared by the robots; take `lock` to change it."""

    ledgers: Path
    analyzers: tuple[str, ...]
    lock: threading.RLock = field(default_factory=threading.RLock)
    visits: dict[str, Visit] = field(default_factory=dict)
    tubes: dict[str, TubeRun] = field(default_factory=dict)
    sent: Sent = field(default_factory=Sent)
    his_results: int = 0
    _readers: dict[str, LedgerReader] = field(default_factory=dict)

    def follow(self) -> bool:
        """Read what is new in the ledgers; False when nothing was."""
        with self.lock:
            news = False
            for entry in self._new("his"):
                news = True
                self._take_his(entry)
            for name in self.analyzers:
                for entry in self._new(name):
                    news = True
                    self.sent.take(entry)
                    self._take_analyzer(entry)
            return news

    def _new(self, name: str) -> Iterable[dict[str, Any]]:
        reader = self._readers.setdefault(name, LedgerReader(self.ledgers / f"{name}.jsonl"))
        return reader.new()

    def _take_his(self, entry: dict[str, Any]) -> None:
        if entry["event"] == "visit":
            visit = Visit(entry["placer"], entry["person"], tuple(entry["items"]), entry["tubes"])
            self.visits[visit.placer] = visit
        elif entry["event"] == "accepted" and "placer" in entry:
            visit = self.visits[entry["placer"]]
            visit.registered = True
            visit.ordered = visit.ordered or entry["kind"] == "order"
        elif entry["event"] == "result received":
            self.his_results += 1

    def _take_analyzer(self, entry: dict[str, Any]) -> None:
        tube = self.tubes.get(entry.get("specimen", ""))
        if entry["event"] == "answered" and tube is not None:
            tube.ordered = tuple(entry["codes"])
        elif entry["event"] == "acknowledged":
            message = self.sent.messages.get((entry["source"], entry["message"]))
            tube = self.tubes.get(message["specimen"]) if message is not None else None
            if message is not None and tube is not None:
                tube.acknowledged += len(message["observations"])
                if tube.measured:
                    tube.finished_at = entry["t"]

    def orders(self) -> int:
        return sum(each.ordered for each in self.visits.values())
