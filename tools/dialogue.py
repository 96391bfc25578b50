"""Writes the dialogues of a new driver: bytes as a person reads them, and our side as the driver's own link answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from protocols.driver import Driver
from protocols.links.contract import FrameReceived, LinkEvent, MessageReceived
from protocols.messages.charset import decode_text
from protocols.model import HostQuery, Item, Order
from tests.support.transcripts import read_case, replay, wire

Step = tuple[str, bytes]

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
_ACK = b"\x06"
_NAMES = {
    0: "NUL", 1: "SOH", 2: "STX", 3: "ETX", 4: "EOT", 5: "ENQ", 6: "ACK", 10: "LF", 11: "VT", 12: "FF", 13: "CR",
    21: "NAK", 23: "ETB", 28: "FS", 29: "GS", 30: "RS",
}  # fmt: skip
_CONTROL = re.compile("[" + "".join(map(chr, _NAMES)) + "]")
_SUMMED = re.compile("(\x02[^\x02]*?[\x03\x17])([0-9A-F]{2})(?=\r)")


class NotWritable(ValueError):
    """The bytes cannot stand in a dialogue."""


def readable(data: bytes, charset: str, *, xml: bool = False) -> str:
    """One line of a dialogue. Raises `NotWritable` where reading it again would not give the same bytes."""
    text = data.decode(charset)
    if not xml:
        text = _SUMMED.sub(
            lambda match: match[1] + "<sum>" if _sum(match[1].encode(charset)) == match[2] else match[0], text
        )
    left, right = "{}" if xml else "<>"
    text = _CONTROL.sub(lambda match: f"{left}{_NAMES[ord(match[0])]}{right}", text)
    if text.splitlines() != [text] or text != text.strip() or wire(text, charset, xml=xml) != data:
        raise NotWritable("it holds bytes that a dialogue cannot show")
    return text


def _sum(framed: bytes) -> str:
    return f"{sum(framed[1:]) % 256:02X}"


def charset_of(chunks: Iterable[bytes]) -> str:
    """The character set of a dialogue: that of all its bytes together; ASCII is written as UTF-8."""
    charset = decode_text(b"\r".join(chunks))[1]
    return "utf-8" if charset == "ascii" else charset


def play(driver: Driver, chunks: Sequence[bytes], orders: Sequence[Order]) -> list[Step]:
    """The instrument says each chunk when we have answered the one before; it accepts whatever we send."""
    link = driver.new_link()
    steps: list[Step] = []
    now = 0.0
    silence_s = getattr(getattr(driver, "link_options", None), "idle_end_s", None)
    known: dict[str, list[Order]] = {}
    for order in orders:
        known.setdefault(order.specimen, []).append(order)

    def said(data: bytes) -> bytes:
        steps.append(("device", data))
        return heard([*link.wake(now), *link.receive(data, now)])

    def heard(events: list[LinkEvent]) -> bytes:
        while events:
            event = events.pop(0)
            if isinstance(event, FrameReceived):
                events += link.acknowledge(event.frame_id, now)
            elif isinstance(event, MessageReceived):
                decoded = driver.decode(event.payload)
                asked = _asked(decoded.items, known)
                for reply in driver.respond(event.payload, decoded, asked, NOW):
                    link.send(reply, now)
            events += link.wake(now)
        return link.bytes_to_send()

    for chunk in chunks:
        written = said(chunk)
        if silence_s is not None:
            now += silence_s + 1
            steps.append(("wait", b"%g" % (silence_s + 1)))
            written += heard(link.wake(now))
        while written:
            steps.append(("host", written))
            ours = driver.protocol == "astm" and written[-1:] in (b"\x05", b"\n")
            written = said(_ACK) if ours else b""
    return steps


def _asked(items: Sequence[Item], known: Mapping[str, list[Order]]) -> Mapping[str, Sequence[Order]]:
    queries = [item for item in items if isinstance(item, HostQuery)]
    if any(query.everything for query in queries):
        return known
    return {specimen: known.get(specimen, []) for query in queries for specimen in query.specimens}


def write_case(folder: Path, driver: Driver, chunks: Sequence[bytes], orders: Sequence[Order], remark: str) -> None:
    """`dialogue.txt` with both sides and `items.jsonl` with what they hold. Raises `NotWritable`."""
    charset, xml = charset_of(chunks), driver.protocol == "poct1a"

    def shown(kind: str, data: bytes) -> str:
        return data.decode() if kind == "wait" else readable(data, charset, xml=xml)

    lines = [f"# {remark}", f"@ now {NOW:%Y-%m-%dT%H:%M:%S}"]
    if charset != "utf-8":
        lines.append(f"@ charset {charset}")
    if xml:
        lines.append("@ xml")
    lines += [f"@ order {order.specimen} {' '.join(order.codes)}" for order in orders]
    lines += [
        f"{kind}: {data.decode() if kind == 'wait' else readable(data, charset, xml=xml)}"
        for kind, data in play(driver, chunks, orders)
    ]
    folder.mkdir(parents=True)
    (folder / "dialogue.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "items.jsonl").write_text("", encoding="utf-8")
    played = replay(driver, read_case(folder))
    items = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in played.items)
    (folder / "items.jsonl").write_text(items, encoding="utf-8")
