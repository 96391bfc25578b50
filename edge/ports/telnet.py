"""Telnet without I/O: bytes of a connection into data, subnegotiations and settled options, and back (RFC 854, 855).

Options are agreed on as RFC 1143 wants, so that two sides never argue for ever; what nobody here asked for is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

IAC = 0xFF
_SE, _SB, _WILL, _WONT, _DO, _DONT = 0xF0, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE
BINARY, SUPPRESS_GO_AHEAD, COM_PORT = 0, 3, 44
_LONGEST_SUBNEGOTIATION = 1024


@dataclass(frozen=True, slots=True)
class Settled:
    """An option that was asked for is in force, or is not; `ours` tells whose side performs it."""

    option: int
    ours: bool
    on: bool


@dataclass(frozen=True, slots=True)
class Subnegotiated:
    """What stands between SB and SE, its doubled bytes undone."""

    option: int
    content: bytes


Heard = bytes | Settled | Subnegotiated


def escaped(data: bytes) -> bytes:
    """Data as it travels: a byte 255 is doubled."""
    return data.replace(b"\xff", b"\xff\xff")


class Telnet:
    """One side. `ours` and `theirs` are asked for at the start, `allowed` of theirs is taken when they offer it."""

    def __init__(self, ours: Iterable[int], theirs: Iterable[int], allowed: Iterable[int] = ()) -> None:
        self._welcome = {True: frozenset(ours), False: frozenset(theirs) | frozenset(allowed)}
        self._on: dict[tuple[bool, int], bool | None] = {}
        """None: asked for and not yet answered."""
        self._unread = b""
        self._subnegotiation: bytearray | None = None
        self._heard: list[Heard] = []
        self._out = bytearray()
        for mine, options in ((True, ours), (False, theirs)):
            for option in options:
                self._on[mine, option] = None
                self._say(_WILL if mine else _DO, option)

    def bytes_to_send(self) -> bytes:
        data, self._out = bytes(self._out), bytearray()
        return data

    def subnegotiate(self, option: int, content: bytes) -> None:
        self._out += bytes((IAC, _SB, option)) + escaped(content) + bytes((IAC, _SE))

    def receive(self, data: bytes) -> list[Heard]:
        """Everything that these bytes complete, in order; data is given as it comes. Never raises."""
        data = self._unread + data
        self._unread = b""
        at = 0
        while at < len(data):
            command = data.find(IAC, at)
            if command < 0:
                self._text(data[at:])
                break
            self._text(data[at:command])
            length = self._command(data[command : command + 3])
            if not length:
                self._unread = data[command:]
                break
            at = command + length
        heard, self._heard = self._heard, []
        return heard

    def _text(self, data: bytes) -> None:
        if not data:
            return
        if self._subnegotiation is not None:
            if len(self._subnegotiation) <= _LONGEST_SUBNEGOTIATION:
                self._subnegotiation += data
        elif self._heard and isinstance(self._heard[-1], bytes):
            self._heard[-1] += data
        else:
            self._heard.append(data)

    def _command(self, data: bytes) -> int:
        """Bytes that the command takes; 0 when it is not all here."""
        if len(data) < 2:
            return 0
        verb = data[1]
        if verb == IAC:
            self._text(b"\xff")
        elif verb == _SB:
            self._subnegotiation = bytearray()
        elif verb == _SE:
            self._end_of_subnegotiation()
        elif _WILL <= verb <= _DONT:
            if len(data) < 3:
                return 0
            self._negotiate(verb, data[2])
            return 3
        return 2  # NOP, DM, GA and the like say nothing to us

    def _end_of_subnegotiation(self) -> None:
        content, self._subnegotiation = self._subnegotiation, None
        if content and len(content) <= _LONGEST_SUBNEGOTIATION:
            self._heard.append(Subnegotiated(content[0], bytes(content[1:])))

    def _negotiate(self, verb: int, option: int) -> None:
        mine = verb in (_DO, _DONT)
        yes = verb in (_DO, _WILL)
        key = (mine, option)
        if yes and option not in self._welcome[mine]:
            self._say(_WONT if mine else _DONT, option)
            return
        before = self._on.get(key, False)
        if before is yes:
            return  # nothing new: answering would begin an argument
        self._on[key] = yes
        if before is not None:
            self._say((_WILL if mine else _DO) if yes else (_WONT if mine else _DONT), option)
        self._heard.append(Settled(option, mine, yes))

    def _say(self, verb: int, option: int) -> None:
        self._out += bytes((IAC, verb, option))
