"""A serial line as electricity: characters become bits at one setting and are sampled at another.

Written from how a UART works, knowing nothing of `protocols`: start bit 0, data bits least significant first, parity,
stop bit 1, idle 1; the receiver looks for a falling edge, checks the middle of the start bit and samples the middle of
each bit that follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd

_FINE = 8
"""Samples in the shorter of the two bit times: fine enough for the middle of a bit."""


@dataclass(frozen=True)
class Form:
    """Data bits, parity and stop bits of one end."""

    data_bits: int = 8
    parity: str = "none"
    stop_bits: int = 1


@dataclass(frozen=True)
class Heard:
    data: bytes
    broken: frozenset[int]

    @property
    def marked(self) -> bytes:
        """As a Linux tty delivers it with INPCK and PARMRK."""
        out = bytearray()
        for position, byte in enumerate(self.data):
            if position in self.broken:
                out += b"\xff\x00"
                out.append(byte)
            else:
                out += b"\xff\xff" if byte == 0xFF else bytes([byte])
        return bytes(out)


def parity_bit(value: int, parity: str) -> int:
    ones = value.bit_count() & 1
    return {"even": ones, "odd": 1 - ones, "mark": 1, "space": 0}[parity]


@lru_cache(maxsize=4096)
def _character(value: int, form: Form) -> bytes:
    value &= (1 << form.data_bits) - 1
    bits = [0, *((value >> place) & 1 for place in range(form.data_bits))]
    if form.parity != "none":
        bits.append(parity_bit(value, form.parity))
    return bytes(bits + [1] * form.stop_bits)


def on_the_line(data: bytes, form: Form, gap_bits: int = 0) -> bytes:
    """Levels, one byte a bit time; `gap_bits` of idle line after every character."""
    idle = b"\x01" * gap_bits
    return b"\x01" * 12 + b"".join(_character(value, form) + idle for value in data) + b"\x01" * 24


def _stretched(levels: bytes, times: int) -> bytes:
    return levels.replace(b"\x00", b"\x00" * times).replace(b"\x01", b"\x01" * times) if times > 1 else levels


def hear(
    levels: bytes,
    sent_at: int,
    heard_at: int,
    form: Form = Form(),
    *,
    resumes_at_once: bool = True,
    longest: int | None = None,
) -> Heard:
    """What a receiver set to `heard_at` and `form` makes of `levels` sent at `sent_at`; at most `longest` characters.

    After a wrong stop bit a 16550 takes it for the next start bit (`resumes_at_once`); other receivers wait until the
    line is idle.
    """
    common = gcd(sent_at, heard_at)
    sent_bit, heard_bit = heard_at // common, sent_at // common  # lengths in the same small unit
    finer = -(-_FINE // min(sent_bit, heard_bit))
    sent_bit, heard_bit = sent_bit * finer, heard_bit * finer
    count = form.data_bits + (form.parity != "none") + 1
    if longest is not None:
        levels = levels[: longest * (count + 2) * heard_bit // sent_bit + 64]
    line = _stretched(levels, sent_bit)
    data = bytearray()
    broken = set()
    at = 0
    while (start := line.find(b"\x00", at)) >= 0 and len(data) != longest:
        middle = start + heard_bit // 2
        bits = line[middle : middle + (count + 1) * heard_bit : heard_bit][: count + 1]
        if len(bits) <= count:
            break
        if bits[0]:  # a glitch, shorter than half a bit
            at = line.find(b"\x01", start)
            continue
        value = sum(bit << place for place, bit in enumerate(bits[1 : form.data_bits + 1]))
        right = bits[count] == 1
        if form.parity != "none" and bits[form.data_bits + 1] != parity_bit(value, form.parity):
            right = False
        if not right:
            broken.add(len(data))
        data.append(value)
        at = middle + count * heard_bit
        if not bits[count]:
            at = at - heard_bit // 2 if resumes_at_once else line.find(b"\x01", at)
            if at < 0:
                break
    return Heard(bytes(data), frozenset(broken))
