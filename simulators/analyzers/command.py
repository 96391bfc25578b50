"""`python -m simulators analyzer`: one analyzer as a process of its own.

Tubes are put on by lines on the standard input: a barcode, or {"tube": BARCODE, "sex": "F", "age": 54}; the word `qc`
runs the controls. The end of the input ends the work when the rack is done; a termination signal ends it at once.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from simulators.analyzers.astm_session import Timing
from simulators.analyzers.blood import Tube
from simulators.analyzers.bs_station import BsStation
from simulators.analyzers.dca_station import DcaStation
from simulators.analyzers.mindray_bs import MindrayBS
from simulators.analyzers.station import Control, Settings, Station
from simulators.analyzers.sysmex_xn import SysmexXN
from simulators.analyzers.xn_station import XnStation
from simulators.ledger import Ledger
from simulators.wire import Answering, Connect, dial, pseudo_terminal, serial_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=["sysmex_xn", "mindray_bs", "siemens_dca"])
    line = parser.add_mutually_exclusive_group(required=True)
    line.add_argument("--connect", metavar="HOST:PORT", help="call the host")
    line.add_argument("--listen", metavar="HOST:PORT", help="wait to be called by the host")
    line.add_argument("--serial", metavar="DEVICE", type=Path, help="a tty")
    line.add_argument("--pty", metavar="LINK", type=Path, help="make a pseudo-terminal; the host opens LINK")
    parser.add_argument("--name", default="analyzer", help="name in the ledger")
    parser.add_argument("--ledger", type=Path, help="JSONL file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--analysis-seconds", type=float, default=0.0)
    parser.add_argument("--ask-again-seconds", type=float, default=2.0)
    parser.add_argument(
        "--framing", choices=["record", "message"], default="record", help="ASTM: frames by record or one"
    )
    parser.add_argument("--results-per-message", type=int, default=1, help="HL7: tests in one ORU; 0 for all of a tube")
    parser.add_argument("--serial-number", default="20417")


def _connection(arguments: argparse.Namespace) -> Connect:
    if arguments.connect:
        host, _, port = arguments.connect.rpartition(":")
        return dial(host, int(port))
    if arguments.listen:
        host, _, port = arguments.listen.rpartition(":")
        return Answering(host, int(port))
    if arguments.serial:
        return serial_device(arguments.serial)
    return pseudo_terminal(arguments.pty)


def make_station(arguments: argparse.Namespace) -> Station:
    ledger = Ledger(arguments.ledger, arguments.name)
    settings = Settings(
        name=arguments.name,
        seed=arguments.seed,
        analysis_s=arguments.analysis_seconds,
        ask_again_s=arguments.ask_again_seconds,
    )
    connect = _connection(arguments)
    if arguments.kind == "sysmex_xn":
        analyzer = SysmexXN(serial=arguments.serial_number)
        return XnStation(connect, ledger, settings, analyzer=analyzer, timing=Timing(), framing=arguments.framing)
    if arguments.kind == "siemens_dca":
        return DcaStation(connect, ledger, settings)
    return BsStation(connect, ledger, settings, analyzer=MindrayBS(results_per_message=arguments.results_per_message))


def read_line(text: str) -> Tube | Control | None:
    """One line of the standard input; None for an empty one."""
    text = text.strip()
    if not text:
        return None
    if text == "qc":
        return Control()
    if text.startswith("{"):
        data = json.loads(text)
        return Tube(str(data["tube"]), str(data.get("sex", "F")), int(data.get("age", 45)))
    return Tube(text)


def run(arguments: argparse.Namespace) -> int:
    station = make_station(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: station.stopping.set())

    def load() -> None:
        for line in sys.stdin:
            try:
                item = read_line(line)
            except (ValueError, KeyError) as error:
                print(f"not a tube: {line.strip()!r} ({error})", file=sys.stderr, flush=True)
                continue
            if item is not None:
                station.rack.put(item)
        station.rack.put(None)

    threading.Thread(target=load, daemon=True).start()
    station.run()
    return 0
