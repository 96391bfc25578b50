"""The HIS over a real socket: registrations, merges, orders; what comes twice, what is refused, what cannot be read."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url

from cloud.app import load_slices
from cloud.config import settings
from cloud.his.model import HisCode, HisMessage, IncomingState
from cloud.his.server import HisServer, run
from cloud.hospital.model import Department
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin, engine
from cloud.kit.presence import NotThere
from cloud.lis.catalog import load
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, Order
from cloud.lis.specimens import service as specimens
from cloud.people import service as people
from cloud.people.model import Person
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.his import HisLine, adt, header, msa, oml, order_line, person

pytestmark = pytest.mark.req("HIS-1", "LIS-1")


@pytest.fixture(scope="module")
def catalogued(database_server: DatabaseServer) -> Iterator[str]:
    """A database with the starting catalogue, to be copied for each test. Gives its name."""
    with database_server.clone() as url, pytest.MonkeyPatch.context() as patch, cloud_on(url, patch):
        load_slices()
        load.run()
        engine().dispose()
        yield make_url(url).database or ""


@pytest.fixture
def server(database_server: DatabaseServer, catalogued: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[HisServer]:
    with database_server.clone(template=catalogued) as url, cloud_on(url, monkeypatch):
        yield from _serving()


def _serving() -> Iterator[HisServer]:
    server = HisServer("127.0.0.1", 0)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.stop()
    thread.join(10)


@pytest.fixture
def his(server: HisServer) -> Iterator[HisLine]:
    line = HisLine(server.port)
    yield line
    line.close()


def stored(number: str) -> HisMessage:
    with begin() as session:
        return session.scalars(select(HisMessage).where(HisMessage.control_id == number)).one()


def kept_without_number() -> list[HisMessage]:
    with begin() as session:
        return list(session.scalars(select(HisMessage).where(HisMessage.control_id.is_(None)).order_by(HisMessage.id)))


def everybody() -> list[Person]:
    with begin() as session:
        return list(session.scalars(select(Person)))


def the_order(placer: str) -> Order:
    with begin() as session:
        order = orders.order_by_placer(session, "his", placer)
        assert order is not None
        return order


def item_states(placer: str) -> list[str]:
    order = the_order(placer)
    with begin() as session:
        return [str(each.state) for each in orders.items_of(session, order.id)]


def test_a_registered_patient_is_filed_and_an_update_changes_the_same_file(his: HisLine) -> None:
    assert msa(his.say(adt("A04", "1", person())))[0] == "AA"
    assert msa(his.say(adt("A08", "2", person(name="王晓梅")))) == ("AA", "2", "")
    (file,) = everybody()
    assert (file.name, file.sex, file.id_number, file.phone) == ("王晓梅", "F", "999001198503020001", "00013800001")
    with begin() as session:
        by_card = people.find(session, "card", "CP7001")
        assert by_card is not None
        assert by_card.id == file.id
    assert stored("1").raw.decode().startswith("MSH|")
    assert stored("1").state == IncomingState.APPLIED


def test_an_order_reaches_the_laboratory_with_its_patient_and_department(his: HisLine) -> None:
    answer = his.say(oml("1", *order_line("D1", "CBC", priority="S"), *order_line("D1", "CRP"), "DG1|1||^发热待查"))
    order = the_order("D1")
    orc = answer.first("ORC")
    assert msa(answer)[0] == "AA"
    assert orc is not None
    assert orc.text(3) == order.number
    assert (order.priority, order.visit_number, order.bed, order.diagnosis) == ("S", "V0001", "12", "发热待查")
    assert order.ordered_at.isoformat() == "2026-11-23T00:12:00+00:00"
    with begin() as session:
        assert session.get_one(Department, order.department_id).name == "内科门诊"
        assert session.get_one(Person, order.person_id).name == "王小梅"
        assert len(orders.items_of(session, order.id)) > 10
        actors = select(AuditEntry.actor).where(AuditEntry.action == "order.place")
        assert session.scalars(actors).all() == ["his"], "whoever ordered is named on the order; the HIS acted here"


def test_the_same_message_again_is_answered_with_the_same_bytes_and_ordered_once(
    his: HisLine, server: HisServer
) -> None:
    message = oml("1", *order_line("D1", "CBC"))
    first = his.raw(b"\x0b" + message + b"\x1c\r")
    other_line = HisLine(server.port)
    again = other_line.raw(b"\x0b" + message.replace(b"20261123081500", b"20261123081559") + b"\x1c\r")
    other_line.close()
    assert again == first
    assert stored("1").times == 2
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 1


def test_a_number_that_was_used_for_another_message_is_refused_and_the_message_kept(his: HisLine) -> None:
    his.say(oml("1", *order_line("D1", "CBC")))
    code, _, reason = msa(his.say(oml("1", *order_line("D2", "CBC"))))
    assert code == "AR"
    assert "used before" in reason
    (kept,) = kept_without_number()
    assert b"D2" in kept.raw


def test_a_second_message_under_the_same_order_number_adds_its_tests(his: HisLine) -> None:
    his.say(oml("1", *order_line("D1", "CBC")))
    before = len(item_states("D1"))
    assert msa(his.say(oml("2", *order_line("D1", "CRP"))))[0] == "AA"
    assert len(item_states("D1")) == before + 1
    assert msa(his.say(oml("3", *order_line("D1", "CRP"))))[0] == "AA"
    assert len(item_states("D1")) == before + 1


def timed(line: list[str], *, tq1: str = "", obr7: str = "", obr36: str = "") -> list[str]:
    """An order line with a planned time in one of the fields that may carry it."""
    orc, timing, obr = (each.split("|") for each in line)
    timing[7] = tq1
    obr += [""] * (37 - len(obr))
    obr[7], obr[36] = obr7, obr36
    return ["|".join(each) for each in (orc, timing, obr)]


@pytest.mark.req("LIS-1")
def test_the_time_a_test_is_to_be_drawn_is_read_wherever_the_his_puts_it(his: HisLine) -> None:
    at = "20261124080000"
    for number, where in enumerate(({"tq1": at}, {"obr36": at}, {"obr7": at})):
        his.say(oml(f"T{number}", *timed(order_line(f"D{number}", "CORT"), **where)))
        planned = the_order(f"D{number}").collect_at
        assert planned is not None
        assert planned.isoformat() == "2026-11-24T00:00:00+00:00"
    his.say(oml("T9", *timed(order_line("D9", "CORT"), obr7="20261123075000")))
    assert the_order("D9").collect_at is None, "a time before the order says when it was drawn, not when it is to be"


@pytest.mark.req("LIS-1")
def test_one_test_for_two_times_is_ordered_twice_and_a_cancellation_takes_one_away(his: HisLine) -> None:
    morning, afternoon = (timed(order_line("D1", "CORT"), tq1=f"202611241{hour}0000") for hour in (0, 6))
    his.say(oml("1", *morning, *afternoon))
    his.say(oml("2", *morning, *afternoon))
    assert item_states("D1") == [ItemState.ORDERED] * 2
    cancelled = timed(order_line("D1", "CORT", control="CA"), tq1="20261124160000")
    assert msa(his.say(oml("3", *cancelled)))[0] == "AA"
    with begin() as session:
        left = [each.timing for each in orders.items_of(session, the_order("D1").id) if each.state == "ordered"]
    assert left == ["2026-11-24T10:00+08:00"]
    assert msa(his.say(oml("4", *order_line("D1", "CORT", control="CA"))))[0] == "AA"
    assert set(item_states("D1")) == {ItemState.CANCELLED}, "a line without a time means the test whenever it is drawn"


def test_an_order_is_cancelled_whole_or_by_item(his: HisLine) -> None:
    his.say(oml("1", *order_line("D1", "CBC"), *order_line("D1", "CRP")))
    assert msa(his.say(oml("2", *order_line("D1", "CRP", control="CA"))))[0] == "AA"
    assert item_states("D1").count(ItemState.CANCELLED) == 1
    assert msa(his.say(oml("3", "ORC|CA|D1")))[0] == "AA"
    assert set(item_states("D1")) == {ItemState.CANCELLED}
    assert msa(his.say(oml("4", "ORC|CA|D1")))[0] == "AA", "a second cancellation is no error"


def test_a_cancellation_after_the_tube_arrived_is_refused_with_the_reason(his: HisLine) -> None:
    his.say(oml("1", *order_line("D1", "CBC")))
    with begin() as session:
        accession = specimens.print_labels(session, the_order("D1").id, by="system")[0].accession
        specimens.receive(session, accession, by="system")
    code, _, reason = msa(his.say(oml("2", "ORC|CA|D1")))
    assert code == "AE"
    assert "已由检验科接收" in reason
    assert ItemState.CANCELLED not in item_states("D1")


def test_an_unknown_item_is_refused_by_name_nothing_is_ordered_and_a_mapping_cures_it(his: HisLine) -> None:
    message = oml("1", *order_line("D1", "XCG001"))
    code, _, reason = msa(his.say(message))
    assert code == "AE"
    assert "XCG001" in reason
    assert everybody() == [], "nothing of a refused message remains"
    assert stored("1").state == IncomingState.REFUSED
    with begin() as session:
        session.add(HisCode(kind="item", theirs="XCG001", ours="CBC", set_by="staff:1"))
    assert msa(his.say(message))[0] == "AA"
    assert len(item_states("D1")) > 10


def test_a_merge_lets_both_numbers_lead_to_one_person_and_again_changes_nothing(his: HisLine) -> None:
    his.say(adt("A04", "1", person()))
    his.say(adt("A04", "2", person("P7002", "王小梅")))
    merge = adt("A40", "3", person(), "MRG|P7002^^^HIS^MR")
    assert msa(his.say(merge))[0] == "AA"
    assert msa(his.say(adt("A40", "4", person(), "MRG|P7002^^^HIS^MR")))[0] == "AA"
    with begin() as session:
        one, other = people.find(session, "mrn", "P7001"), people.find(session, "mrn", "P7002")
        assert one is not None
        assert other is not None
        assert one.id == other.id
        assert len(people.person_ids(session, one.id)) == 2


def test_a_merge_of_a_number_nobody_carries_files_it_under_the_survivor(his: HisLine) -> None:
    assert msa(his.say(adt("A40", "1", person(), "MRG|P9999^^^HIS^MR")))[0] == "AA"
    with begin() as session:
        found = people.find(session, "mrn", "P9999")
        assert found is not None
        assert found.name == "王小梅"


def test_an_order_under_the_old_number_after_a_merge_goes_to_the_survivor(his: HisLine) -> None:
    his.say(adt("A04", "1", person()))
    his.say(adt("A04", "2", person("P7002")))
    his.say(adt("A40", "3", person(), "MRG|P7002^^^HIS^MR"))
    assert msa(his.say(oml("4", *order_line("D1", "CBC"), patient=person("P7002"))))[0] == "AA"
    with begin() as session:
        survivor = people.find(session, "mrn", "P7001")
        assert survivor is not None
        assert the_order("D1").person_id == survivor.id


def test_a_newborn_is_linked_to_the_mothers_file(his: HisLine) -> None:
    his.say(adt("A04", "1", person()))
    child = "PID|1||P8001^^^HIS^MR||王之子||20261120|M" + "|" * 13 + "P7001^^^HIS^MR"
    assert msa(his.say(adt("A28", "2", child)))[0] == "AA"
    with begin() as session:
        born, mother = people.find(session, "mrn", "P8001"), people.find(session, "mrn", "P7001")
        assert born is not None
        assert mother is not None
        assert (born.kind, born.mother_id) == ("newborn", mother.id)


def test_a_message_in_gb18030_is_read_and_answered_in_its_own_characters(his: HisLine) -> None:
    answer = his.say(oml("1", *order_line("D1", "没有这一项"), charset="GB 18030-2000"))
    assert answer.charset == "gb18030"
    assert "没有这一项" in msa(answer)[2]
    assert msa(his.say(oml("2", *order_line("D1", "CBC"), charset="GB 18030-2000")))[0] == "AA"
    assert [each.name for each in everybody()] == ["王小梅"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (header("ORU^R01", "9") + "\r", "not taken here"),
        (header("ADT^A04", "9") + "\r", "PID is missing"),
        (header("OML^O21", "9") + "\r" + person() + "\r", "ORC is missing"),
        (header("ADT^A04", "9") + "\rPID|1||||王小梅\r", "PID-3"),
        (header("OML^O21", "9") + "\r" + person() + "\rORC|XO|D1\r", "ORC-1"),
    ],
)
def test_a_message_we_do_not_take_is_kept_listed_and_rejected_with_the_reason(
    his: HisLine, message: str, reason: str
) -> None:
    code, number, said = msa(his.say(message.encode()))
    assert (code, number) == ("AR", "9")
    assert reason in said
    assert stored("9").state == IncomingState.MALFORMED


def test_a_message_without_a_number_is_kept_and_rejected(his: HisLine) -> None:
    code, _, said = msa(his.say((header("ADT^A04", "") + "\r" + person() + "\r").encode()))
    assert code == "AR"
    assert "MSH-10" in said
    assert kept_without_number()[0].state == IncomingState.MALFORMED


def test_bytes_that_are_no_hl7_are_kept_and_the_line_goes_on(his: HisLine) -> None:
    assert b"MSA|AR" in his.raw(b"\x0bhello, is this the laboratory?\x1c\r")
    his.send_only(b"noise between frames")
    assert msa(his.say(adt("A04", "1", person())))[0] == "AA"
    assert [each.reason for each in kept_without_number()] == ["no MSH segment", "bytes outside a message"]


def test_a_message_in_pieces_and_two_in_one_write_are_each_answered(his: HisLine) -> None:
    one = b"\x0b" + adt("A04", "1", person()) + b"\x1c\r"
    two = b"\x0b" + adt("A08", "2", person()) + b"\x1c\r"
    for place in range(0, len(one) - 1, 40):
        his.send_only(one[place : min(place + 40, len(one) - 1)])
    assert b"MSA|AA|1" in his.raw(one[-1:] + two)
    assert b"MSA|AA|2" in his.raw(b"")


def test_the_same_order_on_two_lines_at_once_is_placed_once(server: HisServer) -> None:
    lines = [HisLine(server.port) for _ in range(4)]
    message = b"\x0b" + oml("1", *order_line("D1", "CBC")) + b"\x1c\r"
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda line=line: answers.append(line.raw(message))) for line in lines]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert len(set(answers)) == 1
    assert len(answers) == 4
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 1
    for line in lines:
        line.close()


def test_a_port_that_is_taken_is_named_with_the_cure(server: HisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XINGLIN_HIS_LISTEN_PORT", str(server.port))
    settings.cache_clear()
    with pytest.raises(NotThere, match="XINGLIN_HIS_LISTEN_PORT"):
        run()


def test_without_a_database_nothing_is_promised(his: HisLine) -> None:
    his.say(adt("A04", "1", person()))
    with begin() as session:
        session.execute(text("ALTER TABLE his_message RENAME TO his_message_away"))
    assert msa(his.say(adt("A04", "2", person("P7002"))))[0] == "AR"
    with begin() as session:
        session.execute(text("ALTER TABLE his_message_away RENAME TO his_message"))
    assert msa(his.say(adt("A04", "2", person("P7002"))))[0] == "AA"
    assert len(everybody()) == 2


def test_a_citizen_number_already_filed_under_another_card_never_joins_two_files(his: HisLine) -> None:
    his.say(adt("A04", "1", person("P7001")))
    his.say(adt("A04", "2", person("P7002", "李建国", "999001196007090011")))
    both = "PID|1||P7001^^^HIS^MR~CP7002^^^HIS^CARD||王小梅||19850302|F"
    code, _, reason = msa(his.say(adt("A08", "3", both)))
    assert code == "AE"
    assert "另一份档案" in reason
    assert len(everybody()) == 2
    assert uuid.UUID(str(everybody()[0].id)).version == 7
