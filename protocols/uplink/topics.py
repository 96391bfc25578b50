"""Names and topics between a box and the cloud, version 1.

From the box: ``xinglin/v1/<partition>/<gateway>/up/<link>`` (Envelope, or Part of one), ``.../up/<link>/<kind>`` (what
a box says or asks beside its messages, such as Counts), ``.../state`` (GatewayState). To the box: ``.../down/<kind>``:
receipt, worklist, gap, count, time. A side that does not know a kind ignores it: a cloud of the version before does not
subscribe to ``up/+/+``, a box of the version before counts and logs an unknown ``down`` kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VERSION = 1
ROOT = "xinglin/v1"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")


class UplinkError(ValueError):
    """A payload or topic that is not of this contract. The receiver keeps it in quarantine and says so."""


def check_name(name: str) -> str:
    """A gateway or link id that can stand in a topic; raises UplinkError otherwise."""
    if not _NAME.match(name):
        raise UplinkError(f"{name!r} is not a name: 1 to 64 of A-Z a-z 0-9 _ . - and starting with a letter or digit")
    return name


def up_topic(partition: int, gateway: str, link: str, kind: str = "") -> str:
    """`kind` "": the link's messages."""
    topic = f"{ROOT}/{partition}/{check_name(gateway)}/up/{check_name(link)}"
    return f"{topic}/{check_name(kind)}" if kind else topic


def state_topic(partition: int, gateway: str) -> str:
    return f"{ROOT}/{partition}/{check_name(gateway)}/state"


def down_topic(partition: int, gateway: str, kind: str) -> str:
    """`kind` is "receipt", "worklist", "gap", "count" or "time"; a box subscribes to ``down_topic(p, g, "#")``."""
    if kind != "#":
        check_name(kind)
    return f"{ROOT}/{partition}/{check_name(gateway)}/down/{kind}"


def partition_filters(partition: int) -> tuple[str, ...]:
    """What the ingest worker that leases `partition` subscribes to."""
    return f"{ROOT}/{partition}/+/up/+", f"{ROOT}/{partition}/+/up/+/+", f"{ROOT}/{partition}/+/state"


@dataclass(frozen=True, slots=True)
class Topic:
    partition: int
    gateway: str
    direction: str
    """"up", "state" or "down"."""
    name: str
    """Link id of "up", kind of "down", "" of "state"."""
    kind: str = ""
    """Of "up": "" the link's messages, else what the box says or asks of the link."""


def parse_topic(topic: str) -> Topic:
    parts = topic.split("/")
    if len(parts) < 5 or "/".join(parts[:2]) != ROOT or not parts[2].isdigit():
        raise UplinkError(f"not a topic of ours: {topic[:200]!r}")
    if parts[4] == "state" and len(parts) == 5:
        return Topic(int(parts[2]), check_name(parts[3]), "state", "")
    if parts[4] in ("up", "down") and len(parts) == 6:
        return Topic(int(parts[2]), check_name(parts[3]), parts[4], check_name(parts[5]))
    if parts[4] == "up" and len(parts) == 7:
        return Topic(int(parts[2]), check_name(parts[3]), "up", check_name(parts[5]), check_name(parts[6]))
    raise UplinkError(f"not a topic of ours: {topic[:200]!r}")
