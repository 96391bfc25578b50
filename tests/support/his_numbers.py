"""A HIS that owns numbers, on a real socket, and the port that speaks to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from cloud.his.hl7_port import Hl7Port
from cloud.his.port import NumberLock, PatientFacts
from simulators.his.book import Session
from simulators.his.receiver import HisReceiver
from simulators.ledger import Ledger

ZONE = ZoneInfo("Asia/Shanghai")
SESSION = "NK-20270301-AM-D001"
STARTS = datetime(2027, 3, 1, 8, 0, tzinfo=ZONE)
MEI = PatientFacts("P7001", "C7001", "王小梅", "F", date(1985, 3, 2), "999001198503020001", "00013800001")


def half_day(capacity: int = 20, *, code: str = SESSION, doctor: str = "D001", fee_fen: int = 5000) -> Session:
    return Session(
        code=code,
        department="NK",
        department_name="内科门诊",
        doctor=doctor,
        doctor_name="李主任" if doctor else "",
        starts_at=STARTS,
        ends_at=STARTS + timedelta(hours=4),
        fee_fen=fee_fen,
        capacity=capacity,
        title="主任医师" if doctor else "",
        place="门诊楼三层 12 诊室",
    )


def wish(key: str, seq: int | None = 7, *, code: str = SESSION) -> NumberLock:
    return NumberLock(
        key=key,
        session_code=code,
        seq=seq,
        from_at=STARTS,
        to_at=STARTS + timedelta(minutes=15),
        patient=MEI,
        fee_fen=5000,
        hold_until=STARTS,
    )


@contextmanager
def standing_his(port: int = 0) -> Iterator[HisReceiver]:
    his = HisReceiver(Ledger(None, "his"), "127.0.0.1", port)
    his.start()
    try:
        yield his
    finally:
        his.go_down()


def port_to(his: HisReceiver, *, answer_s: float = 5.0) -> Hl7Port:
    return Hl7Port("127.0.0.1", his.port, connect_s=5, answer_s=answer_s)
