"""Bytes of a line as people read them: control characters by their names, everything else that is no ASCII as <D6>."""

from __future__ import annotations

_NAMES = [
    "NUL",
    "SOH",
    "STX",
    "ETX",
    "EOT",
    "ENQ",
    "ACK",
    "BEL",
    "BS",
    "HT",
    "LF",
    "VT",
    "FF",
    "CR",
    "SO",
    "SI",
    "DLE",
    "DC1",
    "DC2",
    "DC3",
    "DC4",
    "NAK",
    "SYN",
    "ETB",
    "CAN",
    "EM",
    "SUB",
    "ESC",
    "FS",
    "GS",
    "RS",
    "US",
]
_SHOWN = [f"<{name}>" for name in _NAMES] + [chr(code) for code in range(0x20, 0x7F)]
_SHOWN += ["<DEL>", *(f"<{code:02X}>" for code in range(0x80, 0x100))]
_ENDS = frozenset(b"\n\x04\x1c")


def named(data: bytes) -> str:
    return "".join([_SHOWN[each] for each in data])


def named_lines(data: bytes) -> str:
    """The same with a new line after each line end, so that records stand below one another."""
    lines: list[str] = []
    start = 0
    for place, byte in enumerate(data):
        ends = byte in _ENDS or (byte == 0x0D and data[place + 1 : place + 2] != b"\n")
        if ends:
            lines.append(named(data[start : place + 1]))
            start = place + 1
    lines.append(named(data[start:]))
    return "\n".join(each for each in lines if each)


def hexed(data: bytes) -> str:
    return data.hex(" ").upper()
