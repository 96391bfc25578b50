"""Writes `protocols/instruments/README.md`: every driver that `discover()` finds, in the drivers' own words.

``python -m tools.driver_table`` after a driver came or changed; a contract test says when it was forgotten.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from protocols.driver import Driver, Status, discover
from protocols.model import Order

PAGE = Path(__file__).resolve().parents[1] / "protocols" / "instruments" / "README.md"
_SAMPLE = Order("202611020017", ("1",))
_NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)

_HEAD = """\
# protocols/instruments: one file for each analyzer family

Made from the drivers by `python -m tools.driver_table`; change a driver, not this page. How to add one:
`../README.md`.

- **status** is what a driver was proved on: a capture of a real analyzer that tests replay, a laboratory's own
  analyzer, or documents and public integrations alone.
- **two ways**: *answers* an instrument that asks what is ordered; *orders unasked* where it takes a worklist by itself.
- A driver's docstring says more: the source in full, what the instrument does otherwise, what is not proved.

"""
_COLUMNS = ("driver", "vendor", "models", "protocol", "status", "two ways", "source")


def page() -> str:
    drivers = sorted(discover().values(), key=lambda driver: (driver.vendor.lower(), driver.id))
    counts = Counter(driver.status for driver in drivers)
    kinds = ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status])
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_row, drivers)]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"{_HEAD}{len(drivers)} drivers: {kinds}.\n\n{table}"


def _row(driver: Driver) -> tuple[str, ...]:
    return (
        f"`{driver.id}`",
        driver.vendor,
        ", ".join(driver.models) or "any",
        driver.protocol,
        driver.status.value,
        two_ways(driver),
        driver.source.replace("|", "\\|"),
    )


def two_ways(driver: Driver) -> str:
    ways = ["answers"] if driver.answers_host_queries else []
    if driver.download([_SAMPLE], _NOW):
        ways.append("orders unasked")
    return ", ".join(ways) or "sends only"


def main() -> int:
    text = page()
    known = PAGE.read_text("utf-8") if PAGE.is_file() else ""
    PAGE.write_text(text, "utf-8")
    print(f"{PAGE.relative_to(PAGE.parents[2])}: {'as it was' if text == known else 'written'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
