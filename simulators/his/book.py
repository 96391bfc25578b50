"""What this HIS keeps: sessions with their numbers, who has which, the money it was told of. No wire here.

Its windows sell the same numbers. A tentative appointment that nobody makes firm is dropped after `hold_s`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

PENDING, BOOKED, CANCELLED, COMPLETE, NOSHOW, STOPPED = "Pending", "Booked", "Cancelled", "Complete", "Noshow", "Dc"
LIVING = (PENDING, BOOKED, COMPLETE, NOSHOW)


class Refusal(Exception):
    """No. `condition`: table 0357; `word`: why, in this HIS's own code."""

    def __init__(self, word: str, text: str, condition: str = "200") -> None:
        super().__init__(word)
        self.word = word
        self.text = text
        self.condition = condition


@dataclass(slots=True)
class Session:
    """One doctor's half-day, or that of a department's ordinary clinic."""

    code: str
    department: str
    department_name: str
    doctor: str
    doctor_name: str
    starts_at: datetime
    ends_at: datetime
    fee_fen: int
    capacity: int
    segment_minutes: int = 15
    title: str = ""
    place: str = ""
    stopped: str = ""
    taken: dict[int, Appointment] = field(default_factory=dict)

    def from_at(self, seq: int) -> datetime:
        """Numbers are spread evenly, in whole segments."""
        minutes = (self.ends_at - self.starts_at).total_seconds() / 60
        segments = max(int(minutes // self.segment_minutes), 1)
        return self.starts_at + timedelta(minutes=self.segment_minutes * ((seq - 1) * segments // self.capacity))


@dataclass(slots=True)
class Appointment:
    """One number with the patient who has it. `key` is the other side's; empty for one sold at a window."""

    number: str
    key: str
    session: str
    seq: int
    patient: str
    state: str
    since: datetime


@dataclass(slots=True)
class Money:
    """A movement that was reported; repeats are counted, the first stands."""

    number: str
    fen: int
    channel: str
    at: str
    batch: str
    times: int = 1


class Book:
    """One hospital's. Every verb is one step under the lock."""

    def __init__(self, now: Callable[[], datetime], *, hold_s: float = 900) -> None:
        self.now = now
        self.hold_s = hold_s
        self.lock = threading.RLock()
        self.sessions: dict[str, Session] = {}
        self.appointments: dict[str, Appointment] = {}
        self.money: dict[str, Money] = {}
        self.executed: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def publish(self, session: Session) -> Session:
        """New, or changed: who has a number keeps it."""
        with self.lock:
            known = self.sessions.get(session.code)
            if known is not None:
                session.taken = known.taken
            self.sessions[session.code] = session
            return session

    def reserve(self, key: str, code: str, seq: int | None, patient: str) -> Appointment:
        """Tentative. The same key again is the same appointment, whatever became of it."""
        with self.lock:
            self._drop_overdue()
            known = self.appointments.get(key)
            if known is not None:
                if known.state == CANCELLED:
                    raise Refusal("NOT_HELD", "此预约已取消")
                return known
            return self._take(key, code, seq, patient, PENDING)

    def make_firm(self, key: str) -> Appointment:
        with self.lock:
            self._drop_overdue()
            known = self._of(key)
            if known.state == PENDING:
                known.state = BOOKED
            if known.state == STOPPED:
                raise Refusal("STOPPED", "已停诊")
            if known.state == CANCELLED:
                raise Refusal("NOT_HELD", "号源已释放")
            return known

    def cancel(self, key: str) -> Appointment:
        """An unknown key is remembered as cancelled: its request may be on the way still."""
        with self.lock:
            known = self.appointments.get(key)
            if known is None:
                known = Appointment(self._number(), key, "", 0, "", CANCELLED, self.now())
                self.appointments[key] = known
            if known.state in (COMPLETE, NOSHOW):
                raise Refusal("USED", "已就诊，不能退号")
            if known.state in (PENDING, BOOKED):
                self._free(known, CANCELLED)
            return known

    def stand(self, key: str) -> Appointment | None:
        with self.lock:
            self._drop_overdue()
            return self.appointments.get(key)

    def open_numbers(self, code: str) -> list[int]:
        with self.lock:
            self._drop_overdue()
            session = self.sessions.get(code)
            if session is None:
                raise Refusal("UNKNOWN_SESSION", "没有此排班", "204")
            if session.stopped:
                return []
            return [each for each in range(1, session.capacity + 1) if each not in session.taken]

    def sell_at_window(self, code: str, patient: str = "窗口病人") -> Appointment:
        """The next free number, to somebody in front of a window."""
        with self.lock:
            self._drop_overdue()
            return self._take("", code, None, patient, BOOKED)

    def give_back_at_window(self, code: str, seq: int) -> Appointment:
        with self.lock:
            found = self.sessions[code].taken.get(seq)
            if found is None or found.key:
                raise Refusal("NOT_HELD", "此号不是窗口售出")
            self._free(found, CANCELLED)
            return found

    def stop(self, code: str, why: str) -> Session:
        """The session does not take place: every number of it is taken away."""
        with self.lock:
            session = self.sessions[code]
            session.stopped = why or "停诊"
            for each in list(session.taken.values()):
                if each.state in (PENDING, BOOKED):
                    each.state = STOPPED
            return session

    def seen(self, key: str, *, came: bool = True) -> Appointment:
        """The doctor saw the patient, or nobody came."""
        with self.lock:
            known = self._of(key)
            known.state = COMPLETE if came else NOSHOW
            return known

    def book_money(self, entry: Money) -> Money:
        """Once for each number; the same number with another amount is refused."""
        with self.lock:
            known = self.money.get(entry.number)
            if known is None:
                self.money[entry.number] = entry
                return entry
            if known.fen != entry.fen:
                raise Refusal("AMOUNT", f"流水号 {entry.number} 已入账，金额不同", "205")
            known.times += 1
            return known

    def _take(self, key: str, code: str, seq: int | None, patient: str, state: str) -> Appointment:
        session = self.sessions.get(code)
        if session is None:
            raise Refusal("UNKNOWN_SESSION", "没有此排班", "204")
        if session.stopped:
            raise Refusal("STOPPED", session.stopped)
        free = (each for each in range(1, session.capacity + 1) if each not in session.taken)
        wanted = seq if seq is not None else next(free, None)
        if wanted is None:
            raise Refusal("FULL", "号已满")
        if wanted in session.taken or not 1 <= wanted <= session.capacity:
            raise Refusal("TAKEN", "此号已售出")
        made = Appointment(self._number(), key, code, wanted, patient, state, self.now())
        session.taken[wanted] = made
        if key:
            self.appointments[key] = made
        return made

    def _of(self, key: str) -> Appointment:
        known = self.appointments.get(key)
        if known is None:
            raise Refusal("", "没有此预约", "204")
        return known

    def _free(self, appointment: Appointment, state: str) -> None:
        appointment.state = state
        session = self.sessions.get(appointment.session)
        if session is not None and session.taken.get(appointment.seq) is appointment:
            del session.taken[appointment.seq]

    def _drop_overdue(self) -> None:
        over = self.now() - timedelta(seconds=self.hold_s)
        for each in self.appointments.values():
            if each.state == PENDING and each.since < over:
                self._free(each, CANCELLED)

    def _number(self) -> str:
        return f"YY{self.now():%y%m%d}{next(self._numbers):06d}"
