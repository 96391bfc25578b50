"""A serial line at the far end of a telnet connection, without I/O (RFC 2217, client side).

The line is `Ready` when the server has confirmed every setting that was asked for, as it stands in its answer; a server
that sets something else, or nothing, is refused with the reason in words. Afterwards it is asked now and then whether
it is still there: a connection whose server has lost its line or its mind looks open to TCP.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edge.ports.telnet import BINARY, COM_PORT, SUPPRESS_GO_AHEAD, Settled, Subnegotiated, Telnet, escaped

_BAUD, _DATA_BITS, _PARITY, _STOP_BITS, _CONTROL = 1, 2, 3, 4, 5
_LINE_STATE, _MODEM_STATE, _SUSPEND, _RESUME, _LINE_MASK, _MODEM_MASK = 6, 7, 8, 9, 10, 11
_ANSWER = 100
"""A server's command is the client's plus this."""
_NAMES = {_BAUD: "baud rate", _DATA_BITS: "data bits", _PARITY: "parity", _STOP_BITS: "stop bits"}
_PARITIES = {"none": 1, "odd": 2, "even": 3, "mark": 4, "space": 5}
_FLOW = {"none": 1, "xonxoff": 2, "rtscts": 3}
_DTR_ON, _RTS_ON = 8, 11
_LINE_FAULTS = {0x02: "overrun", 0x04: "parity", 0x08: "framing", 0x10: "break"}
_MODEM_LINES = {0x10: "CTS", 0x20: "DSR", 0x40: "RI", 0x80: "CD"}

AGREE_WITHIN_S = 10.0
ASK_EVERY_S = 30.0
ANSWER_WITHIN_S = 10.0
_HELD_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class LineSettings:
    """`parity` and `flow_control` in the words of the configuration."""

    baud_rate: int
    data_bits: int = 8
    parity: str = "none"
    stop_bits: int = 1
    flow_control: str = "none"


@dataclass(frozen=True, slots=True)
class Ready:
    """Every setting is confirmed: from now on bytes are the instrument's."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """Hang up: `reason` says why, and what to do where that is known."""

    reason: str


@dataclass(frozen=True, slots=True)
class ModemLines:
    """The lines that are on, such as ("CTS", "DSR"), after one of them changed."""

    on: tuple[str, ...]


ComPortEvent = bytes | Ready | Unusable | ModemLines


