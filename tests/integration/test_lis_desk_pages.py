"""The pages of catalogue, instruments, orders and specimens over HTTP, as the roles see them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
import zxingcpp
from sqlalchemy import func, select

from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.lis.catalog import load
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog.model import ReferenceRange, Test
from cloud.lis.instruments import service as instruments
from cloud.lis.orders.model import Order
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen, SpecimenState
from tests.support.lab import Lab, labelled, open_lab
from tests.support.pictures import first_page
from tests.support.site import CAST, Site, Visitor, hire_cast, running_site

ORDERS, SPECIMENS = "/staff/lis/orders", "/staff/lis/specimens"


@pytest.fixture
def lab(database: str) -> Lab:
    hire_cast()
    return open_lab()


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture
def technician(site: Site) -> Visitor:
    return site.staff("technician")


def scan(visitor: Visitor, code: str, mode: str = "receive", **more: object) -> tuple[int, str]:
    """Status and text of one scan, the way the page sends it."""
    visitor.get(f"{SPECIMENS}/scan?mode={mode}")
    answer = visitor.http.post(
        f"{SPECIMENS}/scan",
        data={"csrf_token": visitor.token, "code": code, "mode": mode, **more},
        headers={"HX-Request": "true"},
    )
    return answer.status_code, answer.text


@pytest.mark.req("LIS-1")
def test_an_order_is_entered_for_a_patient_found_by_number_and_its_labels_are_printed(
    technician: Visitor, lab: Lab
) -> None:
    page = technician.get(f"{ORDERS}/new?q=P0001").text
    assert "王小梅" in page
    assert f'value="{lab.wang}"' in page
    done = technician.post(
        ORDERS, {"person_id": str(lab.wang), "department": "NK", "priority": "S", "items": ["CBC", "ALT"]}
    )
    assert done.url.path.startswith(f"{ORDERS}/")
    order_id = done.url.path.rsplit("/", 1)[1]
    with begin() as session:
        asked_by = session.get_one(Order, uuid.UUID(order_id)).ordered_by
    assert asked_by == CAST["technician"], "the report prints who asked"
    labels = technician.post(f"{SPECIMENS}/labels", {"order_id": order_id})
    assert labels.url.path == f"{SPECIMENS}/labels/{order_id}"
    accessions = re.findall(r'data-specimen="(\d+)"', labels.text)
    assert len(accessions) == 2
    tubes = technician.get(f"{SPECIMENS}/of-order/{order_id}").text
    assert all(each in tubes for each in accessions)
    assert "打印条码" in tubes


@pytest.mark.req("LIS-1", "LIS-18")
def test_a_label_reads_back_as_its_accession_and_carries_patient_tube_and_stat_mark(
    technician: Visitor, lab: Lab
) -> None:
    accession = labelled(lab)
    pdf = technician.http.get(f"{SPECIMENS}/{accession}/labels.pdf")
    assert (pdf.status_code, pdf.headers["content-type"]) == (200, "application/pdf")
    read = zxingcpp.read_barcodes(first_page(pdf.content, dpi=300))
    assert [(each.text, each.format) for each in read] == [(accession, zxingcpp.BarcodeFormat.Code128)]
    zpl = technician.http.get(f"{SPECIMENS}/{accession}/labels.zpl").text
    assert zpl.startswith("^XA")
    assert zpl.rstrip().endswith("^XZ")
    assert f"^BCN,72,N,N,N,A^FD{accession}^FS" in zpl
    assert "^FD王小梅 女" in zpl
    assert "^FDP0001^FS" in zpl  # the record number beside the name
    assert "紫帽 EDTA-K2 2 mL" in zpl


@pytest.mark.req("LIS-1")
def test_what_is_missing_in_an_order_is_said_on_the_form_with_what_was_picked_kept(
    technician: Visitor, lab: Lab
) -> None:
    technician.get(f"{ORDERS}/new?person={lab.wang}")
    wrong = technician.post(ORDERS, {"person_id": str(lab.wang), "department": "NK", "items": ["CBC", "NOPE"]})
    assert wrong.status_code == 422
    assert "NOPE" in wrong.text
    assert '<input type="hidden" name="items" value="CBC"' in wrong.text
    empty = technician.post(ORDERS, {"person_id": str(lab.wang), "department": "NK"})
    assert "请至少选择一个检验项目" in empty.text
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 0


@pytest.mark.req("LIS-1", "LIS-16")
@pytest.mark.parametrize(
    ("typed", "first"), [("xcg", "CBC"), ("jg", "CREA"), ("ALT", "ALT"), ("肌酐", "CREA"), ("hiv", "HIV")]
)
def test_pinyin_initials_code_or_name_offer_the_wanted_test_first(technician: Visitor, typed: str, first: str) -> None:
    offered = re.findall(r'data-code="([^"]+)"', technician.http.get(f"/staff/lis/catalog/search?q={typed}").text)
    assert offered[0] == first
    assert technician.http.get("/staff/lis/catalog/search?q=%25").text.count("data-code") == 0


@pytest.mark.req("LIS-2", "LIS-18")
def test_a_tube_is_collected_and_received_by_scan_and_listed_with_the_last_scans(technician: Visitor, lab: Lab) -> None:
    accession = labelled(lab)
    status, answer = scan(technician, accession, "collect", place="采血窗口 1")
    assert (status, 'data-outcome="good"' in answer) == (200, True)
    status, answer = scan(technician, f"{accession}\r", "receive")
    assert (status, 'data-outcome="good"' in answer) == (200, True)
    assert answer.count(f'data-scanned="{accession}"') == 2
    road = technician.get(f"{SPECIMENS}/{accession}").text
    assert re.findall(r'data-step="(\w+)"', road) == ["printed", "collected", "received"]
    assert "采血窗口 1" in road
    assert "赵检验" in road


@pytest.mark.req("LIS-2", "LIS-18")
def test_an_unknown_barcode_is_said_and_the_page_is_ready_for_the_next_tube(technician: Visitor, lab: Lab) -> None:
    accession = labelled(lab)
    status, answer = scan(technician, "4711")
    assert status == 404
    assert 'data-outcome="bad"' in answer
    assert "没有条码为 4711 的标本" in answer
    whole = technician.post(f"{SPECIMENS}/scan", {"code": "4711", "mode": "receive"})
    assert whole.status_code == 404
    assert 'name="code"' in whole.text, "without script the page comes back with its scan box"
    status, answer = scan(technician, accession)
    assert (status, 'data-outcome="good"' in answer) == (200, True)


@pytest.mark.req("LIS-2")
def test_a_second_reception_is_refused_with_the_moment_of_the_first(technician: Visitor, lab: Lab) -> None:
    accession = labelled(lab)
    scan(technician, accession)
    status, answer = scan(technician, accession)
    assert status == 409
    assert re.search(rf"标本 {accession} 已于 \d\d:\d\d:\d\d 接收", answer)


@pytest.mark.req("LIS-2")
def test_a_tube_with_its_own_barcode_is_bound_while_it_is_collected(technician: Visitor, lab: Lab) -> None:
    accession = labelled(lab)
    status, _ = scan(technician, accession, "collect", preprinted="PP-77001")
    assert status == 200
    assert scan(technician, "PP-77001")[0] == 200
    with begin() as session:
        tube = specimens.by_barcode(session, "PP-77001")
        assert (tube.accession, tube.state) == (accession, SpecimenState.RECEIVED)


@pytest.mark.req("LIS-2")
def test_a_rejection_needs_a_reason_and_leads_to_the_tube_collected_again(technician: Visitor, lab: Lab) -> None:
    accession = labelled(lab)
    technician.get(f"{SPECIMENS}/{accession}")
    assert technician.post(f"{SPECIMENS}/{accession}/reject", {"reason": "", "recollect": "yes"}).status_code == 422
    page = technician.post(f"{SPECIMENS}/{accession}/reject", {"reason": "clotted", "recollect": "yes"})
    assert page.status_code == 200
    assert 'data-state="rejected"' in page.text
    assert "抗凝标本凝集" in page.text
    with begin() as session:
        old = specimens.by_barcode(session, accession)
        new = session.scalars(select(Specimen).where(Specimen.replaces_id == old.id)).one()
    assert new.accession in page.text


@pytest.mark.req("LIS-18")
def test_the_scan_box_of_every_page_leads_to_the_tube_or_the_order(technician: Visitor, lab: Lab) -> None:
    accession = labelled(lab)
    with begin() as session:
        order = session.get(Order, specimens.by_barcode(session, accession).order_id)
        assert order is not None
    assert technician.get(f"/staff/scan?code={accession}").url.path == f"{SPECIMENS}/{accession}"
    assert technician.get(f"/staff/scan?code={order.number}").url.path == f"{ORDERS}/{order.id}"


@pytest.mark.req("LIS-1")
def test_an_order_is_found_and_cancelled_with_a_reason(technician: Visitor, lab: Lab) -> None:
    accession = labelled(lab)
    with begin() as session:
        order = session.get(Order, specimens.by_barcode(session, accession).order_id)
        assert order is not None
    listed = technician.get(f"{ORDERS}?q=P0001&state=ordered").text
    assert order.number in listed
    assert order.number not in technician.get(f"{ORDERS}?q=P0002").text
    technician.get(f"{ORDERS}/{order.id}")
    assert technician.post(f"{ORDERS}/{order.id}/cancel", {"reason": " "}).status_code == 422
    page = technician.post(f"{ORDERS}/{order.id}/cancel", {"reason": "开错"})
    assert "已取消" in page.text


@pytest.mark.req("LIS-0", "LIS-16")
def test_the_director_approves_a_draft_range_and_the_audit_says_who(site: Site) -> None:
    director = site.staff("director")
    page = director.get("/staff/lis/catalog/tests/WBC").text
    assert "WS/T 405-2012" in page
    assert "草案" in page
    with begin() as session:
        test = catalog.test_by_code(session, "WBC")
        assert test is not None
        (band,) = catalog.ranges(session, test.id)
    page = director.post(f"/staff/lis/catalog/range/{band.id}/approve").text
    assert "已批准" in page
    with begin() as session:
        stored = session.get(ReferenceRange, band.id)
        assert stored is not None
        assert (stored.state, stored.approved_at is not None) == ("approved", True)
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "catalog.range.approve")).one()
        assert entry.actor == stored.approved_by
    assert director.post(f"/staff/lis/catalog/range/{band.id}/approve").status_code == 409


@pytest.mark.req("LIS-0")
def test_loading_the_catalogue_again_changes_nothing_that_was_approved(site: Site) -> None:
    with begin() as session:
        test = catalog.test_by_code(session, "K")
        assert test is not None
        (band,) = catalog.ranges(session, test.id)
        catalog.approve(session, "range", band.id, by="staff:director")
    again = load.run()
    assert again.new_rows == 0
    assert again.tests >= 120
    with begin() as session:
        (band,) = catalog.ranges(session, test.id)
        assert (band.state, band.approved_by) == ("approved", "staff:director")
        assert session.scalar(select(func.count()).where(Test.tube_id.is_(None))) == 0


@pytest.mark.req("LIS-16")
def test_the_delivered_catalogue_passes_its_own_check(technician: Visitor) -> None:
    assert "没有发现问题" in technician.get("/staff/lis/catalog/check").text


@pytest.mark.req("LIS-16")
def test_a_channel_is_mapped_changed_and_removed_with_a_record_and_a_double_one_is_marked(site: Site, lab: Lab) -> None:
    director = site.staff("director")
    with begin() as session:
        xn = instruments.instrument_of(session, "gw-1", "xn")
        assert xn is not None
    page = f"/staff/lis/instruments/{xn.id}"
    director.get(page)
    mapping = {"code": "WBC-X", "test": "WBC", "factor": "0.1", "sendable": "yes"}
    refused = director.post(f"{page}/channels", mapping)  # a factor converts from one unit, and that one is not named
    assert refused.status_code == 422
    assert "channel_unit_missing" in refused.text
    mapped = director.post(f"{page}/channels", {**mapping, "unit": "10*8/L"})
    assert mapped.status_code == 200
    assert mapped.text.count("重复") == 2
    assert "WBC-X" in director.get("/staff/lis/instruments").text
    assert director.post(f"{page}/channels", {"code": "Z", "test": "WBC", "factor": "0"}).status_code == 422
    assert director.post(f"{page}/channels", {"code": "Z", "test": "NOPE", "factor": "1"}).status_code == 422
    with begin() as session:
        channel = instruments.channel_of(session, xn.id, "WBC-X")
        assert channel is not None
    director.get(page)
    assert "WBC-X" not in director.post(f"{page}/channels/{channel.id}/remove").text
    with begin() as session:
        acts = select(AuditEntry.action).where(AuditEntry.aggregate_id == str(channel.id)).order_by(AuditEntry.number)
        assert session.scalars(acts).all() == ["catalog.channel.change", "catalog.channel.change"]


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    ("role", "path"),
    [
        ("admin", f"{ORDERS}/new"),
        ("cashier", f"{SPECIMENS}/scan"),
        ("field_engineer", ORDERS),
        ("admin", f"{SPECIMENS}/1000000003"),
        ("cashier", "/staff/lis/catalog"),
        ("cashier", "/staff/lis/instruments"),
    ],
)
def test_who_has_no_right_to_a_page_is_refused(site: Site, role: str, path: str) -> None:
    assert site.staff(role).get(path).status_code == 403


@pytest.mark.req("SEC-1", "LIS-0")
def test_a_technician_cannot_approve_a_range_nor_map_a_channel(site: Site, lab: Lab) -> None:
    technician = site.staff("technician")
    technician.get("/staff/lis/catalog/tests/WBC")
    with begin() as session:
        band = session.scalars(select(ReferenceRange)).first()
        xn = instruments.instrument_of(session, "gw-1", "xn")
        assert band is not None
        assert xn is not None
    assert technician.post(f"/staff/lis/catalog/range/{band.id}/approve").status_code == 403
    wanted = {"code": "Z", "test": "WBC", "factor": "1"}
    assert technician.post(f"/staff/lis/instruments/{xn.id}/channels", wanted).status_code == 403
    with begin() as session:
        stored = session.get(ReferenceRange, band.id)
        assert stored is not None
        assert stored.state == "draft"


def test_the_pages_speak_english_too(site: Site, lab: Lab) -> None:
    technician = site.staff("technician")
    accession = labelled(lab)
    technician.get("/staff?lang=en")
    for path in ("/staff/lis/catalog", "/staff/lis/catalog/tests/WBC", "/staff/lis/instruments", ORDERS,
                 f"{ORDERS}/new?person={lab.wang}", f"{SPECIMENS}/scan", f"{SPECIMENS}/{accession}"):  # fmt: skip
        page = technician.get(path)
        assert page.status_code == 200, path
        heading = re.search(r"<h1>(.*?)</h1>", page.text)
        assert heading is not None
        assert not re.search("[\u4e00-\u9fff]", heading.group(1)), (path, heading.group(1))
