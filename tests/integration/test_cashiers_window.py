"""The cashier's window: who is found, what is taken, printed and given back, and what is refused."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from cloud.billing import execution
from cloud.kit.db import begin
from cloud.kit.ids import new_id
from cloud.payments import receipts
from cloud.payments.drawers_model import Receipt, ReceiptCopy
from cloud.payments.model import LedgerEntry
from cloud.people import service as people
from tests.support import bills, paying, registering
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import Site, Visitor, hire_cast, running_site
from tests.support.work import work

pytestmark = pytest.mark.req("WIN-1", "REG-7", "PAY-4")


@pytest.fixture(scope="module")
def cashiers(database_server: DatabaseServer) -> Iterator[Cashiers]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        running(patched) as found,
    ):
        hire_cast()
        yield found


@pytest.fixture(scope="module")
def site(cashiers: Cashiers) -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture(scope="module")
def cashier(site: Site) -> Visitor:
    return site.staff("cashier")


def take(cashier: Visitor, person: uuid.UUID, charges: list[uuid.UUID], **more: object) -> httpx.Response:
    cashier.get(f"/staff/window/persons/{person}")
    form = {"charge": [str(each) for each in charges], "key": str(new_id()), **more}
    return cashier.post(f"/staff/window/persons/{person}/take", form)


def refund(
    cashier: Visitor, person: uuid.UUID, charge: uuid.UUID, items: list[uuid.UUID], **more: object
) -> httpx.Response:
    cashier.get(f"/staff/window/persons/{person}")
    form = {"charge": str(charge), "item": [str(each) for each in items], "reason": "患者要求", **more}
    return cashier.post(f"/staff/window/persons/{person}/refund", form)


def receipt_number(page: httpx.Response) -> str:
    found = re.search(r"票据 (\d{12})", page.text)
    assert found, page.text
    return found[1]


def test_the_window_is_the_cashiers(site: Site) -> None:
    for role in ("technician", "finance", "nurse"):
        assert site.staff(role).get("/staff/window").status_code == 403


def test_a_patient_is_found_by_card_bill_name_and_initials(cashier: Visitor) -> None:
    person = bills.person("欧阳静姝")
    charge = bills.arisen(person, 1500, number="HISBILL20001")
    with begin() as session:
        people._add_identifiers(session, people.get(session, person), [("card", "C8800001")])
    for typed in ("C8800001", "HISBILL20001", "欧阳静", "oyjs"):
        assert str(cashier.get("/staff/window", params={"q": typed}).url).endswith(str(person)), typed
    assert "没有找到患者" in cashier.get("/staff/window", params={"q": "查无此人"}).text
    done = take(cashier, person, [charge], expected=1500)
    for typed in (receipt_number(done), bills.payment_of(charge).number):
        assert str(cashier.get("/staff/window", params={"q": typed}).url).endswith(str(person)), typed


def test_several_bills_are_taken_in_cash_with_change_and_one_receipt(cashier: Visitor) -> None:
    person = bills.person()
    charges = [bills.arisen(person, 1500, 234), bills.arisen(person, 5000, kind="drug")]
    done = take(cashier, person, charges, expected=6734, tendered="100")
    assert "¥ 32.66" in done.text
    assert "陆拾柒元叁角肆分" in done.text
    assert [bills.states(each) for each in charges] == ["paid: paid paid", "paid: paid"]
    payment = bills.payment_of(charges[0])
    assert (payment.channel, payment.settled_by, payment.fen) == ("cash", "window", 6734)
    assert receipt_number(done) in cashier.get("/staff/payments", params={"q": payment.number}).text


def test_what_cannot_be_taken_is_refused_and_nothing_has_moved(cashier: Visitor) -> None:
    person = bills.person()
    charge = bills.arisen(person, 1500)
    for form, said in (
        ({"expected": 1400}, "账单金额已变化"),
        ({"expected": 1500, "tendered": "10"}, "收到的现金少于应收金额"),
        ({"expected": 1500, "tendered": "十五"}, "金额应为数字"),
        ({"expected": 1500, "tendered": "15.001"}, "金额应为数字"),
    ):
        refused = take(cashier, person, [charge], **form)
        assert refused.status_code in (409, 422)
        assert said in refused.text
    assert "请选择要缴费的账单" in take(cashier, person, [], expected=0).text
    assert bills.states(charge) == "payable: payable"


def test_a_submit_sent_twice_takes_the_cash_once(cashier: Visitor) -> None:
    person = bills.person()
    charge = bills.arisen(person, 1500)
    first = take(cashier, person, [charge], expected=1500, key="one-submit")
    again = take(cashier, person, [charge], expected=1500, key="one-submit")
    assert receipt_number(first) == receipt_number(again)
    other = take(cashier, person, [charge], expected=1500)
    assert other.status_code == 409
    with begin() as session:
        printed = select(func.count()).where(Receipt.payment_id == bills.payment_of(charge).id)
        assert session.scalar(printed) == 1


def test_what_the_phone_is_paying_is_taken_over_with_a_reason_and_its_money_goes_back(
    cashiers: Cashiers, cashier: Visitor
) -> None:
    person = bills.person()
    charge = bills.arisen(person, 1500)
    phone = bills.begun([charge])
    assert take(cashier, person, [charge], expected=1500).status_code == 409
    over = f"/staff/window/persons/{person}/take-over"
    assert cashier.post(over, {"charge": str(charge), "reason": ""}).status_code == 422
    cashier.get(f"/staff/window/persons/{person}")
    assert cashier.post(over, {"charge": str(charge), "reason": "手机没电"}).status_code == 200
    assert take(cashier, person, [charge], expected=1500).status_code == 200
    assert bills.states(charge) == "paid: paid"
    bills.sweep()
    assert paying.payment(phone).state == "closed"
    assert paying.ledger("wechat") == 0


def test_the_original_is_printed_once_and_copies_are_marked_and_counted(cashier: Visitor) -> None:
    person = bills.person()
    page = take(cashier, person, [bills.arisen(person, 1500)], expected=1500)
    address = str(page.url)
    original = cashier.post(f"{address}/print")
    assert "data-print-now" in original.text
    assert "补打 第" not in original.text
    assert cashier.post(f"{address}/print").status_code == 409
    cashier.get(address)
    assert "data-print-now" not in cashier.get(address).text
    assert cashier.post(f"{address}/copy", {"reason": " "}).status_code == 422
    for count in (1, 2):
        cashier.get(address)
        assert f"补打 第 {count} 次" in cashier.post(f"{address}/copy", {"reason": "卡纸"}).text
    with begin() as session:
        sheets = select(func.count()).where(ReceiptCopy.receipt_id == uuid.UUID(address.rsplit("/", 1)[1]))
        assert session.scalar(sheets) == 3


def test_a_phone_payment_gets_its_receipt_at_the_window_once(cashiers: Cashiers, cashier: Visitor) -> None:
    person = bills.person()
    charge = bills.arisen(person, 1500, 800)
    payment_id = bills.paid(cashiers, [charge])
    cashier.get(f"/staff/window/persons/{person}")
    page = cashier.post(f"/staff/window/receipts/of/{payment_id}")
    assert (page.status_code, bills.charge(charge).invoice_number) == (200, receipt_number(page))
    assert cashier.post(f"/staff/window/receipts/of/{payment_id}").status_code == 409
    assert cashier.post(f"/staff/window/receipts/of/{new_id()}").status_code == 404


@pytest.mark.parametrize("route", ["channel", "cash"])
def test_one_item_of_a_bill_goes_back_and_the_receipt_is_replaced(
    cashiers: Cashiers, cashier: Visitor, route: str
) -> None:
    person = bills.person()
    charge = bills.arisen(person, 1500, 800)
    payment_id = bills.paid(cashiers, [charge])
    cashier.get(f"/staff/window/persons/{person}")
    first = receipt_number(cashier.post(f"/staff/window/receipts/of/{payment_id}"))
    item = bills.items(charge)[1].id
    assert refund(cashier, person, charge, [item], route=route, reason=" ").status_code == 422
    assert refund(cashier, person, charge, [], route=route).status_code == 422
    assert refund(cashier, person, charge, [item], route="sideways").status_code == 422
    assert refund(cashier, person, charge, [item], route=route).status_code == 200
    bills.sweep()
    assert bills.states(charge) == "paid: paid refunded"
    with begin() as session:
        printed = session.scalars(
            select(Receipt).where(Receipt.payment_id == payment_id).order_by(Receipt.printed_at, Receipt.number)
        ).all()
    assert [(each.number == first, each.fen, each.voided_at is None) for each in printed] == [
        (True, 2300, False),
        (False, 1500, True),
    ]
    channel_fen, cash_fen = (1500, 0) if route == "channel" else (2300, -800)
    told = cashier.get(f"/staff/payments/{payment_id}").text
    assert "-8.00" in told
    with begin() as session:
        rows = session.execute(
            select(LedgerEntry.channel, func.sum(LedgerEntry.fen))
            .where(LedgerEntry.payment_id == payment_id)
            .group_by(LedgerEntry.channel)
        )
        moved = {channel: int(fen) for channel, fen in rows}
    assert moved == {"wechat": channel_fen, **({"cash": cash_fen} if cash_fen else {})}


def test_cash_goes_back_as_cash_only_and_what_was_done_not_at_all(cashier: Visitor) -> None:
    person = bills.person()
    charge = bills.arisen(person, 1500, 800)
    take(cashier, person, [charge], expected=2300)
    items = [each.id for each in bills.items(charge)]
    with begin() as session:
        execution.execute(session, [items[0]], by="staff:1", department_id=None)
    assert refund(cashier, person, charge, [items[1]], route="channel").status_code == 409
    assert refund(cashier, person, charge, items, route="cash").status_code == 409
    assert bills.states(charge) == "paid: executed paid"
    assert refund(cashier, person, charge, [items[1]], route="cash").status_code == 200
    assert bills.states(charge) == "paid: executed refunded"


@pytest.mark.parametrize(
    ("fen", "words"),
    [
        (0, "零元整"),
        (5, "伍分"),
        (50, "伍角整"),
        (1234, "壹拾贰元叁角肆分"),
        (1204, "壹拾贰元零肆分"),
        (100000, "壹仟元整"),
        (10005010, "壹拾万零伍拾元壹角整"),
        (160532050, "壹佰陆拾万伍仟叁佰贰拾元伍角整"),
        (1000000001, "壹仟万元零壹分"),
        (100100000000, "壹拾亿零壹佰万元整"),
    ],
)
def test_amounts_are_written_as_receipts_write_them(fen: int, words: str) -> None:
    assert receipts.in_words(fen) == words


VALUES = {each: at for at, each in enumerate("零壹贰叁肆伍陆柒捌玖")}
UNITS = {"拾": 10, "佰": 100, "仟": 1000}


def _read(words: str) -> int:
    """What a person reads who knows each character alone."""
    yuan, _, rest = words.partition("元") if "元" in words else ("", "", words)
    total = group = digit = 0
    for each in yuan:
        if each in VALUES:
            digit = VALUES[each]
        elif each in UNITS:
            group, digit = group + digit * UNITS[each], 0
        else:
            total, group, digit = total + (group + digit) * {"万": 10**4, "亿": 10**8}[each], 0, 0
    fen = (total + group + digit) * 100
    for unit, worth in (("角", 10), ("分", 1)):
        found = re.search(rf"(.){unit}", rest)
        fen += VALUES[found[1]] * worth if found else 0
    return fen


@given(st.integers(min_value=0, max_value=10**13))
def test_an_amount_in_words_reads_back_to_the_fen(fen: int) -> None:
    words = receipts.in_words(fen)
    assert _read(words) == fen
    assert "零零" not in words


@pytest.mark.req("REG-7")
def test_the_fee_of_a_held_number_is_taken_in_cash_and_goes_back_in_cash(cashiers: Cashiers, cashier: Visitor) -> None:
    who = registering.person("何挂号")
    booking_id = registering.held(registering.opened_session(fee_fen=1500), who)
    base = f"/staff/window/persons/{who[1]}/bookings/{booking_id}"
    voucher = registering.booking(booking_id).number
    assert str(cashier.get("/staff/window", params={"q": voucher}).url).endswith(str(who[1]))
    assert cashier.post(f"{base}/take", {"key": "b1", "tendered": "10"}).status_code == 422
    cashier.get(f"/staff/window/persons/{who[1]}")
    page = cashier.post(f"{base}/take", {"key": "b1", "tendered": "20"})
    assert "¥ 5.00" in page.text
    assert (registering.state(booking_id), registering.booking(booking_id).invoice_number) == (
        "confirmed",
        receipt_number(page),
    )
    cashier.get(f"/staff/window/persons/{who[1]}")
    assert cashier.post(f"{base}/take", {"key": "b2"}).status_code == 409
    cashier.get(f"/staff/window/persons/{who[1]}")
    assert cashier.post(f"{base}/cancel", {"reason": " ", "route": "cash"}).status_code == 422
    cashier.get(f"/staff/window/persons/{who[1]}")
    assert cashier.post(f"{base}/cancel", {"reason": "改天再来", "route": "sideways"}).status_code == 422
    cashier.get(f"/staff/window/persons/{who[1]}")
    assert cashier.post(f"{base}/cancel", {"reason": "改天再来", "route": "cash"}).status_code == 200
    work("registration", "payments")
    assert registering.state(booking_id) == "cancelled"
    assert "已作废" in cashier.get(str(page.url)).text


def test_another_patients_booking_and_bill_are_not_dealt_with_under_this_name(cashier: Visitor) -> None:
    who, other = registering.person("一人"), bills.person("另一人")
    booking_id = registering.held(registering.opened_session(), who)
    cashier.get(f"/staff/window/persons/{other}")
    for act in ("take", "cancel"):
        path = f"/staff/window/persons/{other}/bookings/{booking_id}/{act}"
        assert cashier.post(path, {"key": "k", "reason": "错人", "route": "cash"}).status_code == 404
    charge = bills.arisen(bills.person("第三人"), 1500)
    assert take(cashier, other, [charge], expected=1500).status_code == 404
    assert bills.states(charge) == "payable: payable"


def test_a_bill_is_found_by_number_patient_day_state_and_department_and_tells_what_happened(
    site: Site, cashiers: Cashiers, cashier: Visitor
) -> None:
    person = bills.person("司马青禾")
    place = bills.department("CT", "CT 室")
    charge = bills.arisen(person, 700, 300, number="HISBILL77001", executing_department_id=place)
    bills.arisen(person, 900, number="HISBILL77002")
    take(cashier, person, [charge], expected=1000)
    first, second = (each.id for each in bills.items(charge))
    with begin() as session:
        execution.execute(session, [first], by=bills.CASHIER, department_id=place)
    refund(cashier, person, charge, [second], route="cash")

    def listed(**wanted: str) -> set[str]:
        page = cashier.get("/staff/bills", params=wanted)
        return set(re.findall(r'data-charge="(HISBILL770\d+)"', page.text))

    both = {"HISBILL77001", "HISBILL77002"}
    assert listed(q="司马青禾") == both
    assert listed() >= both  # today's
    assert listed(q="司马青禾", day="2020-01-01") == set()
    assert listed(q="司马青禾", state="payable") == {"HISBILL77002"}
    for state in ("paid", "executed", "refunded"):
        assert listed(q="司马青禾", state=state) == {"HISBILL77001"}
    assert listed(q="司马青禾", department="CT") == {"HISBILL77001"}
    assert listed(q="查无此人") == set()
    shown = cashier.get("/staff/bills", params={"q": "HISBILL77001"})
    assert str(shown.url).endswith(f"/staff/bills/{charge}")
    told = [shown.text.find(each) for each in ("账单产生", "项目已执行", "账单申请退费", "退费到账")]
    assert told == sorted(told)
    assert min(told) > 0
    assert cashier.get(f"/staff/bills/{new_id()}").status_code == 404
    finance = site.staff("finance")
    assert "司马青禾" not in finance.get(f"/staff/bills/{charge}").text  # who reconciles needs no names
    assert "司马" not in finance.get("/staff/bills").text.replace("司**", "")
    assert site.staff("technician").get("/staff/bills").status_code == 403
