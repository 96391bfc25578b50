"""What was heard on an unknown line: bytes, the setting they were heard at, and how many data bits they really have.

A line is listened to at 8 data bits without parity. A character of seven data bits and parity is as long as one of
eight without, so its parity arrives as bit 7 and shows in the pattern of that bit. A character of eight data bits and
parity is one bit longer: its parity stands where the stop bit is expected, and shows in which bytes are marked broken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

RATES = (9600, 19200, 38400, 4800, 115200, 57600, 2400, 1200, 14400, 28800, 600, 300)
"""Rates in use by analyzers, the most usual first."""

_PARITY_LETTER = {"none": "N", "even": "E", "odd": "O", "mark": "M", "space": "S"}
_PARITY_NAME = {letter: name for name, letter in _PARITY_LETTER.items()}
_WRITTEN = re.compile(r"(?:(\d{2,7})[-_ ])?([5-8])([NEOMS])([12])", re.IGNORECASE)
_ODD = bytes(byte.bit_count() & 1 for byte in range(256))
_ENOUGH = 8
"""Bytes from which one in ten may break the pattern (a line that was opened in the middle of a character)."""


@dataclass(frozen=True, slots=True)
class LineSetting:
    """How a line is set; `baud_rate` None where bytes came over TCP or from a file that does not say."""

    baud_rate: int | None = None
    data_bits: int = 8
    parity: str = "none"
    stop_bits: int = 1

    def __str__(self) -> str:
        form = f"{self.data_bits}{_PARITY_LETTER[self.parity]}{self.stop_bits}"
        return form if self.baud_rate is None else f"{self.baud_rate} {form}"


def read_setting(text: str) -> LineSetting | None:
    """A setting as people write it: "9600-8N1", "7E1", also inside a file's name; None where there is none."""
    match = _WRITTEN.search(text)
    if match is None:
        return None
    rate = int(match[1]) if match[1] else None
    return LineSetting(rate, int(match[2]), _PARITY_NAME[match[3].upper()], int(match[4]))


@dataclass(frozen=True, slots=True)
class Sample:
    """Bytes heard at one setting."""

    data: bytes
    setting: LineSetting = LineSetting()
    broken: frozenset[int] | None = None
    """Positions of the bytes whose stop or parity bit was wrong; None where the port does not tell."""

    @property
    def whole_share(self) -> float:
        """Share of the bytes whose frame on the line was valid; 1 where the port does not tell."""
        if not self.data or self.broken is None:
            return 1.0
        return 1 - len(self.broken) / len(self.data)


def unmark(marked: bytes) -> tuple[bytes, frozenset[int]]:
    """The bytes of a tty that marks broken ones (termios PARMRK), and the positions of those.

    FF 00 x is a byte x with a wrong stop or parity bit (FF 00 00 also a break), FF FF is one FF. A mark that is cut off
    at the end is left out.
    """
    data = bytearray()
    broken = set()
    position = 0
    while position < len(marked):
        byte = marked[position]
        following = marked[position + 1 : position + 3]
        if byte != 0xFF or following[:1] not in (b"\x00", b"\xff"):
            if byte != 0xFF or following:
                data.append(byte)
            position += 1
        elif following[0] == 0xFF:
            data.append(0xFF)
            position += 2
        else:
            if len(following) == 2:
                broken.add(len(data))
                data.append(following[1])
            position += 3
    return bytes(data), frozenset(broken)


@dataclass(frozen=True, slots=True)
class View:
    """One reading of a sample: the characters it holds if the line has this form."""

    data: bytes
    setting: LineSetting
    score: float
    """How well the bits bear this form out: 0.5 says nothing either way."""
    reason: str
    whole_share: float = 1.0


def views(sample: Sample) -> list[View]:
    """Every form of the line that the sample allows, the likeliest first."""
    setting = sample.setting
    if (setting.data_bits, setting.parity) != (8, "none"):
        return _listened_with_parity(sample)
    found = [*_seven_bits(sample), *_eight_with_parity(sample), _eight(sample)]
    return sorted(found, key=lambda view: -view.score)


def _listened_with_parity(sample: Sample) -> list[View]:
    """At even parity every character of a line with odd parity is broken and yet right, and the other way round."""
    setting, share = sample.setting, sample.whole_share
    if sample.broken is None:
        reason = f"heard at {setting}; the port does not tell broken characters, so even and odd parity sound alike"
        return [View(sample.data, setting, 0.5, reason)]
    found = [View(sample.data, setting, share, f"{share:.0%} of the characters are whole at {setting}", share)]
    other = {"even": "odd", "odd": "even"}.get(setting.parity)
    if other is not None and share < 0.5:
        reason = f"{1 - share:.0%} of the characters are broken at {setting}: the other parity"
        found.append(View(sample.data, _form(setting, setting.data_bits, other), 1 - share, reason, 1 - share))
    return found


def _form(setting: LineSetting, data_bits: int, parity: str) -> LineSetting:
    return LineSetting(setting.baud_rate, data_bits, parity, setting.stop_bits)


def _holds(right: int, total: int) -> bool:
    return right == total if total < _ENOUGH else right >= 0.9 * total


def _seven_bits(sample: Sample) -> list[View]:
    data = sample.data
    total = len(data)
    high = sum(byte >> 7 for byte in data)
    if not high:
        return []
    odd = sum(data.translate(_ODD))
    counted = (
        ("even", total - odd, "bit 7 makes the number of ones even in"),
        ("odd", odd, "bit 7 makes the number of ones odd in"),
        ("mark", high, "bit 7 is set (mark parity, or a second stop bit) in"),
    )
    plain = bytes(byte & 0x7F for byte in data)
    return [
        View(
            plain,
            _form(sample.setting, 7, parity),
            right / total * (1 - 0.5**total),
            f"{words} {right} of {total} bytes",
            sample.whole_share,
        )
        for parity, right, words in counted
        if _holds(right, total)
    ]


def _eight_with_parity(sample: Sample) -> list[View]:
    """Broken are just the bytes whose parity bit is 0, because it stood in the place of the stop bit."""
    if not sample.broken:
        return []
    total = len(sample.data)
    found = []
    for parity, low_when in (("even", 0), ("odd", 1)):
        expected = {position for position, byte in enumerate(sample.data) if _ODD[byte] == low_when}
        right = total - len(expected ^ sample.broken)
        if _holds(right, total):
            reason = f"broken are the bytes whose {parity} parity bit is 0: {right} of {total} bytes fit"
            found.append(
                View(sample.data, _form(sample.setting, 8, parity), right / total * (1 - 0.5**total), reason, 1.0)
            )
    return found


def _eight(sample: Sample) -> View:
    """Parity in bit 7 is ruled out by bytes with bit 7 clear and the wrong number of ones."""
    low = bytes(byte for byte in sample.data if byte < 0x80)
    odd = sum(low.translate(_ODD))
    even = len(low) - odd
    score = (1 - 0.5**odd) * (1 - 0.5**even)
    if len(low) == len(sample.data):
        reason = "bit 7 is never set: 8 data bits without parity (7 with space parity is the same on the line)"
    else:
        reason = "bit 7 follows no parity: 8 data bits"
    if not odd or not even:
        reason = "too few bytes to rule out 7 data bits with parity"
    return View(sample.data, sample.setting, score, reason, sample.whole_share)
