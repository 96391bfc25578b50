"""What systemd is told: that the box serves, that it stops, and while its loop turns that it lives (sd_notify(3)).

One datagram to the socket that NOTIFY_SOCKET names; nothing where nobody asked for it. The pings come from the loop
that serves the bench: when it hangs they stop, and systemd starts the box again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping

import structlog

_PINGS_A_PERIOD = 3

log = structlog.get_logger()


def tell(what: str, environment: Mapping[str, str] = os.environ) -> bool:
    """`what` is a line such as "READY=1". False: nobody asked, or nobody takes it."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.setblocking(False)
            line.sendto(what.encode(), address)
    except OSError as error:
        log.warning("service_manager.not_told", what=what, reason=error.strerror or str(error))
        return False
    return True


def ping_every_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """Three times in the period after which systemd takes us for dead; None: it does not watch this process."""
    period_us = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", "") or str(os.getpid())
    if not period_us.isdecimal() or int(period_us) == 0 or meant != str(os.getpid()):
        return None
    return int(period_us) / 1_000_000 / _PINGS_A_PERIOD


async def watch(environment: Mapping[str, str] = os.environ) -> None:
    """Until cancelled."""
    every_s = ping_every_s(environment)
    if every_s is None:
        await asyncio.Event().wait()
        return
    while True:
        tell("WATCHDOG=1", environment)
        await asyncio.sleep(every_s)
