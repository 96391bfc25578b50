"""The staff's pages of money, asked as a browser asks: who may, what they show, what they refuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.ids import new_id
from cloud.payments import cash, days, dropping, reconciling
from cloud.payments.drawers_model import CashShift
from cloud.payments.model import BillDifference, PaymentCase
from tests.support import paying
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import Site, Visitor, hire_cast, running_site

pytestmark = pytest.mark.req("WIN-1", "PAY-6")


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
def finance(site: Site) -> Visitor:
    return site.staff("finance")


@pytest.fixture(scope="module")
def cashier(site: Site) -> Visitor:
    return site.staff("cashier")


PAGES = ("", "/cases", "/days", "/statement", "/shifts")


def test_the_pages_of_money_are_for_cashiers_and_accountants_alone(
    site: Site, finance: Visitor, cashier: Visitor
) -> None:
    stranger = site.staff("technician")
    for page in PAGES:
        assert [who.get(f"/staff/payments{page}").status_code for who in (finance, cashier, stranger)] == [
            200,
            200,
            403,
        ]
    assert (cashier.get("/staff/drawer").status_code, finance.get("/staff/drawer").status_code) == (200, 403)


def test_a_payment_is_found_by_each_of_its_numbers_and_by_its_scan(cashiers: Cashiers, cashier: Visitor) -> None:
    payment_id = paying.paid(cashiers, 1500)
    refund_id = paying.refund(payment_id, 700)
    paying.sweep(1)
    found = paying.payment(payment_id)
    for number in (found.number, found.transaction_id, f"{found.number}R01"):
        shown = cashier.get("/staff/payments", params={"q": number})
        assert str(shown.url).endswith(str(payment_id))
    assert f"{found.number}R01" in shown.text
    assert paying.state_of(refund_id) == "done"
    assert str(cashier.get("/staff/scan", params={"code": found.number}).url).endswith(str(payment_id))
    assert cashier.get(f"/staff/payments/{new_id()}").status_code == 404


def test_a_stuck_refund_is_paid_out_by_the_cashier_and_its_case_is_over(cashiers: Cashiers, cashier: Visitor) -> None:
    payment_id = paying.paid(cashiers, 1500)
    cashiers.wechat.book.set_chaos({"refund_failed": 1.0})
    refund_id = paying.refund(payment_id, 700)
    paying.sweep(2)
    cashiers.wechat.book.set_chaos({})
    assert "渠道退不了款" in cashier.get("/staff/payments/cases").text
    assert cashier.post(f"/staff/payments/refunds/{refund_id}/again", {"reason": "x"}).status_code == 403
    cashier.get("/staff/payments/cases")
    assert cashier.post(f"/staff/payments/refunds/{refund_id}/pay-out", {"reason": " "}).status_code == 422
    assert paying.state_of(refund_id) == "stuck"
    cashier.get("/staff/payments/cases")
    done = cashier.post(f"/staff/payments/refunds/{refund_id}/pay-out", {"reason": "患者本人签字"})
    assert done.status_code == 200
    assert paying.state_of(refund_id) == "done"
    assert "现金退款" in cashier.get("/staff/drawer").text
    with begin() as session:
        case = session.scalars(select(PaymentCase).where(PaymentCase.payment_id == payment_id)).one()
        assert case.closed_at is not None
    assert cashier.post(f"/staff/payments/refunds/{refund_id}/pay-out", {"reason": "再来一次"}).status_code == 409
    assert cashier.post(f"/staff/payments/refunds/{new_id()}/pay-out", {"reason": "没有"}).status_code == 404


def test_a_refund_is_dropped_on_its_page_with_a_reason(
    cashiers: Cashiers, cashier: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment_id = paying.paid(cashiers, 1500)
    refund_id = paying.refund(payment_id, 700)
    page = f"/staff/payments/{payment_id}"
    assert "撤销退款" not in cashier.get(page).text  # nobody lets refunds of this purpose go
    assert cashier.post(f"/staff/payments/refunds/{refund_id}/drop", {"reason": "开错单"}).status_code == 409
    monkeypatch.setitem(dropping._lets, "test", lambda _session, _refund: True)
    assert "撤销退款" in cashier.get(page).text
    assert cashier.post(f"/staff/payments/refunds/{refund_id}/drop", {"reason": " "}).status_code == 422
    cashier.get(page)
    shown = cashier.post(f"/staff/payments/refunds/{refund_id}/drop", {"reason": "开错单"})
    assert "已放弃" in shown.text
    assert paying.state_of(refund_id) == "dropped"


def test_a_difference_is_closed_with_a_reason_by_the_accountant_and_the_day_after_it(
    cashiers: Cashiers, finance: Visitor, cashier: Visitor
) -> None:
    today = clock.today()
    payment_id = paying.paid(cashiers, 1500)
    order = cashiers.wechat.book.orders[paying.payment(payment_id).number]
    order.fen = 1400
    base = f"/staff/payments/days/wechat/{today}"
    assert "账单还没有读取" in finance.get(base).text
    assert cashier.post(f"{base}/read").status_code == 403
    finance.get(base)
    assert "收款金额不一致" in finance.post(f"{base}/read").text
    with begin() as session:
        ticket = session.scalars(select(BillDifference).where(BillDifference.kind == "amount")).one()
    close = f"/staff/payments/days/differences/{ticket.id}/close/now"
    assert finance.post(close, {"reason": ""}).status_code == 422
    finance.get(base)
    assert "渠道优惠" in finance.post(close, {"reason": "渠道优惠"}).text
    assert finance.post(close, {"reason": "再次"}).status_code == 409
    finance.get(base)
    assert finance.post(f"{base}/close").status_code == 409  # the day is not over
    with begin() as session:
        for each in reconciling.open_differences(session):
            reconciling.close(session, each.id, by="staff:1", why="测试")
        days.close(session, "wechat", today, by="staff:1")
    finance.get(base)
    assert finance.post(f"{base}/read").status_code == 409
    finance.get(base)
    assert finance.post(f"{base}/reopen", {"reason": "渠道补发"}).status_code == 200
    assert finance.get("/staff/payments/days/paypal/2026-01-01").status_code == 404


def test_a_case_is_closed_once_with_a_reason(cashiers: Cashiers, finance: Visitor, cashier: Visitor) -> None:
    payment_id = paying.prepared(1500)
    order = paying.taps(cashiers, payment_id)
    paying.notice(cashiers, order, amount={"total": 1400, "payer_total": 1400, "currency": "CNY"})
    with begin() as session:
        case = session.scalars(select(PaymentCase).where(PaymentCase.payment_id == payment_id)).one()
    cashier.get("/staff/payments/cases")
    assert cashier.post(f"/staff/payments/cases/{case.id}/close", {"reason": "不行"}).status_code == 403
    finance.get("/staff/payments/cases")
    assert finance.post(f"/staff/payments/cases/{case.id}/close", {"reason": ""}).status_code == 422
    assert finance.post(f"/staff/payments/cases/{case.id}/close", {"reason": "已在商户后台核对"}).status_code == 200
    assert finance.post(f"/staff/payments/cases/{case.id}/close", {"reason": "再次"}).status_code == 409
    assert "已在商户后台核对" in finance.get("/staff/payments/cases?show=closed").text


def test_the_statement_adds_up_on_the_page_and_in_the_file(cashiers: Cashiers, finance: Visitor) -> None:
    with begin() as session:
        wanted = cash.wish("bills", new_id(), 12345, payer_key="person:1", key=str(new_id()))
        cash.take(session, wanted, by="staff:0198aaaa-0000-7000-8000-000000000009")
    rows = [
        line.split(",")
        for line in finance.get("/staff/payments/statement/export.csv").content.decode("utf-8-sig").splitlines()
    ]
    assert rows[0][:3] == ["日期", "渠道", "用途"]
    assert ["现金", "缴费", "1", "123.45"] in [row[1:5] for row in rows]
    whole = sum(round(float(row[-1]) * 100) for row in rows[1:])
    assert whole == sum(paying.ledger(each) for each in ("wechat", "alipay", "cash"))
    assert "123.45" in finance.get("/staff/payments/statement").text


def test_a_shift_is_opened_counted_handed_over_and_received(site: Site, finance: Visitor, cashier: Visitor) -> None:
    with begin() as session:
        session.query(CashShift).filter(CashShift.closed_at.is_(None)).update(
            {"closed_at": clock.now(), "expected_fen": 0, "counted_fen": 0}
        )
    cashier.get("/staff/drawer")
    assert cashier.post("/staff/drawer/open", {"opening": "一百"}).status_code == 422
    cashier.get("/staff/drawer")
    assert "1 号窗口" in cashier.post("/staff/drawer/open", {"opening": "200", "place": "1 号窗口"}).text
    assert cashier.post("/staff/drawer/hand-over", {"n10000": "-1"}).status_code == 422
    short = cashier.post("/staff/drawer/hand-over", {"n10000": "1"})
    assert short.status_code == 422
    assert 'value="1"' in short.text
    slip = cashier.post("/staff/drawer/hand-over", {"n10000": "1", "why": "备用金少放一张"})
    assert "备用金少放一张" in slip.text
    shift = str(slip.url).rsplit("/", 1)[1]
    assert finance.get(f"/staff/drawer/{shift}").status_code == 200
    finance.get("/staff/payments/shifts")
    assert finance.post(f"/staff/payments/shifts/{shift}/receive").status_code == 200
    assert finance.post(f"/staff/payments/shifts/{shift}/receive").status_code == 409
    assert cashier.post(f"/staff/payments/shifts/{shift}/receive").status_code == 403
