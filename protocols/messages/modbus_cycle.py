"""One poll of one device as a message: every request and answer as they stood on the wire, in text.

Modbus answers do not say which registers they hold, so that requests and answers are kept together: a corrected
register map reads them again. Lines::

    modbus 1 {"driver": "generic_modbus", "device": "freezer 1", "framing": "rtu", "map": "91c04f2e"}
    > 01 03 00 00 00 02 c4 0b              what we asked
    < 01 03 04 fd 12 00 01 8a 5f           what the device answered
    ! no answer                            or why there is none
    ~ {"temperature": ["high"]}            limits that stood exceeded after this poll, as the box judged it

`map` is the digest of the device's points: with another map the box's judgement of limits no longer counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from protocols.links.modbus_framing import Framing

HEAD = b"modbus 1 "
NO_ANSWER = "no answer"
_LONGEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    request: bytes
    answer: bytes | None
    fault: str = ""
    """Why there is no answer."""
    line: int = 0
    """Number (from 0) of the line that holds the answer or says that there is none."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """`device` is its name in the configuration."""

    driver: str
    device: str
    framing: Framing
    exchanges: tuple[Exchange, ...]
    map: str = ""
    standing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class NoCycle(ValueError):
    """The bytes are no poll that we can read; the text says why."""


def write_cycle(cycle: Cycle) -> bytes:
    head = {"driver": cycle.driver, "device": cycle.device, "framing": cycle.framing.value, "map": cycle.map}
    lines = [HEAD.decode() + json.dumps(head, ensure_ascii=False)]
    for each in cycle.exchanges:
        lines.append("> " + each.request.hex(" "))
        lines.append(f"! {each.fault}" if each.answer is None else "< " + each.answer.hex(" "))
    if cycle.standing:
        lines.append("~ " + json.dumps(cycle.standing, ensure_ascii=False))
    return "\n".join(lines).encode() + b"\n"


def driver_of(payload: bytes) -> str | None:
    """Whose poll it is; None where it is none."""
    try:
        return _head(payload.split(b"\n", 1)[0]).get("driver", "")
    except NoCycle:
        return None


def read_cycle(payload: bytes) -> Cycle:
    """Raises `NoCycle`."""
    if len(payload) > _LONGEST:
        raise NoCycle("longer than any poll")
    lines = [line for line in payload.replace(b"\r", b"\n").split(b"\n") if line]
    head = _head(lines[0] if lines else b"")
    try:
        framing = Framing(head.get("framing", ""))
    except ValueError:
        raise NoCycle("a framing that is not known") from None
    exchanges: list[Exchange] = []
    standing: Mapping[str, tuple[str, ...]] = {}
    asked: bytes | None = None
    for number, line in enumerate(lines[1:], start=1):
        mark, rest = line[:1], line[1:].strip()
        if mark == b">":
            asked = _bytes(rest)
        elif mark == b"<" and asked is not None:
            exchanges.append(Exchange(asked, _bytes(rest), line=number))
            asked = None
        elif mark == b"!" and asked is not None:
            exchanges.append(Exchange(asked, None, rest.decode("utf-8", "replace"), number))
            asked = None
        elif mark == b"~":
            standing = _standing(rest)
        else:
            raise NoCycle(f"line {number} is no part of a poll")
    return Cycle(
        head.get("driver", ""), head.get("device", ""), framing, tuple(exchanges), head.get("map", ""), standing
    )


def _head(line: bytes) -> dict[str, str]:
    if not line.startswith(HEAD):
        raise NoCycle("no poll of a Modbus device")
    try:
        head = json.loads(line.removeprefix(HEAD))
    except ValueError:
        raise NoCycle("the first line is damaged") from None
    if not isinstance(head, dict):
        raise NoCycle("the first line is damaged")
    return {key: each for key, each in head.items() if isinstance(each, str)}


def _bytes(text: bytes) -> bytes:
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        raise NoCycle("a line that is not hexadecimal") from None


def _standing(text: bytes) -> Mapping[str, tuple[str, ...]]:
    try:
        found = json.loads(text)
        return {str(point): tuple(str(each) for each in alarms) for point, alarms in found.items()}
    except (ValueError, AttributeError, TypeError):
        raise NoCycle("the line of standing alarms is damaged") from None
