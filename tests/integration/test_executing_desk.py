"""The executing department's desk, bills typed by hand, and the hospital's rules about bills."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from decimal import Decimal

import pytest

from cloud.billing import execution
from cloud.billing.intake import ItemIn
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.people import service as people
from tests.support import bills
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import Site, Visitor, hire_cast, running_site

pytestmark = pytest.mark.req("PAY-4", "WIN-1")

X_RAY = ItemIn("XR", "胸部正位片", 8000)


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patched, database_server.clone() as url, cloud_on(url, patched):
        hire_cast()
        with running_site() as running:
            yield running


@pytest.fixture(scope="module")
def executor(site: Site) -> Visitor:
    return site.staff("executor")


@pytest.fixture(scope="module")
def cashier(site: Site) -> Visitor:
    return site.staff("cashier")


@pytest.fixture(scope="module")
def wang(site: Site) -> uuid.UUID:
    return bills.person()


@pytest.fixture(scope="module")
def radiology(site: Site) -> uuid.UUID:
    return bills.department("FS", "放射科")


@pytest.fixture(autouse=True)
def empty(site: Site) -> None:
    bills.clean()


def say(visitor: Visitor, person: uuid.UUID, act: str, items: list[uuid.UUID], **more: str) -> tuple[int, str]:
    page = f"/staff/executing/{person}"
    visitor.get(f"{page}?department=FS")
    chosen: object = [str(each) for each in items] if act == "done" else str(items[0])
    answer = visitor.post(f"{page}/{act}", {"item": chosen, "department": "FS", **more})
    return answer.status_code, answer.text


def test_a_scanned_bill_shows_what_this_department_may_do(
    executor: Visitor, wang: uuid.UUID, radiology: uuid.UUID
) -> None:
    mine = bills.arisen(wang, X_RAY, kind="exam", number="B-X", executing_department_id=radiology)
    bills.arisen(wang, ItemIn("CT", "头颅CT", 20000), kind="exam")
    waiting = executor.get("/staff/executing?q=B-X&department=FS")
    assert "未缴费，不能执行" in waiting.text
    assert "头颅CT" not in waiting.text
    bills.cash([mine])
    [item] = [each.id for each in bills.items(mine)]
    assert 'data-item="XR" data-state="paid"' in executor.get(f"/staff/executing/{wang}?department=FS").text
    assert say(executor, wang, "done", [item])[0] == 200
    [done] = bills.items(mine)
    assert (done.state, done.executed_in) == ("executed", radiology)
    assert say(executor, wang, "done", [item])[0] == 409
    assert "头颅CT" in executor.get(f"/staff/executing/{wang}").text


def test_what_is_on_its_way_back_is_named_and_not_done(
    executor: Visitor, wang: uuid.UUID, radiology: uuid.UUID
) -> None:
    charge = bills.arisen(wang, X_RAY, kind="exam", executing_department_id=radiology)
    bills.cash([charge])
    [item] = [each.id for each in bills.items(charge)]
    bills.asked_back(charge, at_window=True, route="cash")
    assert 'data-going="XR"' in executor.get(f"/staff/executing/{wang}?department=FS").text
    status, page = say(executor, wang, "done", [item])
    assert (status, "已退费" in page) == (409, True)


def test_an_execution_is_taken_back_with_a_reason_but_not_the_laboratorys(
    executor: Visitor, wang: uuid.UUID, radiology: uuid.UUID
) -> None:
    charge = bills.arisen(
        wang, X_RAY, ItemIn("CBC", "血常规", 2000, order_key="his:D1"), executing_department_id=radiology
    )
    bills.cash([charge])
    ray, blood = (each.id for each in bills.items(charge))
    say(executor, wang, "done", [ray, blood])
    assert say(executor, wang, "undo", [ray], reason=" ")[0] == 422
    assert say(executor, wang, "undo", [ray], reason="患者未到")[0] == 200
    assert say(executor, wang, "undo", [blood], reason="误点")[0] == 409
    assert bills.states(charge) == "paid: paid executed"


def test_another_patients_item_on_an_old_page_is_refused(
    executor: Visitor, wang: uuid.UUID, radiology: uuid.UUID
) -> None:
    other = bills.person("李建国")
    charge = bills.arisen(other, X_RAY, executing_department_id=radiology)
    bills.cash([charge])
    assert say(executor, wang, "done", [each.id for each in bills.items(charge)])[0] == 404
    assert say(executor, wang, "done", [])[0] == 404
    assert bills.states(charge) == "paid: paid"


def test_a_cashier_may_not_execute_and_a_department_not_collect(cashier: Visitor, executor: Visitor) -> None:
    assert cashier.get("/staff/executing").status_code == 403
    assert executor.get("/staff/executing/owed").status_code == 403
    assert executor.get("/staff/window").status_code == 403


def test_what_was_done_and_not_paid_is_listed_for_the_cashier(cashier: Visitor, wang: uuid.UUID) -> None:
    assert "没有欠费" in cashier.get("/staff/executing/owed").text
    charge = bills.arisen(wang, X_RAY, number="B-O")
    with begin() as session:
        execution.note(session, "his", "B-O", None, by="his", at=clock.now())
    assert 'data-bill="B-O"' in cashier.get("/staff/executing/owed").text
    bills.cash([charge])
    assert 'data-bill="B-O"' not in cashier.get("/staff/executing/owed").text


# ---------------------------------------------------------------------- typed by hand


def typed(cashier: Visitor, person: uuid.UUID, *rows: tuple[str, str, str], number: str = "") -> tuple[int, str]:
    page = cashier.get(f"/staff/window/persons/{person}/charge").text
    drawn = re.search(r'name="number" value="(M\d{16})"', page)
    assert drawn
    answer = cashier.post(
        f"/staff/window/persons/{person}/charge",
        {
            "number": number or drawn[1],
            "kind": "treatment",
            "department": "",
            "name": [each[0] for each in rows],
            "quantity": [each[1] for each in rows],
            "price": [each[2] for each in rows],
        },
    )
    return answer.status_code, answer.text if answer.status_code != 200 else drawn[1]


def test_a_bill_typed_by_hand_is_one_however_often_it_is_sent(cashier: Visitor, wang: uuid.UUID) -> None:
    status, number = typed(cashier, wang, ("换药", "2", "15.50"), ("", "", ""), ("拆线", "", "8"))
    assert status == 200
    assert typed(cashier, wang, ("换药", "1", "1"), number=number)[0] == 200
    with begin() as session:
        from cloud.billing import record

        charge = record.by_number(session, "manual", number)
        assert charge is not None
    assert (charge.total_fen, charge.kind) == (3900, "treatment")
    assert [(each.name, each.quantity, each.fen) for each in bills.items(charge.id)] == [
        ("换药", Decimal(2), 3100),
        ("拆线", Decimal(1), 800),
    ]
    page = f"/staff/window/persons/{wang}/charge"
    assert number in cashier.get(page).text
    assert cashier.post(f"{page}/{charge.id}/void", {"reason": "录错"}).status_code == 200
    assert bills.states(charge.id) == "void: void void"


@pytest.mark.parametrize("row", [("换药", "x", "1"), ("换药", "1", "-1"), ("换药", "0", "1"), ("换药", "1", "1.234")])
def test_a_row_that_cannot_be_read_is_shown_again(cashier: Visitor, wang: uuid.UUID, row: tuple[str, str, str]) -> None:
    status, page = typed(cashier, wang, row)
    assert (status, "第 1 行" in page, 'value="换药"' in page) == (422, True, True)


def test_an_empty_bill_and_somebody_elses_number_are_refused(cashier: Visitor, wang: uuid.UUID) -> None:
    assert typed(cashier, wang, ("", "", ""))[0] == 422
    assert typed(cashier, wang, ("换药", "1", "1"), number="B-1")[0] == 422
    charge = bills.arisen(wang, X_RAY)
    page = f"/staff/window/persons/{wang}/charge/{charge}/void"
    assert cashier.post(page, {"reason": "录错"}).status_code == 409


def test_rules_are_decided_by_finance_and_stay_on_record(site: Site, cashier: Visitor) -> None:
    finance = site.staff("finance")
    page = "/staff/billing/settings"
    assert cashier.get(page).status_code == 200
    assert cashier.post(page, {"key": "refund_days", "value": "3", "reason": "x"}).status_code == 403
    finance.get(page)
    assert finance.post(page, {"key": "refund_days", "value": "3", "reason": "院务会第 12 号"}).status_code == 200
    assert "院务会第 12 号" in finance.get(page).text
    assert finance.post(page, {"key": "refund_days", "value": "三", "reason": "x"}).status_code == 422


def test_a_merged_patients_items_are_found_under_the_one_that_goes_on(
    executor: Visitor, wang: uuid.UUID, radiology: uuid.UUID
) -> None:
    double = bills.person()
    charge = bills.arisen(double, X_RAY, executing_department_id=radiology)
    bills.cash([charge])
    with begin() as session:
        people.merge(session, retired=double, into=wang, reason="同一人", by="staff:1")
    assert say(executor, wang, "done", [each.id for each in bills.items(charge)])[0] == 200
