"""What one edge process does with many lines, each figure beside its aim: ``python -m tests.bench.edge``.

Parts: `serial` 64 lines at 115200 baud over ptys and then beside one bad line of each kind; `tcp` 16 unpaced TCP
analyzers against this disk's own commit rate; `start` idle memory and the time from start to open links. ``--soak
MINUTES`` lets the serial lines go on for so long and tells how memory grows.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from tests.bench import edge_lines, edge_start, edge_tcp

_PARTS = ("serial", "tcp", "start")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=_PARTS, nargs="+", default=_PARTS)
    parser.add_argument("--lines", type=int, default=64, help="serial lines")
    parser.add_argument("--links", type=int, nargs="+", default=[16], help="unpaced TCP links")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument(
        "--bad-seconds", type=float, default=1.5, help="each of three spells beside a bad line; 0: none"
    )
    parser.add_argument("--buffer-mb", type=int, default=400)
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES")
    arguments = parser.parse_args()
    lost = 0
    if "serial" in arguments.only:
        lines = edge_lines.measure(arguments.lines, arguments.seconds, arguments.bad_seconds, arguments.soak)
        edge_lines.show(lines)
        print(json.dumps({"bench": "edge serial", **asdict(lines)}), flush=True)
        lost += lines.acknowledged_missing
    if "tcp" in arguments.only:
        for links in arguments.links:
            figures = edge_tcp.measure(links, arguments.seconds)
            edge_tcp.show(figures)
            print(json.dumps({"bench": "edge", **asdict(figures)}), flush=True)
            lost += figures.acknowledged_missing
    if "start" in arguments.only:
        start = edge_start.measure(arguments.buffer_mb)
        edge_start.show(start)
        print(json.dumps({"bench": "edge start", **asdict(start)}), flush=True)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
