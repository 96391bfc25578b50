"""Pages of collection, batches, storage and quality over HTTP, as the roles see them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
import zxingcpp

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.lis.authority.model import AuthorityPolicy
from cloud.lis.specimens import policy, refusal
from cloud.lis.specimens import service as specimens
from cloud.lis.transport import service as transport
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.lab import Lab, labelled, open_lab
from tests.support.pictures import first_page
from tests.support.site import Site, Visitor, hire_cast, running_site

SPECIMENS, TRANSPORT, STORAGE = "/staff/lis/specimens", "/staff/lis/transport", "/staff/lis/storage"


@pytest.fixture(scope="module")
def lab(database_server: DatabaseServer) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url, cloud_on(url, patch):
        hire_cast()
        yield open_lab()


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture(scope="module")
def technician(site: Site) -> Visitor:
    return site.staff("technician")


@pytest.fixture(scope="module")
def nurse(site: Site) -> Visitor:
    return site.staff("nurse")


def received(lab: Lab) -> str:
    accession = labelled(lab, ("ALT", "AST"))
    with begin() as session:
        specimens.receive(session, accession, by="staff:lab")
    return accession


def state(accession: str) -> str:
    with begin() as session:
        return specimens.by_barcode(session, accession).state


@pytest.mark.req("LIS-2", "LIS-18")
def test_the_nurse_scans_a_wristband_then_tubes_and_another_patients_tube_stops_her(nurse: Visitor, lab: Lab) -> None:
    accession, again = labelled(lab, ("ALT",)), str(uuid.uuid4())
    page = nurse.get(f"{SPECIMENS}/bedside").text
    assert "等待腕带" in page
    assert "请先扫描患者腕带" in nurse.post(f"{SPECIMENS}/bedside", {"code": accession}).text
    wrong = nurse.post(f"{SPECIMENS}/bedside", {"code": accession, "person_id": str(lab.li)})
    assert wrong.status_code == 409
    assert "这支试管不属于该患者" in wrong.text
    chosen = nurse.post(f"{SPECIMENS}/bedside", {"code": "P0001"}).text
    assert f'data-person="{lab.wang}"' in chosen
    assert f'data-specimen="{accession}"' in chosen
    for _ in range(2):
        done = nurse.post(
            f"{SPECIMENS}/bedside",
            {"code": accession, "person_id": str(lab.wang), "submission": again, "place": "3 床"},
        )
        assert 'data-outcome="good"' in done.text
    assert state(accession) == "collected"
    assert nurse.post(f"{SPECIMENS}/bedside", {"code": "P9999"}).status_code == 409


@pytest.mark.req("LIS-1", "LIS-2")
def test_a_tube_with_its_own_barcode_is_bound_at_the_bedside_to_the_tube_that_was_chosen(
    nurse: Visitor, lab: Lab
) -> None:
    first, second = labelled(lab, ("PT",)), labelled(lab, ("ESR",))
    asked = {"person_id": str(lab.wang), "code": "OWN-4711"}
    nurse.get(f"{SPECIMENS}/bedside")
    assert "请先在清单中点选要采的试管" in nurse.post(f"{SPECIMENS}/bedside", asked).text
    assert 'data-outcome="good"' in nurse.post(f"{SPECIMENS}/bedside", {**asked, "target": second}).text
    assert (state("OWN-4711"), state(second), state(first)) == ("collected", "collected", "printed")


@pytest.mark.req("LIS-2")
def test_a_batch_goes_from_the_ward_to_the_laboratory_by_scans(
    nurse: Visitor, technician: Visitor, site: Site, lab: Lab
) -> None:
    ours, stray = labelled(lab), labelled(lab)
    nurse.get(TRANSPORT)
    page = nurse.post(TRANSPORT, {"department": "NK", "place": "3 病区"})
    number = page.url.path.rsplit("/", 1)[1]
    assert 'data-outcome="good"' in nurse.post(f"{TRANSPORT}/{number}/scan", {"code": ours}).text
    assert nurse.post(f"{TRANSPORT}/{number}/scan", {"code": "4711"}).status_code == 404
    sheet = nurse.http.get(f"{TRANSPORT}/{number}/list.pdf")
    assert sheet.headers["content-type"] == "application/pdf"
    assert number in [each.text for each in zxingcpp.read_barcodes(first_page(sheet.content, dpi=200))]
    nurse.get(f"{TRANSPORT}/{number}")
    assert 'data-state="sent"' in nurse.post(f"{TRANSPORT}/{number}/send", {"courier": "冯运送"}).text
    courier = site.staff("courier")
    seen = courier.get(f"{TRANSPORT}/{number}").text
    assert ours in seen
    assert "王小梅" not in seen, "a courier carries barcodes, not names"
    assert courier.get(f"{TRANSPORT}/{number}/list.pdf").status_code == 403
    courier.get(f"{TRANSPORT}/{number}")
    assert courier.post(f"{TRANSPORT}/{number}/scan", {"code": number}).status_code == 403
    assert technician.get(f"/staff/scan?code={number}").url.path == f"{TRANSPORT}/{number}"
    assert "批次已到达" in technician.post(f"{TRANSPORT}/{number}/scan", {"code": number.lower()}).text
    assert f'data-missing="{ours}"' in technician.get(f"{TRANSPORT}/missing").text
    technician.get(f"{TRANSPORT}/{number}")
    unexpected = technician.post(f"{TRANSPORT}/{number}/scan", {"code": stray}).text
    assert f'data-unexpected="{stray}"' in unexpected
    assert 'data-state="closed"' in technician.post(f"{TRANSPORT}/{number}/scan", {"code": ours}).text
    assert f'data-missing="{ours}"' not in technician.get(f"{TRANSPORT}/missing").text
    road = technician.get(f"{SPECIMENS}/{ours}").text
    assert re.findall(r'data-step="(\w+)"', road) == ["printed", "packed", "sent", "received"]


@pytest.mark.req("LIS-2")
def test_a_batch_says_a_temperature_only_when_it_is_one(technician: Visitor, lab: Lab) -> None:
    accession = labelled(lab)
    with begin() as session:
        number = transport.open_batch(session, department_id=lab.department, by="staff:x").number
        transport.pack(session, number, accession, by="staff:x")
        transport.send(session, number, by="staff:x", courier="冯运送")
    technician.get(f"{TRANSPORT}/{number}")
    assert technician.post(f"{TRANSPORT}/{number}/arrive", {"temperature": "warm"}).status_code == 422
    technician.get(f"{TRANSPORT}/{number}")
    assert "6.5" in technician.post(f"{TRANSPORT}/{number}/arrive", {"temperature": "6.5"}).text
    technician.get(f"{TRANSPORT}/{number}")
    assert technician.post(f"{TRANSPORT}/{number}/close", {"reason": ""}).status_code == 422
    technician.get(f"{TRANSPORT}/{number}")
    assert 'data-state="closed"' in technician.post(f"{TRANSPORT}/{number}/close", {"reason": "已查找"}).text
    assert f'data-missing="{accession}"' in technician.get(f"{TRANSPORT}/missing").text, "still missing"


@pytest.mark.req("LIS-2", "LIS-18")
def test_a_tube_is_stored_found_and_retrieved_by_scan(technician: Visitor, site: Site, lab: Lab) -> None:
    accession = received(lab)
    page = technician.get(STORAGE)
    technician.post(f"{STORAGE}/units", {"code": "FR-2", "name": "2 号冰箱", "kind": "fridge", "place": "B1"})
    unit = re.search(r'<option value="([0-9a-f-]{36})">FR-2', technician.get(STORAGE).text)
    assert unit is not None
    rack = {"unit": unit[1], "code": "RK-7", "name": "血清", "rows": "3", "columns": "4", "keep_days": "7"}
    page = technician.post(f"{STORAGE}/racks", rack)
    assert page.url.path == f"{STORAGE}/racks/RK-7"
    assert technician.get("/staff/scan?code=RK-7").url.path == f"{STORAGE}/racks/RK-7"
    stored = technician.post(f"{STORAGE}/racks/RK-7/scan", {"code": accession}).text
    assert re.search(r'data-place="A1" class="is-taken"', stored)
    assert "A2" in stored
    assert technician.post(f"{STORAGE}/racks/RK-7/scan", {"code": received(lab), "position": "A1"}).status_code == 409
    assert "2 号冰箱 · RK-7 · A1" in technician.get(f"{STORAGE}?q={accession}").text
    assert 'data-stored="RK-7 A1"' in technician.get(f"{STORAGE}/of-tube/{accession}").text
    technician.get(f"{SPECIMENS}/{accession}")
    assert technician.post(f"{STORAGE}/retrieve", {"code": accession, "reason": ""}).status_code == 422
    technician.get(f"{SPECIMENS}/{accession}")
    back = technician.post(f"{STORAGE}/retrieve", {"code": accession, "reason": "复查"})
    assert 'data-whereabouts="retrieved"' in back.text
    assert technician.get(f"{STORAGE}/discard").status_code == 200
    assert site.staff("nurse").get(STORAGE).status_code == 403


@pytest.mark.req("LIS-2")
def test_the_steps_of_a_tubes_page_are_done_with_a_reason_and_shown_on_its_road(technician: Visitor, lab: Lab) -> None:
    accession = received(lab)
    page, steps = f"{SPECIMENS}/{accession}", f"{SPECIMENS}/{accession}/steps"
    technician.get(page)
    concession = {"reason_code": "haemolysed", "agreed_with": "儿科 张医生"}
    assert "让步检验：标本溶血" in technician.post(f"{steps}/concession", concession).text
    with begin() as session:
        defect = refusal.defects_of(session, specimens.by_barcode(session, accession).id)[0].id
    assert "data-remark" not in technician.post(f"{steps}/concession/{defect}/withdraw", {"reason": "登记错"}).text
    items = re.findall(r'name="items" value="([0-9a-f-]{36})"', technician.get(page).text)
    child = technician.post(f"{steps}/aliquot", {"items": items[0], "volume_ml": "0.5"})
    assert child.url.path != page
    assert "分杯自" in child.text
    technician.get(page)
    assert technician.post(f"{steps}/lost", {"reason": ""}).status_code == 422
    technician.get(page)
    assert 'data-whereabouts="lost"' in technician.post(f"{steps}/lost", {"reason": "找不到"}).text
    assert 'data-whereabouts="retrieved"' in technician.post(f"{steps}/found", {"reason": "冰箱里"}).text
    rejected = technician.post(f"{page}/reject", {"reason": "clotted", "recollect": "yes"}).text
    assert 'data-state="rejected"' in rejected
    assert f'data-untold="{accession}"' in technician.get(f"{SPECIMENS}/quality").text
    with begin() as session:
        defect = refusal.defects_of(session, specimens.by_barcode(session, accession).id)[-1].id
    told = technician.post(f"{SPECIMENS}/quality/told/{defect}", {"whom": "王护士"}).text
    assert f'data-untold="{accession}"' not in told
    technician.get(page)
    undone = technician.post(f"{steps}/undo-rejection", {"reason": "看错标本"}).text
    assert 'data-state="received"' in undone
    steps_seen = re.findall(r'data-step="(\w+)"', undone)
    assert steps_seen[-3:] == ["rejected", "ward_told", "rejection_undone"]


@pytest.mark.req("LIS-1")
def test_a_test_is_added_on_a_tube_after_its_doubts_and_the_oral_request_waits_for_its_confirmation(
    technician: Visitor, lab: Lab
) -> None:
    accession = received(lab)
    steps = f"{SPECIMENS}/{accession}/steps"
    technician.get(f"{steps}/add")
    refused = technician.post(f"{steps}/check", {"items": ["WBC"]}).text
    assert "标本类型不符" in refused
    asked = technician.post(f"{steps}/check", {"items": ["CREA"]}).text
    assert "未设置稳定时限" in asked
    confirmed = re.findall(r'name="confirmed" value="(\w+)"', asked)
    assert technician.post(f"{steps}/add", {"items": ["CREA"]}).status_code == 422
    technician.get(f"{steps}/add?codes=CREA")
    done = technician.post(
        f"{steps}/add", {"items": ["CREA"], "confirmed": confirmed, "asked_by": "张医生", "read_back": "yes"}
    )
    assert "CREA" in done.text
    oral = technician.get("/staff/lis/orders/oral").text
    assert "张医生" in oral
    request = re.findall(r"/staff/lis/orders/oral/([0-9a-f-]{36})", oral)[0]
    closed = technician.post(f"/staff/lis/orders/oral/{request}", {"evidence": "医嘱 88123", "verdict": "confirmed"})
    assert "医嘱 88123" in closed.text


@pytest.mark.req("LIS-1")
def test_one_test_of_an_order_is_cancelled_and_the_others_stay(technician: Visitor, lab: Lab) -> None:
    accession = labelled(lab, ("ALT", "AST"))
    with begin() as session:
        order_id = specimens.by_barcode(session, accession).order_id
    page = technician.get(f"/staff/lis/orders/{order_id}").text
    first = re.findall(r'name="items" value="([0-9a-f-]{36})"', page)[0]
    done = technician.post(f"/staff/lis/orders/{order_id}/cancel", {"reason": "重复", "items": [first]}).text
    assert done.count("已取消") >= 1
    with begin() as session:
        assert len(specimens.live_items(session, specimens.by_barcode(session, accession).id)) == 1


@pytest.mark.req("LIS-0", "LIS-16")
def test_what_a_test_asks_needs_a_source_and_another_persons_approval(site: Site, lab: Lab) -> None:
    director, technician = site.staff("director"), site.staff("technician")
    settings = f"{SPECIMENS}/settings"
    page = director.get(f"{settings}?q=ALT").text
    test = re.search(r"/settings/tests/([0-9a-f-]{36})", page)
    assert test is not None
    address = f"{settings}/tests/{test[1]}"
    assert director.post(address, {"volume_ul": "5"}).status_code == 422
    director.get(settings)
    assert "试剂说明书" in director.post(address, {"volume_ul": "5", "source": "试剂说明书"}).text
    assert director.post(f"{address}/approve").status_code == 409, "not one's own change"
    technician.get(settings)
    assert technician.post(address, {"volume_ul": "9", "source": "x"}).status_code == 403
    director.get(settings)
    assert director.post(f"{settings}/policy", {"key": "order_days", "value": "x", "reason": "r"}).status_code == 422
    director.get(settings)
    assert (
        director.post(f"{settings}/policy", {"key": "order_days", "value": "90", "reason": "规定"}).status_code == 200
    )


@pytest.mark.req("UX-1")
def test_the_pages_of_collection_batches_and_storage_speak_english(site: Site, lab: Lab) -> None:
    director = site.staff("director")
    director.get("/staff?lang=en")
    accession = received(lab)
    for path in (f"{SPECIMENS}/bedside", f"{SPECIMENS}/quality", f"{SPECIMENS}/settings", TRANSPORT,
                 f"{TRANSPORT}/missing", STORAGE, f"{STORAGE}/discard", "/staff/lis/orders/oral",
                 f"{SPECIMENS}/{accession}", f"{SPECIMENS}/{accession}/steps/add"):  # fmt: skip
        page = director.get(path)
        assert page.status_code == 200, path
        heading = re.search(r"<h1>(.*?)</h1>", page.text)
        assert heading is not None
        assert not re.search("[\u4e00-\u9fff]", heading.group(1)), (path, heading.group(1))


@pytest.mark.req("LIS-1", "LIS-2")
def test_an_order_by_telephone_for_two_times_is_two_tubes_and_waits_for_its_confirmation(
    technician: Visitor, lab: Lab
) -> None:
    form = {"person_id": str(lab.wang), "department": "NK", "items": "CORT", "times": "早上", "asked_by": "王医生"}
    unread = technician.post("/staff/lis/orders", form)
    assert (unread.status_code, "复述" in unread.text) == (422, True)
    refused = technician.post("/staff/lis/orders", form | {"read_back": "yes"})
    assert refused.status_code == 422
    assert "时点看不懂：早上" in refused.text
    assert 'value="早上"' in refused.text, "what was typed stays on the form"
    placed = technician.post("/staff/lis/orders", form | {"read_back": "yes", "times": "8:00 16:00"})
    page = placed.text
    assert ("08:00" in page, "16:00" in page, "王医生" in page, "待补签" in page) == (True, True, True, True)
    assert "王医生" in technician.get("/staff/lis/orders/oral").text
    order_id = {"order_id": str(placed.url).rsplit("/", 1)[1]}
    assert technician.post(f"{SPECIMENS}/labels", order_id).text.count("data-printed>1<") == 2
    again = technician.post(f"{SPECIMENS}/labels", order_id).text
    assert again.count("data-printed>2<") == 2, "a second print is counted"
    accession = re.search(r'data-specimen="(\d+)"', again)
    assert accession is not None
    road = technician.get(f"{SPECIMENS}/{accession[1]}").text
    assert ("整单再次打印" in road, "第几次打印 2" in road) == (True, True)


@pytest.mark.req("LIS-2")
def test_the_nurse_registers_the_glucose_and_a_tube_that_is_early_asks_her_why(nurse: Visitor, lab: Lab) -> None:
    accession = labelled(lab, ("GLU@load+60",))
    with begin() as session:
        order_id = str(specimens.by_barcode(session, accession).order_id)
        policy.set_value(session, "timed_minutes", 10, by="staff:director", reason="护理规定")
    scan = {"code": accession, "person_id": str(lab.wang)}
    asked = nurse.post(f"{SPECIMENS}/bedside", scan | {"confirmed": "timed"}).text
    assert "尚未登记服糖时间" in asked
    assert "data-reason" in asked
    start = {"order_id": order_id, "person_id": str(lab.wang), "since": "load"}
    other = nurse.post(f"{SPECIMENS}/bedside/start", start | {"person_id": str(lab.li)})
    assert other.status_code == 404, "the glucose of one patient is not another's"
    assert "开始时间不正确" in nurse.post(f"{SPECIMENS}/bedside/start", start | {"clock_time": "25:00"}).text
    assert "应采" in nurse.post(f"{SPECIMENS}/bedside/start", start).text
    assert "早 60 分钟" in nurse.post(f"{SPECIMENS}/bedside", scan | {"confirmed": "timed"}).text
    assert state(accession) == "printed"
    done = nurse.post(f"{SPECIMENS}/bedside", scan | {"confirmed": "timed", "reason": "患者呕吐，终止试验"})
    assert 'data-outcome="good"' in done.text
    assert "患者呕吐，终止试验" in nurse.get(f"{SPECIMENS}/{accession}").text


@pytest.mark.req("LIS-2")
def test_the_scanning_desk_sends_a_timed_tube_off_its_time_to_the_bedside(technician: Visitor, lab: Lab) -> None:
    accession = labelled(lab, ("GLU@load+30",))
    refused = technician.post(f"{SPECIMENS}/scan", {"code": accession, "mode": "collect"})
    assert refused.status_code in (403, 409)
    assert state(accession) == "printed"


@pytest.mark.req("LIS-2", "SEC-1")
def test_where_grants_count_a_concession_is_made_only_by_who_has_one_for_its_tests(
    technician: Visitor, lab: Lab
) -> None:
    accession = received(lab)
    form = {"reason_code": "haemolysed", "agreed_with": "内科张医生"}
    with begin() as session:
        policy_row = AuthorityPolicy(
            act="specimen.concession",
            enforced=True,
            set_by="x",
            set_by_name="主任",
            reason="制度",
            valid_from=clock.now(),
        )
        session.add(policy_row)
    try:
        refused = technician.post(f"{SPECIMENS}/{accession}/steps/concession", form)
        assert refused.status_code == 403
        assert "让步检验" in refused.text
        assert "报告将注明" not in technician.get(f"{SPECIMENS}/{accession}").text
    finally:
        with begin() as session:
            session.delete(session.merge(policy_row))
    assert "报告将注明" in technician.post(f"{SPECIMENS}/{accession}/steps/concession", form).text
