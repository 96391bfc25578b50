"""The HIS over HL7 v2.5.1 and MLLP as a `HisPort`. A few open connections are kept; one call on each at a time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import date, datetime
from functools import cache, partial

from cloud.his import mapping, money, scheduling
from cloud.his.line import HisAway, HisSilent, Line
from cloud.his.port import (
    Away,
    MoneyLine,
    NumberLock,
    NumberStand,
    NumberStanding,
    OpenNumber,
    PaidWith,
    Refused,
    Unknown,
)
from cloud.his.writing import new_control_id
from cloud.kit import clock
from protocols.messages.hl7 import Hl7Message, read_messages

CONNECT_S = 3.0
ANSWER_S = 8.0
"""A patient waits in front of it."""
IDLE_LINES = 4
BROKEN = "line_broken"

Write = Callable[[str, datetime], bytes]


class Hl7Port:
    """One HIS at one address."""

    connected = True
    name = "hl7"

    def __init__(self, host: str, port: int, *, connect_s: float = CONNECT_S, answer_s: float = ANSWER_S) -> None:
        self._address = (host, port)
        self._connect_s = connect_s
        self._answer_s = answer_s
        self._names = mapping.outgoing()
        self._idle: list[Line] = []
        self._lock = threading.Lock()

    def lock_number(self, lock: NumberLock) -> NumberStand:
        zone = clock.hospital_zone()
        answer = self._ask(lambda number, now: scheduling.lock_request(lock, number, now, zone, self._names))
        return scheduling.read_stand(answer, lock.key, zone)

    def number_stand(self, key: str) -> NumberStand:
        zone = clock.hospital_zone()
        try:
            answer = self._ask(lambda number, now: scheduling.stand_query(key, number, now, zone, self._names))
            return scheduling.read_stand(answer, key, zone)
        except Refused as error:  # whatever keeps it from telling: it has not told
            raise Unknown(error.code) from error

    def confirm_number(self, key: str, paid: PaidWith | None) -> NumberStand:
        zone = clock.hospital_zone()
        answer = self._ask(lambda number, now: scheduling.confirm_request(key, paid, number, now, zone, self._names))
        return scheduling.read_stand(answer, key, zone)

    def release_number(self, key: str, *, reason: str) -> NumberStand:
        zone = clock.hospital_zone()
        answer = self._ask(lambda number, now: scheduling.release_request(key, reason, number, now, zone, self._names))
        try:
            return scheduling.read_stand(answer, key, zone)
        except Refused as error:
            if error.code == scheduling.UNKNOWN_KEY:
                return NumberStand(NumberStanding.ABSENT, key)
            raise

    def open_numbers(self, session_code: str) -> tuple[OpenNumber, ...]:
        zone = clock.hospital_zone()
        answer = self._ask(lambda number, now: scheduling.open_query(session_code, number, now, zone, self._names))
        return scheduling.read_open(answer, zone)

    def money_of(self, day: date) -> tuple[MoneyLine, ...]:
        zone = clock.hospital_zone()
        found: list[MoneyLine] = []
        after = ""
        while True:
            answer = self._ask(partial(self._money_page, day, after))
            rows, following = money.read_money(answer, zone)
            found += rows
            if not following:
                return tuple(found)
            if following == after or not rows:
                raise Unknown("money_without_end")
            after = following

    def _money_page(self, day: date, after: str, control_id: str, now: datetime) -> bytes:
        return money.money_query(day, after, control_id, now, clock.hospital_zone(), self._names)

    def close(self) -> None:
        """Hang up; the next call dials anew."""
        with self._lock:
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()

    def _ask(self, write: Write) -> Hl7Message:
        """The answer to one message. Raises `Away` before anything was sent, `Unknown` after."""
        control_id = new_control_id()
        payload = write(control_id, clock.now())
        line = self._kept()
        if line is not None:
            try:
                return self._exchange(line, payload, control_id)
            except Unknown as error:
                if error.code != BROKEN:
                    raise
                # The HIS may have closed a line that stood idle. Every message here may come twice (same key, same
                # number of the message), so it goes out once more on a fresh line.
        return self._exchange(self._dialled(), payload, control_id)

    def _exchange(self, line: Line, payload: bytes, control_id: str) -> Hl7Message:
        try:
            answer = line.exchange(payload, control_id, self._answer_s)
        except (TimeoutError, HisSilent) as error:
            line.close()
            raise Unknown("no_answer_in_time") from error
        except (OSError, HisAway) as error:
            line.close()
            raise Unknown(BROKEN) from error
        self._keep(line)
        return read_messages(answer)[0]

    def _dialled(self) -> Line:
        try:
            return Line(socket.create_connection(self._address, timeout=self._connect_s))
        except OSError as error:
            raise Away from error

    def _kept(self) -> Line | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, line: Line) -> None:
        with self._lock:
            if len(self._idle) < IDLE_LINES:
                self._idle.append(line)
                return
        line.close()


@cache
def at(host: str, port: int) -> Hl7Port:
    """The process's port to that address."""
    return Hl7Port(host, port)
