"""What the HIS tells by itself arrives in the schedule and in the bills, as its simulator words it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import pytest
from sqlalchemy import func, select, text

from cloud.app import load_slices
from cloud.billing import execution
from cloud.billing.model import Charge, ChargeItem
from cloud.his import bills, delivery, hl7_port, inbox
from cloud.his.model import HisMessage, HisOutbox, IncomingState
from cloud.his.server import HisServer
from cloud.hospital.model import ClinicSession, Doctor
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.events import StoredEvent, load
from protocols.messages.hl7 import read_messages
from simulators.his import telling
from simulators.his.book import Session
from simulators.his.client import HisClient
from simulators.his.control import HisControl
from simulators.his.receiver import HisReceiver
from simulators.his.telling import Fee, Message
from simulators.ledger import Ledger
from simulators.people import invent
from simulators.wire import dial
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.his import msa
from tests.support.his_numbers import ZONE, half_day, standing_his

pytestmark = [pytest.mark.req("HIS-1"), pytest.mark.req("PAY-1"), pytest.mark.req("REG-1")]
NUMBERS = itertools.count(1)
MEI = next(invent(7, datetime(2026, 11, 24, tzinfo=ZONE).date()))
NK = ("NK", "内科门诊")
FEES = (
    Fee("L1", "CBC", "血常规", 2500, "检验费", order="D9001"),
    Fee("L2", "250301", "静脉采血", 500, "治疗费"),
    Fee("L3", "A01", "阿莫西林胶囊", 1850, "西药费", quantity="2", spec="0.25g*24"),
)


@pytest.fixture(scope="module")
def hospital(database_server: DatabaseServer) -> Iterator[HisReceiver]:
    with pytest.MonkeyPatch.context() as patched, standing_his() as his, database_server.clone() as url:
        patched.setenv("XINGLIN_HIS_HOST", "127.0.0.1")
        patched.setenv("XINGLIN_HIS_PORT", str(his.port))
        with cloud_on(url, patched):
            load_slices()
            yield his
            hl7_port.at("127.0.0.1", his.port).close()


@pytest.fixture
def his(hospital: HisReceiver) -> HisReceiver:
    hospital.book.executed.clear()
    with begin() as session:
        session.execute(text("TRUNCATE his_message, his_outbox, charge, clinic_session, doctor, event CASCADE"))
    return hospital


def now() -> datetime:
    return datetime.now(ZONE)


def said(message: Message) -> tuple[str, str]:
    """Our answer's code and text."""
    (answer,) = inbox.receive(begin, ("\r".join(message) + "\r").encode())
    code, _, reason = msa(read_messages(answer)[0])
    return code, reason


def number() -> str:
    return f"T{next(NUMBERS):06d}"


def tomorrow(**changed: object) -> Session:
    session = half_day()
    session.starts_at = (now() + timedelta(days=3)).replace(hour=8, minute=0, second=0, microsecond=0)
    session.ends_at = session.starts_at + timedelta(hours=4)
    for name, value in changed.items():
        setattr(session, name, value)
    return session


def opened(session: Session, event: str = "S24", reason: str = "") -> tuple[str, str]:
    return said(telling.session_opened(session, number(), now(), event=event, reason=reason))


def ours() -> ClinicSession:
    with begin() as session:
        row = session.scalars(select(ClinicSession)).one()
        assert row.department.code == "NK"
        return row


def billed(kind: str = "CG", bill: str = "B1", fees: tuple[Fee, ...] = FEES) -> tuple[str, str]:
    return said(telling.bill(MEI, "V1", bill, fees, NK, number(), now(), kind=kind))


def charge() -> Charge:
    with begin() as session:
        return session.scalars(select(Charge)).one()


def items() -> list[ChargeItem]:
    with begin() as session:
        return list(session.scalars(select(ChargeItem).where(ChargeItem.state != "void").order_by(ChargeItem.position)))


def test_a_session_of_the_his_stands_in_the_schedule_with_its_doctor_fee_and_numbers(his: HisReceiver) -> None:
    assert opened(tomorrow())[0] == "AA"
    assert opened(tomorrow())[0] == "AA"
    row = ours()
    assert (row.owner, row.half, row.kind, row.fee_fen, row.capacity) == ("his", "morning", "expert", 5000, 20)
    assert row.ends_at - row.starts_at == timedelta(hours=4)
    assert row.place == "门诊楼三层 12 诊室"
    with begin() as session:
        doctor = session.scalars(select(Doctor)).one()
    assert (doctor.code, doctor.name, doctor.title) == ("D001", "李主任", "chief")


