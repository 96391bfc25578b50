"""What this HIS tells by itself: its sessions (SIU), its bills (DFT^P03), what it executed (ORM^O01)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from simulators.his.book import Session
from simulators.his.messages import escaped, header, patient
from simulators.mllp import stamp
from simulators.people import Person

Message = list[str]


@dataclass(frozen=True, slots=True)
class Fee:
    """One line of a bill."""

    line: str
    code: str
    name: str
    fen: int
    category: str = "治疗费"
    quantity: str = "1"
    spec: str = ""
    order: str = ""


def session_opened(session: Session, number: str, at: datetime, *, event: str = "S24", reason: str = "") -> Message:
    """Numbers of the session may be had (S24), or it is otherwise now (S14)."""
    minutes = int((session.ends_at - session.starts_at).total_seconds() // 60)
    service = "EXPERT^专家门诊" if session.doctor else "GENERAL^普通门诊"
    lines = [
        header(f"SIU^{event}^SIU_S12", number, at),
        _sch(session.code, reason, session.segment_minutes),
        f"RGS|1|A|{escaped(session.code)}",
        f"AIS|1|A|{service}^L|{stamp(session.starts_at)}|||{minutes}|MIN||||{session.fee_fen / 100:.2f}",
        f"AIG|1|A||NUMBER||{session.capacity}",
        f"AIL|1|A|{escaped(session.department)}^^^XLYY^^^^^{escaped(session.place)}"
        f"|{escaped(session.department)}^{escaped(session.department_name)}",
    ]
    if session.doctor:
        lines.append(f"AIP|1|A|{escaped(session.doctor)}^{escaped(session.doctor_name)}|{escaped(session.title)}")
    return lines


def session_stopped(session: Session, number: str, at: datetime) -> Message:
    return [header("SIU^S23^SIU_S12", number, at), _sch(session.code, session.stopped, 0), "RGS|1|D"]


def number_moved(session: Session, number: str, at: datetime, *, sold: bool) -> Message:
    """A window sold one (S12) or took one back (S15)."""
    event = "S12" if sold else "S15"
    return [header(f"SIU^{event}^SIU_S12", number, at), _sch(session.code, "", 0), "RGS|1"]


def bill(
    person: Person,
    visit: str,
    bill_number: str,
    fees: Sequence[Fee],
    department: tuple[str, str],
    number: str,
    at: datetime,
    *,
    kind: str = "CG",
) -> Message:
    """DFT^P03: CG makes the bill, CD takes it back, PY says that it was paid at a window of ours."""
    code, name = department
    lines = [
        header("DFT^P03^DFT_P03", number, at),
        f"EVN|P03|{stamp(at)}",
        patient(person),
        f"PV1|1|O|{code}^^^XLYY^^^^^{escaped(name)}" + "|" * 16 + visit,
    ]
    for count, fee in enumerate(fees, 1):
        lines.append(
            f"FT1|{count}|{fee.line}|{bill_number}|{stamp(at)}||{kind}|{escaped(fee.code)}^{escaped(fee.name)}^L|"
            f"|{escaped(fee.spec)}|{fee.quantity}|{fee.fen / 100:.2f}&CNY||{code}^{escaped(name)}||||{fee.category}"
        )
        if fee.order:
            lines.append(f"ORC|NW|{escaped(fee.order)}")
    return lines


def executed(bill_number: str, lines: Sequence[str], number: str, at: datetime, by: str = "治疗室") -> Message:
    """ORM^O01: these lines were done at one of our own stations."""
    orders = [f"ORC|SC|{each}||{bill_number}|CM||||{stamp(at)}|^{escaped(by)}" for each in lines]
    return [header("ORM^O01^ORM_O01", number, at), *orders]


def _sch(code: str, reason: str, minutes: int) -> str:
    desk = "GH^挂号处"
    said = f"R^{escaped(reason)}" if reason else "ROUTINE"
    return f"SCH|||||{escaped(code)}|{said}|||{minutes or ''}|||||||{desk}||||{desk}"
