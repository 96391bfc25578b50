"""The smoke run's one line: everything that was sent, against everything that was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulators.demo.bench import Bench
from simulators.demo.compare import Difference, Lines, differences
from simulators.demo.killing import Killer
from simulators.demo.reading import Readings


@dataclass(frozen=True, slots=True)
class Tally:
    line: dict[str, Any]
    good: bool
    words: tuple[str, ...]


def tally(bench: Bench, readings: Readings, killer: Killer | None) -> Tally:
    """`lost` and `duplicated` count an observation once: on the page or on the paper, whichever is worse."""
    lost = duplicated = 0
    words: list[str] = []
    for accession, sent in bench.sent.by_specimen.items():
        worst = _worst(sent, readings, accession)
        lost, duplicated = lost + worst.lost, duplicated + worst.duplicated
        words += [f"{accession}: {each}" for each in worst.words]
    strangers = set(readings.by_accession) - set(bench.sent.by_specimen)
    words += [f"{accession}: a report of a tube that nobody measured" for accession in strangers]
    tubes = list(bench.tubes.values())
    released = [each for each in tubes if each.released_at is not None]
    seen = [each for each in released if each.seen_at is not None]
    waits = sorted((each.seen_at - each.finished_at) * 1000 for each in seen if each.seen_at and each.finished_at)
    line = {
        "orders": bench.orders(),
        "specimens": len(tubes),
        "observations_sent": bench.sent.observations,
        "observations_stored": sum(each.stored for each in tubes),
        "host_queries_answered": bench.sent.queries_answered,
        "released": len(released),
        "seen_on_phone": len(seen),
        "lost": lost,
        "duplicated": duplicated,
        "kills": killer.kills if killer else 0,
        "in_flight_at_kill": killer.in_flight if killer else 0,
        "redelivered": killer.redelivered() if killer else bench.sent.sent_again,
        "end_to_end_ms": {"p50": percentile(waits, 50), "p99": percentile(waits, 99)},
    }
    good = (
        lost == duplicated == 0
        and not strangers
        and len(seen) == len(released) == len(tubes) > 0
        and (killer is None or killer.in_flight > 0)
    )
    return Tally(line, good, tuple(words))


def _worst(sent: Lines, readings: Readings, accession: str) -> Difference:
    """The worse of page and paper; a report that was never read has lost all."""
    reading = readings.last(accession)
    if reading is None:
        return Difference(sum(sent.values()), 0, (f"never read, {sum(sent.values())} observations",))
    page, paper = differences(sent, reading.page), differences(sent, reading.paper)
    words = (*(f"page: {each}" for each in page.words), *(f"paper: {each}" for each in paper.words))
    return Difference(max(page.lost, paper.lost), max(page.duplicated, paper.duplicated), words)


def percentile(values: list[float], percent: int) -> int | None:
    """Nearest rank of sorted `values`, rounded; None of nothing."""
    if not values:
        return None
    rank = max(1, -(-len(values) * percent // 100))
    return round(values[rank - 1])