def test_a_changed_session_is_changed_another_doctor_substitutes_and_a_blocked_one_is_stopped(his: HisReceiver) -> None:
    opened(tomorrow())
    assert opened(tomorrow(capacity=25, fee_fen=6000), "S14", "加号")[0] == "AA"
    assert (ours().capacity, ours().fee_fen) == (25, 6000)
    assert opened(tomorrow(capacity=25, fee_fen=6000, doctor="D002", doctor_name="周副"), "S14", "替诊")[0] == "AA"
    assert ours().substitute_id is not None
    stopped = tomorrow(stopped="医生会议")
    assert said(telling.session_stopped(stopped, number(), now()))[0] == "AA"
    assert (ours().state, ours().stopped_why) == ("stopped", "医生会议")
    assert said(telling.session_stopped(stopped, number(), now()))[0] == "AA", "stopped again, nothing happens"


def test_a_number_sold_at_a_window_of_the_his_is_a_fact_for_the_phones(his: HisReceiver) -> None:
    opened(tomorrow())
    assert said(telling.number_moved(tomorrow(), number(), now(), sold=True))[0] == "AA"
    with begin() as session:
        assert session.scalar(select(func.count()).where(StoredEvent.type == "his.numbers_moved")) == 1


@pytest.mark.parametrize(
    ("segment", "field", "why"), [("SCH", 5, "SCH-5"), ("AIS", 4, "AIS-4"), ("AIG", 6, "AIG-6"), ("AIL", 3, "AIL-3")]
)
def test_a_session_that_lacks_what_it_must_have_is_refused_and_named(
    his: HisReceiver, segment: str, field: int, why: str
) -> None:
    message = telling.session_opened(tomorrow(), number(), now())
    at = next(n for n, each in enumerate(message) if each.startswith(segment))
    fields = message[at].split("|")
    fields[field] = ""
    message[at] = "|".join(fields)
    code, reason = said(message)
    assert (code, why in reason) == ("AR", True)


def test_a_session_that_is_not_known_cannot_be_stopped_or_sold(his: HisReceiver) -> None:
    assert said(telling.session_stopped(tomorrow(), number(), now()))[0] == "AE"
    assert said(telling.number_moved(tomorrow(), number(), now(), sold=True))[0] == "AE"


def test_a_bill_of_the_his_is_taken_in_once_with_its_lines(his: HisReceiver) -> None:
    assert billed()[0] == "AA"
    assert billed()[0] == "AA"
    row = charge()
    assert (row.source, row.number, row.visit, row.total_fen, row.state) == ("his", "B1", "V1", 4850, "payable")
    found = [(each.line, each.fen, each.goods, each.order_key) for each in items()]
    assert found == [
        ("L1", 2500, False, "his:D9001/CBC"),
        ("L2", 500, False, None),
        ("L3", 1850, True, None),
    ]


def test_a_bill_is_replaced_while_nobody_pays_and_taken_back(his: HisReceiver) -> None:
    billed()
    assert billed(fees=FEES[:2])[0] == "AA"
    assert charge().total_fen == 3000
    assert billed("CD", fees=FEES[:2])[0] == "AA"
    assert charge().state == "void"
    assert billed("CD", "NEVER-SEEN")[0] == "AA", "a cancellation may overtake its bill"


def test_a_bill_paid_at_a_window_of_the_his_is_paid_here_and_a_changed_one_is_refused_then(his: HisReceiver) -> None:
    billed()
    assert billed("PY")[0] == "AA"
    assert charge().state == "paid"
    assert billed(fees=FEES[:1])[0] == "AE"
    with begin() as session:
        (refused,) = session.scalars(select(HisMessage).where(HisMessage.state == IncomingState.REFUSED))
    assert refused.reason


def test_lines_that_the_his_executed_are_executed_here_and_not_told_back(his: HisReceiver) -> None:
    billed()
    billed("PY")
    assert said(telling.executed("B1", ["L2"], number(), now()))[0] == "AA"
    assert [each.state for each in items()] == ["paid", "executed", "paid"]
    assert said(telling.executed("NEVER-SEEN", ["L2"], number(), now()))[0] == "AE"
    tell_executions()
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(HisOutbox)) == 0


