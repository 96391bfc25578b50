"""An envelope that is larger than the broker takes, in parts on ``up/<link>/part``.

Only an envelope of a single message is cut: larger ones are sent as several envelopes. The parts are the compressed
envelope; the cloud keeps them under the message's identity until all are there, and then it is as if the envelope had
come. No part has a receipt of its own. A cloud of the version before does not subscribe to the topic: it gives no
receipt, and the message waits on the box.

A part is a line of JSON, a line feed, and its piece of the compressed envelope.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from protocols.uplink.payload import dump, load
from protocols.uplink.topics import VERSION, UplinkError, check_name

KIND = "part"
OVERHEAD = 512
"""Bytes of a part's line of JSON at most."""
MOST_PARTS = 65_536
LARGEST = 256 * 1024 * 1024
"""Bytes of an envelope that is put together, at most."""


@dataclass(frozen=True, slots=True)
class Part:
    gateway: str
    epoch: str
    link: str
    sequence: int
    number: int
    """From 1."""
    of: int
    sha256: str
    """Of the compressed envelope, hex: parts of another attempt do not mix with these."""
    content: bytes

    def to_bytes(self) -> bytes:
        head = {
            "v": VERSION,
            "gateway": self.gateway,
            "epoch": self.epoch,
            "link": self.link,
            "sequence": self.sequence,
            "part": self.number,
            "of": self.of,
            "sha256": self.sha256,
            "encoding": "zlib",
        }
        return dump(head) + b"\n" + self.content

    @classmethod
    def from_bytes(cls, payload: bytes) -> Part:
        line, _, content = payload.partition(b"\n")
        data = load(line)
        try:
            part = cls(
                check_name(data["gateway"]),
                check_name(data["epoch"]),
                check_name(data["link"]),
                int(data["sequence"]),
                int(data["part"]),
                int(data["of"]),
                str(data["sha256"]),
                content,
            )
            encoding = data["encoding"]
        except (KeyError, TypeError, ValueError) as error:
            raise UplinkError(f"not a part: {error}") from error
        if encoding != "zlib" or part.sequence < 1 or not 1 <= part.number <= part.of <= MOST_PARTS:
            raise UplinkError(f"not a part: {part.number} of {part.of}, {encoding!r}")
        return part


def cut(gateway: str, epoch: str, link: str, sequence: int, envelope: bytes, largest: int) -> list[Part]:
    """The parts of one message's envelope, none larger than `largest` bytes when it travels."""
    packed = zlib.compress(envelope, 1)
    size = max(largest - OVERHEAD, 256)
    pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
    digest = hashlib.sha256(packed).hexdigest()
    return [
        Part(gateway, epoch, link, sequence, number, len(pieces), digest, piece)
        for number, piece in enumerate(pieces, start=1)
    ]


def join(pieces: Sequence[bytes], sha256: str) -> bytes:
    """The envelope of all parts in their order; raises UplinkError where they do not make one."""
    packed = b"".join(pieces)
    if hashlib.sha256(packed).hexdigest() != sha256:
        raise UplinkError("the parts do not match their sha256")
    reader = zlib.decompressobj()
    try:
        envelope = reader.decompress(packed, LARGEST)
    except zlib.error as error:
        raise UplinkError(f"the parts cannot be unpacked: {error}") from error
    if not reader.eof:
        raise UplinkError(f"the parts do not end, or make more than {LARGEST} bytes")
    return envelope
