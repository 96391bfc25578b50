"""What protocol a run of bytes speaks, and whose instrument it is: by checks that hold, control bytes in their places,
characters that are text, and the fingerprints of all drivers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from protocols.capture import Message, Piece, as_sent, pieces, reader_of, split_by_drivers
from protocols.driver import Driver, Match, discover
from protocols.links.astm_frames import checksum
from protocols.messages.charset import ASCII, LATIN1, decode_text

_FRAME = re.compile(rb"\x02([0-7][^\x02\x03\x17]*[\x03\x17])([0-9A-Fa-f]{2})")
_SESSION = frozenset(b"\x04\x05\x06\x15")
_LINE_CONTROL = bytes((1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 0x11, 0x13, 0x15, 0x17, 0x1C, 0x1D, 0x1E))
_NEITHER_TEXT_NOR_CONTROL = bytes(b for b in range(128) if (b < 0x20 or b == 0x7F) and b not in _LINE_CONTROL)
_HL7 = re.compile(rb"(?:\A|[\r\n\x0b\x1c])MSH[^A-Za-z0-9\s]")
_HL7_BLOCK = re.compile(rb"\x0b[^\x0b]*\x1c", re.DOTALL)
_ASTM_HEADER = re.compile(rb"(?:\A|[\r\n\x02-\x06])[0-7]?[Hh][!-/:-@\[-`{-~]{3}")
_READ_AT_MOST = 256 * 1024
_MOSTLY_TEXT = 0.5
"""Below it no driver of a text is asked: nothing it could say would make the bytes plausible."""
_GENERIC = 0.1
_NO_MESSAGE = Match(0.0, "no message was heard")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for one reading of the bytes. Scores from 0 to 1."""

    score: float
    framing: str
    protocol: str | None
    reason: str
    driver: Driver | None = None
    match: Match = _NO_MESSAGE
    text_share: float = 0.0
    charset: str = ASCII
    messages: int = 0


def judge(data: bytes) -> Evidence:
    """The best explanation of `data`. Never raises."""
    data = data[:_READ_AT_MOST]
    if not data:
        return Evidence(0.0, "none", None, "nothing was heard")
    share, charset = text_share(data)
    found = _astm(data) or _hl7(data) or (_split(data) if share >= _MOSTLY_TEXT else None) or _other(data)
    score = found.score * share * share
    reason = f"{found.reason}; {share:.0%} of the bytes are text or line control"
    if charset not in (ASCII, LATIN1):
        reason += f", valid {charset}"
    return Evidence(
        score, found.framing, found.protocol, reason, found.driver, found.match, share, charset, found.messages
    )


def text_share(data: bytes) -> tuple[float, str]:
    """Share of bytes that text on a line may hold, and the character set that explains those above 127.

    Latin-1 explains any byte and so proves nothing: there a letter between ASCII letters counts half.
    """
    charset = decode_text(data)[1]
    wrong = len(data) - len(data.translate(None, _NEITHER_TEXT_NOR_CONTROL))
    if charset == LATIN1:
        high = sum(byte >> 7 for byte in data)
        lone = len(re.findall(rb"(?<![\x80-\xff])[\xa0-\xff](?![\x80-\xff])", data))
        wrong += high - lone // 2
    return max(0.0, 1 - wrong / len(data)), charset


def _claimed(found: list[Piece]) -> tuple[Driver | None, Match, int]:
    """The driver that claims one of the messages best. Where none but a generic one does, its reason says so."""
    best: tuple[Driver | None, Match] = (None, Match(0.0, "no message was heard whole"))
    messages = [piece for piece in found if isinstance(piece, Message)]
    for message in messages:
        driver, match = reader_of(message)
        if driver is not None and match.score > best[1].score:
            best = (driver, match)
    return best[0], best[1], len(messages)


def _evidence(score: float, framing: str, protocol: str, reason: str, found: list[Piece]) -> Evidence:
    driver, match, messages = _claimed(found)
    return Evidence(score, framing, protocol, reason, driver, match, messages=messages)


def _astm(data: bytes) -> Evidence | None:
    frames = _FRAME.findall(data)
    good = sum(1 for body, sent in frames if b"%02X" % checksum(as_sent(body, sent)) == sent.upper())
    if good:
        reason = f"{good} of {len(frames)} frames have the right checksum"
        score = 0.9 + 0.1 * good / len(frames)
        return _evidence(score, "STX number text ETX checksum (E1381)", "astm", reason, pieces(data))
    if _ASTM_HEADER.search(data):
        framed = data.count(b"\x02") > 0
        framing = "frames without a right checksum" if framed else "bare records"
        return _evidence(0.85, framing, "astm", "a header record with its delimiters", pieces(data))
    if _SESSION.issuperset(data) and b"\x05" in data:
        asked = data.count(b"\x05")  # one byte alone may be any character at a wrong rate
        times = "once" if asked == 1 else f"{asked} times"
        reason = f"ENQ {times} and no other character: an ASTM instrument asks for the line and waits to be answered"
        return Evidence(0.35 if len(data) == 1 else 0.6, "ENQ before frames (E1381)", "astm", reason)
    return None


def _hl7(data: bytes) -> Evidence | None:
    if not _HL7.search(data):
        return None
    blocks = len(_HL7_BLOCK.findall(data))
    if blocks:
        reason = f"{blocks} blocks from VT to FS with a message header"
        return _evidence(0.99, "VT message FS CR (MLLP)", "hl7", reason, pieces(data))
    return _evidence(0.9, "segments without blocks", "hl7", "a message header (MSH)", pieces(data))


def _split(data: bytes) -> Evidence | None:
    """A family whose drivers know where its messages begin and end."""
    sure, found = split_by_drivers(data, tuple(discover().values()))
    if not found:
        return None
    driver, match, messages = _claimed(found)
    assert driver is not None
    reason = f"{messages} messages in the manner of {driver.id}"
    score = 0.5 + 0.49 * sure if sure > _GENERIC else 0.5
    return Evidence(
        score, f"as {driver.id} frames its messages", driver.protocol, reason, driver, match, 0.0, ASCII, messages
    )


def _other(data: bytes) -> Evidence:
    by_chance = 0.5 ** len(data)  # about half of all bytes may stand in text
    if b"\r" in data or b"\n" in data:
        return Evidence(0.38 * (1 - by_chance), "lines", None, "lines of no known protocol")
    return Evidence(0.2 * (1 - by_chance), "none", None, "bytes of no known protocol")