def tell_executions() -> None:
    with begin() as session:
        for each in session.scalars(select(StoredEvent).where(StoredEvent.type == "billing.items_executed")).all():
            bills.items_executed(session, load(each.type, each.version, each.aggregate_id, each.payload))  # type: ignore[arg-type]


def test_lines_that_were_executed_here_are_told_to_the_his_once(his: HisReceiver) -> None:
    billed()
    billed("PY")
    drawn = items()[1]
    with begin() as session:
        execution.execute(session, [drawn.id], by="staff:nurse")
    tell_executions()
    tell_executions()
    assert delivery.deliver(begin) == 1
    assert list(his.book.executed) == ["L2"]


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [(11, "1.234&CNY", "FT1-11"), (10, "zwei", "FT1-10"), (4, "", "FT1-4"), (6, "AJ", "FT1-6")],
)
def test_a_bill_with_a_line_that_cannot_be_read_is_refused_as_a_whole(
    his: HisReceiver, field: int, value: str, why: str
) -> None:
    message = telling.bill(MEI, "V1", "B1", FEES, NK, number(), now())
    at = next(n for n, each in enumerate(message) if each.startswith("FT1|2"))
    fields = message[at].split("|")
    fields[field] = value
    message[at] = "|".join(fields)
    code, reason = said(message)
    assert (code, why in reason) == ("AR", True)
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(Charge)) == 0


def test_the_simulators_counters_drive_it_all_over_real_sockets(his: HisReceiver) -> None:
    server = HisServer("127.0.0.1", 0)
    threading.Thread(target=server.serve, daemon=True).start()
    client = HisClient(dial("127.0.0.1", server.port), Ledger(None, "his"), pause_s=0.01)
    control = HisControl(Ledger(None, "his"), his, client, now)
    http = control.start("127.0.0.1", 0)
    wish = tomorrow()
    published = {
        "code": "C-1",
        "department": "NK",
        "department_name": "内科门诊",
        "doctor": "",
        "doctor_name": "",
        "starts_at": wish.starts_at.isoformat(),
        "ends_at": wish.ends_at.isoformat(),
        "fee_fen": 1000,
        "capacity": 4,
    }
    with httpx.Client(base_url=f"http://127.0.0.1:{http.server_port}") as counter:
        assert counter.post("/sessions", json=published).json() == {"code": "C-1", "event": "S24"}
        assert ours().kind == "general"
        assert counter.post("/windows/sell", json={"code": "C-1", "count": 2}).json() == {"sold": [1, 2]}
        port = hl7_port.at("127.0.0.1", his.port)
        assert [each.seq for each in port.open_numbers("C-1")] == [3, 4]
        assert counter.post("/windows/give-back", json={"code": "C-1", "seq": 1}).json() == {"freed": 1}
        assert counter.post("/windows/sell", json={"code": "C-1", "count": 9}).status_code == 409
        bill = {"person": MEI.as_dict(), "visit": "V1", "number": "B9", "department": NK}
        fees = [{"line": "L1", "code": "CT", "name": "CT 平扫", "fen": 18000, "category": "检查费"}]
        assert counter.post("/charges", json={**bill, "fees": fees}).status_code == 200
        assert charge().kind == "exam"
        assert counter.post("/charges/paid", json={"number": "B9"}).status_code == 200
        assert counter.post("/charges/executed", json={"number": "B9", "lines": ["L1"]}).status_code == 200
        assert items()[0].state == "executed"
        assert counter.post("/charges/void", json={"number": "B9"}).status_code == 409, "it was paid"
        assert counter.post("/faults", json={"how": "slow", "kind": "SRM", "slow_s": 0.0}).status_code == 200
        assert counter.post("/faults", json={"how": "no such"}).status_code == 400
        assert counter.post("/sessions/stop", json={"code": "C-1", "why": "设备检修"}).status_code == 200
        stand = counter.get("/stand").json()
        assert stand["sessions"]["C-1"]["stopped"] == "设备检修"
        counter.post("/down", json={})
        counter.post("/faults/clear", json={})
        counter.post("/up", json={})
    assert ours().state == "stopped"
    assert clock.local(ours().starts_at).hour == 8
    client.hang_up()
    http.shutdown()
    http.server_close()
    server.stop()