class ComPort:
    """One connection. `line_faults` counts what the server says of the wire: overrun, parity, framing, break."""

    def __init__(self, settings: LineSettings, now: float) -> None:
        self._settings = settings
        self._telnet = Telnet((BINARY, SUPPRESS_GO_AHEAD, COM_PORT), (BINARY, SUPPRESS_GO_AHEAD), (COM_PORT,))
        self._wanted = {
            _BAUD: settings.baud_rate,
            _DATA_BITS: settings.data_bits,
            _PARITY: _PARITIES[settings.parity],
            _STOP_BITS: settings.stop_bits,
        }
        self._confirmed: set[int] = set()
        self._spoke_telnet = False
        self._ready = False
        self._over = False
        self._held = b""
        """What came before the settings were confirmed."""
        self._suspended = False
        self._out = bytearray(self._telnet.bytes_to_send())
        self._unsent = bytearray()
        self._asked = False
        self._answers_questions = False
        self.line_faults: Counter[str] = Counter()
        self.wake_at: float = now + AGREE_WITHIN_S
        """When `wake` is due, in the caller's seconds."""

    # ------------------------------------------------------------------ to the server

    def write(self, data: bytes) -> None:
        """Bytes for the instrument; held while the server asks for it (`unsent`)."""
        if self._suspended:
            self._unsent += data
        else:
            self._out += escaped(data)

    def bytes_to_send(self) -> bytes:
        data, self._out = bytes(self._out), bytearray()
        return data

    @property
    def unsent(self) -> int:
        """Bytes that wait because the server suspended us."""
        return len(self._unsent)

    # ------------------------------------------------------------------ from the server

    def receive(self, data: bytes, now: float) -> list[ComPortEvent]:
        events: list[ComPortEvent] = []
        for heard in self._telnet.receive(data):
            if self._over:
                break
            if isinstance(heard, bytes):
                self._data(heard, events)
            elif isinstance(heard, Settled):
                self._settled(heard, events)
            elif heard.option == COM_PORT:
                self._told(heard, now, events)
        self._out += self._telnet.bytes_to_send()
        return events

    def wake(self, now: float) -> list[ComPortEvent]:
        """Time has passed: nobody answered, or it is time to ask."""
        if self._over or now < self.wake_at:
            return []
        if not self._ready:
            return [self._refuse(self._silence())]
        if self._asked and self._answers_questions:
            return [self._refuse("the serial server does not answer any more")]
        self._ask(now)
        return []

    def _data(self, data: bytes, events: list[ComPortEvent]) -> None:
        if self._ready:
            events.append(data)
        elif len(self._held) + len(data) > _HELD_LIMIT:
            events.append(self._refuse("bytes flow, and no setting is confirmed: no RFC 2217 server? " + _RAW))
        else:
            self._held += data

    def _settled(self, settled: Settled, events: list[ComPortEvent]) -> None:
        self._spoke_telnet = True
        if settled.option == COM_PORT and settled.ours:
            if settled.on:
                self._set_line()
            else:
                events.append(self._refuse("the server refuses to set its line: no RFC 2217 server? " + _RAW))
        elif settled.option == BINARY and not settled.on:
            events.append(self._refuse("the serial server does not pass all bytes (telnet BINARY refused)"))

    def _set_line(self) -> None:
        self._command(_BAUD, self._settings.baud_rate.to_bytes(4, "big"))
        for command in (_DATA_BITS, _PARITY, _STOP_BITS):
            self._command(command, bytes((self._wanted[command],)))
        for control in (_FLOW[self._settings.flow_control], _DTR_ON, _RTS_ON):
            if control != _RTS_ON or self._settings.flow_control != "rtscts":
                self._command(_CONTROL, bytes((control,)))
        self._command(_LINE_MASK, bytes((sum(_LINE_FAULTS),)))
        self._command(_MODEM_MASK, bytes((sum(_MODEM_LINES),)))

    def _told(self, told: Subnegotiated, now: float, events: list[ComPortEvent]) -> None:
        if len(told.content) < 1:
            return
        command, value = told.content[0] - _ANSWER, told.content[1:]
        if command in _NAMES and value:
            self._confirm(command, int.from_bytes(value[:4] if command == _BAUD else value[:1], "big"), now, events)
        elif command == _CONTROL and value and value[0] in _FLOW.values():
            if value[0] != _FLOW[self._settings.flow_control]:
                set_to = next(name for name, code in _FLOW.items() if code == value[0])
                wanted = self._settings.flow_control
                events.append(self._refuse(f"the serial server has flow control {set_to} instead of {wanted}"))
        elif command == _LINE_STATE and value:
            self.line_faults.update(name for bit, name in _LINE_FAULTS.items() if value[0] & bit)
        elif command == _MODEM_STATE and value:
            events.append(ModemLines(tuple(name for bit, name in _MODEM_LINES.items() if value[0] & bit)))
        elif command == _SUSPEND:
            self._suspended = True
        elif command == _RESUME:
            self._suspended = False
            self._out += escaped(bytes(self._unsent))
            self._unsent.clear()

    def _confirm(self, command: int, value: int, now: float, events: list[ComPortEvent]) -> None:
        if value != self._wanted[command]:
            what = f"{_NAMES[command]} {_said(command, value)} instead of {_said(command, self._wanted[command])}"
            events.append(self._refuse(f"the serial server has {what}"))
            return
        self._confirmed.add(command)
        if self._ready:
            self._asked, self._answers_questions = False, True
            self.wake_at = now + ASK_EVERY_S
        elif len(self._confirmed) == len(self._wanted):
            self._ready = True
            events.append(Ready())
            if self._held:
                events.append(self._held)
                self._held = b""
            self._ask(now)

    def _ask(self, now: float) -> None:
        """What is your baud rate? Once answered, a silence later on means that nobody is there."""
        self._asked = True
        self._command(_BAUD, bytes(4))
        self.wake_at = now + (ANSWER_WITHIN_S if self._answers_questions else ASK_EVERY_S)

    def _command(self, command: int, value: bytes) -> None:
        self._telnet.subnegotiate(COM_PORT, bytes((command,)) + value)
        self._out += self._telnet.bytes_to_send()

    def _silence(self) -> str:
        if not self._spoke_telnet:
            return "the server does not speak telnet: no RFC 2217 server? " + _RAW
        missing = [name for command, name in _NAMES.items() if command not in self._confirmed]
        return f"the serial server did not confirm: {', '.join(missing)}"

    def _refuse(self, reason: str) -> Unusable:
        self._over = True
        return Unusable(reason)


_RAW = 'A raw serial server is kind = "tcp_dial"'


def _said(command: int, value: int) -> str:
    if command == _PARITY:
        return next((name for name, code in _PARITIES.items() if code == value), str(value))
    return str(value)
