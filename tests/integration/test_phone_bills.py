"""Bills on the phone: told once, seen by who may pay, paid together, given back by the hospital's rules."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import func, select, text

from cloud.billing import execution, settling
from cloud.billing.intake import ItemIn
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.notify.model import Delivery
from cloud.patient.bills import rules as words
from cloud.patient.identity.model import AccessRecord
from cloud.payments.model import Payment
from tests.support import bills
from tests.support.bills import sweep
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phone_payments import PayTown, pay_town, pays
from tests.support.phones import MOTHER_ID, WANG_ID, Phone, register
from tests.support.work import work

pytestmark = pytest.mark.req("PAY-1", "PAY-2", "PAY-4", "PAY-5")

HIV = ItemIn("HIV", "人免疫缺陷病毒抗体", 6000)
DRUG = ItemIn("D1", "某某片", 1980, goods=True, spec="0.25g×24片", unit="盒")


@pytest.fixture(scope="module")
def place(database_server: DatabaseServer) -> Iterator[PayTown]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        pay_town(patched) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def mother(place: PayTown) -> uuid.UUID:
    return register("李桂英", MOTHER_ID, "00013800002", mrn="P2")


@pytest.fixture(scope="module")
def wang(place: PayTown) -> uuid.UUID:
    return register("王芳", WANG_ID, "00013800001", mrn="P1")


@pytest.fixture(scope="module")
def phone(place: PayTown, wang: uuid.UUID, mother: uuid.UUID) -> Phone:
    """Wang's phone: bound to herself, and to her mother without a right to read."""
    made = place.town.phone("wang")
    made.sign_in()
    made.bind("王芳", WANG_ID, "00013800001")
    made.bind("李桂英", MOTHER_ID, "00013800002", "family")
    return made


@pytest.fixture(scope="module")
def stranger(place: PayTown) -> Phone:
    made = place.town.phone("stranger")
    made.sign_in()
    return made


@pytest.fixture(autouse=True)
def empty(place: PayTown) -> None:
    bills.clean()
    place.town.wechat.messages.clear()


def told(place: PayTown) -> list[dict[str, object]]:
    """What Wang's phone was told once everything has run."""
    for _ in range(2):  # what comes together is waited for
        with begin() as session:
            session.execute(text("UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'"))
        work("patient", "notify", "billing")
    return place.town.pushes("wang")


def carried() -> str:
    """What the newest message carries."""
    with begin() as session:
        return session.scalars(select(Delivery.parameters).order_by(Delivery.id.desc()).limit(1)).one()


def looked_over(phone: Phone, *charge_ids: uuid.UUID) -> dict[str, object]:
    """The confirming page's form, filled."""
    page = phone.get("/p/bills/pay?" + "&".join(f"charge={each}" for each in charge_ids)).text
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    return {**fields, "charge": [str(each) for each in charge_ids]}


def submitted(phone: Phone, form: dict[str, object]) -> httpx.Response:
    return phone.browser.post("/p/bills/pay", data=form, follow_redirects=False)


def paid(phone: Phone, *charge_ids: uuid.UUID) -> httpx.Response:
    """The whole walk; the page it ends on."""
    held = submitted(phone, looked_over(phone, *charge_ids))
    assert held.status_code == 303, held.text
    pays(phone, uuid.UUID(held.headers["location"].rpartition("/")[2]))
    work("billing")
    ended = phone.get(held.headers["location"] + "?back=1")
    assert ended.status_code == 303, ended.text
    return phone.get(ended.headers["location"])


def test_bills_that_arise_together_are_told_once_without_saying_what_for(
    place: PayTown, phone: Phone, wang: uuid.UUID
) -> None:
    bills.arisen(wang, HIV)
    bills.arisen(wang, DRUG, kind="drug")
    [push] = told(place)
    said = str(push) + carried()
    assert "王*" in said
    assert "79.80" in said
    assert str(push["url"]).endswith("/p/bills")
    assert "人免疫" not in said
    assert "某某片" not in said
    assert told(place) == [push]
    bills.arisen(wang, 100)
    assert len(told(place)) == 2


def test_three_bills_are_chosen_looked_over_and_paid_at_once(place: PayTown, phone: Phone, wang: uuid.UUID) -> None:
    three = [bills.arisen(wang, HIV), bills.arisen(wang, DRUG, kind="drug"), bills.arisen(wang, 100)]
    page = phone.get("/p/bills").text
    assert page.count('name="charge"') == 3
    result = paid(phone, *three)
    assert "缴费成功" in result.text
    assert "80.80" in result.text
    assert [bills.states(each) for each in three] == ["paid: paid"] * 3
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(Payment)) == 1
    opened = phone.get(f"/p/bills/{three[1]}").text
    for word in ("某某片", "0.25g×24片", "19.80", "申请退费"):
        assert word in opened, word


def test_a_submit_sent_twice_leads_to_one_payment(place: PayTown, phone: Phone, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 100)
    form = looked_over(phone, charge_id)
    first, second = submitted(phone, form), submitted(phone, form)
    assert first.headers["location"] == second.headers["location"]
    assert "继续支付" in phone.get("/p/bills").text


