"""`python -m simulators his`: patients are registered and tests ordered; results are taken back.

Every line `order` on the standard input sends the next visit; with `--orders` they go out by themselves.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from simulators.his.client import HisClient
from simulators.his.control import HisControl, tomorrows
from simulators.his.messages import order, registration
from simulators.his.orders import Visit, enough_for, visits
from simulators.his.receiver import HisReceiver
from simulators.ledger import Ledger
from simulators.wire import dial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connect", metavar="HOST:PORT", required=True, help="where the laboratory takes orders")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where we take results")
    parser.add_argument("--control", metavar="HOST:PORT", help="its windows and its temper over HTTP; needs --listen")
    parser.add_argument("--owns-sessions", action="store_true", help="three half-days of its own are published")
    parser.add_argument("--tubes", type=int, help="orders that need this many tubes together, then no more")
    parser.add_argument("--interval-seconds", type=float, default=0.0, help="pause between visits")
    parser.add_argument("--on-request", action="store_true", help="a visit for each line `order` on the input")
    parser.add_argument("--first-number", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timezone", default="Asia/Shanghai")
    parser.add_argument("--ledger", type=Path)


def run(arguments: argparse.Namespace) -> int:
    ledger = Ledger(arguments.ledger, "his")
    zone = ZoneInfo(arguments.timezone)
    host, _, port = arguments.connect.rpartition(":")
    client = HisClient(dial(host, int(port)), ledger)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: client.stopping.set())
    if arguments.listen:
        listen_host, _, listen_port = arguments.listen.rpartition(":")
        receiver = HisReceiver(ledger, listen_host, int(listen_port), arguments.timezone)
        receiver.start()
        _counters(arguments, ledger, receiver, zone)
    for visit in _wanted(arguments, datetime.now(zone)):
        if client.stopping.is_set():
            break
        place(client, ledger, visit, zone)
        client.stopping.wait(arguments.interval_seconds)
    client.stopping.wait()
    return 0


def _counters(arguments: argparse.Namespace, ledger: Ledger, receiver: HisReceiver, zone: ZoneInfo) -> None:
    """The windows, on a line of their own to the other side."""
    if not arguments.control:
        return
    host, _, port = arguments.connect.rpartition(":")
    told_over = HisClient(dial(host, int(port)), ledger)
    control = HisControl(ledger, receiver, told_over, lambda: datetime.now(zone))
    control_host, _, control_port = arguments.control.rpartition(":")
    control.start(control_host, int(control_port))
    if arguments.owns_sessions:
        threading.Thread(
            target=lambda: [control.publish(each) for each in tomorrows(datetime.now(zone).date(), zone)], daemon=True
        ).start()


def _wanted(arguments: argparse.Namespace, now: datetime) -> Iterator[Visit]:
    if arguments.tubes is not None:
        return iter(enough_for(arguments.tubes, arguments.seed, now.date()))
    endless = visits(arguments.seed, now.date(), first_number=arguments.first_number)
    if arguments.on_request:
        asked = (line for line in sys.stdin if line.strip() == "order")
        return (visit for _, visit in zip(asked, endless, strict=False))
    return endless


_numbers = itertools.count(1)


def place(client: HisClient, ledger: Ledger, visit: Visit, zone: ZoneInfo) -> None:
    """Register the patient, then order; each until the laboratory accepts it."""
    at = datetime.now(zone)
    ledger.write("visit", **visit.as_dict())
    for kind, make in (("registration", registration), ("order", order)):
        number = f"H{at:%y%m%d%H%M%S}{next(_numbers):06d}"
        client.send(make(visit, number, at), kind=kind, placer=visit.placer)
