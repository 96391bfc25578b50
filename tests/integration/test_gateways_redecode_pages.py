"""Reading stored messages anew over HTTP: ask on a page, see both readings, a second person approves, amend or not."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from cloud.gateways.redecode import running
from cloud.gateways.redecode.model import Redecode, RedecodeAmendment, RedecodeState
from cloud.kit.db import begin
from tests.support.bench import GATEWAY, LINK
from tests.support.redecoding import Laboratory, misread, raw_of, released
from tests.support.site import Site, Visitor, hire_cast, running_site

PAGE = "/staff/gateways/redecode"
PLACE: dict[str, object] = {"place": f"{GATEWAY}/{LINK}", "which": "all", "driver": "sysmex_xn", "reason": "驱动已更正"}


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running_:
        yield running_


@pytest.fixture
def laboratory(site: Site) -> Laboratory:
    return Laboratory()


def the_request() -> Redecode:
    with begin() as session:
        return session.scalars(select(Redecode)).one()


def asked(visitor: Visitor) -> uuid.UUID:
    visitor.get(f"{PAGE}/new")
    answer = visitor.post(f"{PAGE}/new", PLACE)
    assert answer.status_code == 200, answer.text
    row = the_request()
    running.dry_run(begin, row.id)
    return row.id


@pytest.mark.req("GW-12")
def test_a_technician_asks_and_a_pathologist_sees_both_readings_and_approves(
    site: Site, laboratory: Laboratory
) -> None:
    barcode, _tube = laboratory.tube("WBC")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    technician, reviewer = site.staff("technician"), site.staff("reviewer")
    page = f"{PAGE}/{asked(technician)}"
    assert "重新解码待批准" in reviewer.get("/staff").text
    shown = reviewer.get(page).text
    for seen in ("等待批准", barcode, "64 10*3/uL", "6.4 10*3/uL", "改变 1 项", "older", "批准写入"):
        assert seen in shown, seen
    assert "批准写入" not in technician.get(page).text
    assert technician.post(f"{page}/decide", {"verdict": "approve", "reason": "x"}).status_code == 403
    reviewer.get(page)
    assert reviewer.post(f"{page}/decide", {"verdict": "approve", "reason": ""}).status_code == 422
    assert reviewer.post(f"{page}/decide", {"verdict": "", "reason": "x"}).status_code == 422
    assert reviewer.post(f"{page}/decide", {"verdict": "approve", "reason": "已核对"}).status_code == 200
    assert reviewer.post(f"{page}/decide", {"verdict": "approve", "reason": "已核对"}).status_code == 409
    running.apply(begin, the_request().id)
    done = reviewer.get(page).text
    assert "新结果 1，取代旧值 1" in done
    message = re.search(r"/staff/gateways/messages/[0-9a-f-]{36}", done)
    assert message is not None
    assert "已写入" in technician.get(message[0]).text


@pytest.mark.req("GW-12")
def test_who_asked_cannot_approve_and_a_refusal_is_kept(site: Site, laboratory: Laboratory) -> None:
    barcode, _tube = laboratory.tube("WBC")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    reviewer, director = site.staff("reviewer"), site.staff("director")
    page = f"{PAGE}/{asked(reviewer)}"
    assert "这是您自己的申请" in reviewer.get(page).text
    assert reviewer.post(f"{page}/decide", {"verdict": "approve", "reason": "x"}).status_code == 403
    director.get(page)
    assert "已驳回" in director.post(f"{page}/decide", {"verdict": "refuse", "reason": "与打印不符"}).text
    assert the_request().state == RedecodeState.REFUSED
    assert "已驳回" in director.get(PAGE).text


def test_an_engineer_asks_without_seeing_values(site: Site, laboratory: Laboratory) -> None:
    barcode, _tube = laboratory.tube("WBC")
    heard = laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    engineer = site.staff("field_engineer")
    assert f"message={heard.id}" in engineer.get(f"/staff/gateways/messages/{heard.id}").text
    assert "older" in engineer.get(f"{PAGE}/new", params={"message": str(heard.id)}).text
    refused = engineer.post(f"{PAGE}/new", {"message": str(heard.id), "driver": "sysmex_xn", "reason": ""})
    assert refused.status_code == 422
    engineer.post(f"{PAGE}/new", {"message": str(heard.id), "driver": "sysmex_xn", "reason": "驱动已更正"})
    row = the_request()
    running.dry_run(begin, row.id)
    shown = engineer.get(f"{PAGE}/{row.id}").text
    assert "改变 1 项" in shown
    assert barcode not in shown
    assert site.staff("cashier").get(PAGE).status_code == 403
    assert site.staff("admin").get(f"{PAGE}/new").status_code == 403


@pytest.mark.req("GW-12")
def test_a_released_value_is_listed_and_let_stand_with_a_reason(site: Site, laboratory: Laboratory) -> None:
    barcode, tube = laboratory.tube("WBC")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    released(tube)
    director = site.staff("director")
    page = f"{PAGE}/{asked(site.staff('technician'))}"
    director.get(page)
    director.post(f"{page}/decide", {"verdict": "approve", "reason": "已核对"})
    running.apply(begin, the_request().id)
    assert "重新解码后待修正的报告" in director.get("/staff").text
    assert "1 项已发布的结果与新的解码不同" in director.get(page).text
    listed = director.get(f"{PAGE}/amendments").text
    assert barcode in listed
    assert "/amend" in listed
    with begin() as session:
        amendment = session.scalars(select(RedecodeAmendment)).one()
    dismiss = f"{PAGE}/amendments/{amendment.id}/dismiss"
    assert director.post(dismiss, {"reason": ""}).status_code == 422
    director.get(f"{PAGE}/amendments")
    assert "没有待修正的报告" in director.post(dismiss, {"reason": "手工核对无误"}).text


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_every_page_of_readings_anew_answers_in_both_languages(
    site: Site, laboratory: Laboratory, language: str
) -> None:
    barcode, _tube = laboratory.tube("WBC")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    reviewer = site.staff("reviewer")
    row = asked(reviewer)
    for path in (PAGE, f"{PAGE}/new", f"{PAGE}/{row}", f"{PAGE}/amendments"):
        assert reviewer.get(f"{path}?lang={language}").status_code == 200, path
    wrong = PLACE | {"since": "gestern"}
    reviewer.get(f"{PAGE}/new")
    assert reviewer.post(f"{PAGE}/new", wrong).status_code == 422
    assert reviewer.post(f"{PAGE}/new", PLACE | {"since": "2090-01-01"}).status_code == 422, "nothing in that range"
    assert reviewer.post(f"{PAGE}/new", {"place": "x", "which": "all", "reason": "x"}).status_code == 422