def test_another_sum_than_was_shown_is_refused(place: PayTown, phone: Phone, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 100, number="B-C")
    form = looked_over(phone, charge_id)
    bills.arisen(wang, 200, number="B-C")
    refused = submitted(phone, form)
    assert (refused.status_code, "金额已变化" in refused.text) == (409, True)
    assert bills.states(charge_id) == "payable: payable"


def test_the_daughter_pays_for_her_mother_but_reads_nothing(place: PayTown, phone: Phone, mother: uuid.UUID) -> None:
    charge_id = bills.arisen(mother, HIV)
    for page in ("/p/bills", f"/p/bills/{charge_id}", f"/p/bills/pay?charge={charge_id}"):
        shown = phone.get(page).text
        assert "李*" in shown, page
        assert "60.00" in shown, page
        assert "人免疫" not in shown, page
    assert "本人授权" in phone.get(f"/p/bills/{charge_id}").text
    assert "缴费成功" in paid(phone, charge_id).text


def test_a_stranger_finds_no_bill_and_the_try_is_on_record(
    place: PayTown, phone: Phone, stranger: Phone, wang: uuid.UUID
) -> None:
    charge_id = bills.arisen(wang, HIV)
    assert "60.00" not in stranger.get("/p/bills").text
    for page in (f"/p/bills/{charge_id}", f"/p/bills/{charge_id}/refund", f"/p/bills/pay?charge={charge_id}"):
        assert stranger.get(page).status_code == 404, page
    assert stranger.get("/p/bills/nonsense").status_code == 404
    form = {"charge": str(charge_id), "fen": "6000", "key": str(uuid.uuid4())}
    assert stranger.post("/p/bills/pay", form, token_from="/p/bind").status_code == 404
    assert stranger.post(f"/p/bills/{charge_id}/refund", {"reason": "0"}, token_from="/p/bind").status_code == 404
    group = paid(phone, charge_id)
    assert stranger.get(str(group.url.path)).status_code == 404
    with begin() as session:
        seen = select(func.count()).select_from(AccessRecord).where(AccessRecord.target == str(charge_id))
        assert session.scalar(seen.where(~AccessRecord.allowed)) == 3


def test_money_asked_back_shows_its_road_and_is_told_when_it_is_there(
    place: PayTown, phone: Phone, wang: uuid.UUID
) -> None:
    charge_id = bills.arisen(wang, HIV)
    paid(phone, charge_id)
    place.town.wechat.messages.clear()
    asking = phone.get(f"/p/bills/{charge_id}/refund").text
    assert "立即停止执行" in asking
    for _ in range(2):
        asked = phone.post(f"/p/bills/{charge_id}/refund", {"reason": "0"}, token_from="/p/bind")
        assert asked.status_code == 303, asked.text
    shown = phone.get(f"/p/bills/{charge_id}").text
    assert 'data-refund="asked"' in shown
    assert "退款中" in shown
    sweep()
    shown = phone.get(f"/p/bills/{charge_id}").text
    assert 'data-refund="arrived"' in shown
    [push] = told(place)
    assert "60.00" in carried()
    assert str(push["url"]).endswith(f"/p/bills/{charge_id}")


def test_what_goes_back_at_the_window_only_says_why(place: PayTown, phone: Phone, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, DRUG, kind="drug")
    paid(phone, charge_id)
    with begin() as session:
        execution.execute(session, [each.id for each in bills.items(charge_id)], by="staff:3")
    shown = phone.get(f"/p/bills/{charge_id}").text
    assert "先退回实物" in shown
    assert "申请退费" not in shown
    assert phone.get(f"/p/bills/{charge_id}/refund").status_code == 303
    refused = phone.post(f"/p/bills/{charge_id}/refund", {"reason": "0"}, token_from="/p/bind")
    assert (refused.status_code, bills.states(charge_id)) == (409, "paid: executed")


def test_money_for_a_bill_paid_at_the_window_meanwhile_is_announced_on_its_way_back(
    place: PayTown, phone: Phone, wang: uuid.UUID
) -> None:
    charge_id = bills.arisen(wang, HIV, number="B-M")
    held = submitted(phone, looked_over(phone, charge_id)).headers["location"]
    told(place)
    place.town.wechat.messages.clear()
    with begin() as session:
        settling.paid_elsewhere(session, "his", "B-M", at=clock.now(), receipt="R1", by="his")
    pays(phone, uuid.UUID(held.rpartition("/")[2]))
    [_push] = told(place)
    assert "60.00" in carried()
    ended = phone.get(phone.get(held + "?back=1").headers["location"]).text
    assert "自动退回" in ended


def test_nothing_to_pay_is_said(place: PayTown, phone: Phone) -> None:
    assert "没有待缴费的账单" in phone.get("/p/bills").text
    assert phone.get("/p/bills/pay").status_code == 303


@pytest.mark.parametrize("stage", ["asked", "channel", "stuck", "arrived", "dropped"])
def test_a_refunds_road_has_one_present_step_or_is_at_its_end(stage: str) -> None:
    stands = [stand for _, stand in words.track(stage)]
    assert stands == sorted(stands, key=["done", "now", "bad", ""].index)
    assert sum(each in ("now", "bad") for each in stands) == (stage != "arrived")
