"""What a box goes through, and what is lost by it: ``./xinglin bench faults [NAME ...] [--quick]``.

The real daemon as a process, analyzers on TCP that keep a ledger of what was acknowledged, a real mosquitto and the
cloud's own ingest worker on PostgreSQL. One line for each fault; exit 1 when anything acknowledged is lost, anything is
stored more often than its instrument sent it, or somebody would have had to come.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import box_faults, cloud_faults, line_faults
from tests.faults.site import Row, as_json, show, show_head

SEED = 20261123


@dataclass(frozen=True)
class Fault:
    """`full` and `quick`: how often it strikes, or how many messages, as its own function counts."""

    run: Callable[[Row, bool, int], None]
    full: int
    quick: int

    @property
    def what(self) -> str:
        return (self.run.__doc__ or "").strip().split("\n")[0]


FAULTS = {
    "kill": Fault(box_faults.kill, 1000, 12),
    "power": Fault(box_faults.power, 10_000, 300),
    "full": Fault(box_faults.full, 4, 2),
    "page": Fault(box_faults.page, 20, 3),
    "log": Fault(box_faults.log, 50, 3),
    "broker": Fault(cloud_faults.broker, 50, 4),
    "cable": Fault(cloud_faults.cable, 120, 5),
    "thirty-days": Fault(cloud_faults.thirty_days, 30_000, 2000),
    "cloud": Fault(cloud_faults.cloud, 5, 1),
    "unruly": Fault(cloud_faults.unruly, 1000, 60),
    "clock": Fault(box_faults.clock, 5, 1),
    "half-open": Fault(line_faults.half_open, 200, 20),
    "noise": Fault(line_faults.noise, 1000, 40),
    "mid-frame": Fault(line_faults.mid_frame, 1, 9),
    "same-name": Fault(line_faults.same_name, 1000, 60),
    "flood": Fault(line_faults.flood, 300, 20),
}


def strike(name: str, quick: bool, many: int, seed: int) -> Row:
    """One fault; what stopped it is in the row."""
    row = Row(name, seed)
    began = time.monotonic()
    try:
        FAULTS[name].run(row, quick, many)
    except Exception as error:  # outer loop: the other faults are still to come, and this one has failed
        row.wrong.append(f"{type(error).__name__}: {error}")
        row.seconds = round(time.monotonic() - began, 1)
        traceback.print_exc()
    return row


def main() -> int:
    parser = argparse.ArgumentParser(prog="./xinglin bench faults", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(FAULTS)}")
    parser.add_argument("--quick", action="store_true", help="small numbers")
    parser.add_argument("--kills", type=int, help="of kill")
    parser.add_argument("--cuts", type=int, help="of power")
    parser.add_argument("--backlog", type=int, help="messages of thirty-days")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true", help="one JSON object a line besides")
    arguments = parser.parse_args()
    if unknown := [each for each in arguments.names if each not in FAULTS]:
        parser.error(f"no fault called {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
    asked = {"kill": arguments.kills, "power": arguments.cuts, "thirty-days": arguments.backlog}
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background a shell leaves the first ignored
        signal.signal(number, signal.default_int_handler)
    rows = []
    print(f"seed {arguments.seed}")
    show_head()
    for name in arguments.names or FAULTS:
        fault = FAULTS[name]
        many = asked.get(name) or (fault.quick if arguments.quick else fault.full)
        try:
            rows.append(strike(name, arguments.quick, many, arguments.seed))
        except KeyboardInterrupt:  # its processes have ended and its disk is unmounted by now
            print(f"stopped during {name}")
            return 130
        show(rows[-1])
    bad = [each.fault for each in rows if not each.good]
    print(
        f"{len(rows)} faults: sent {sum(each.sent for each in rows):,}, "
        f"acknowledged {sum(each.acknowledged for each in rows):,}, lost {sum(each.lost for each in rows)}, "
        f"stored twice {sum(each.twice for each in rows)}, manual steps {sum(each.manual for each in rows)}"
        + (f"; NOT as promised: {', '.join(bad)}" if bad else "; as promised")
    )
    if arguments.json:
        for each in rows:
            print(as_json(each))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
