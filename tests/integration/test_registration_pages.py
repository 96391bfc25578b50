"""Booking on the phone and at the desk, over HTTP alone: departments, doctors, times, paid, voucher, cancelled."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from cloud.hospital import schedules
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.patient.identity.model import AccessRecord
from cloud.patient.registration.model import Booking, Number
from tests.support import clinic, paying
from tests.support import registering as desk
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phone_payments import PayTown, pay_town, pays
from tests.support.phones import MOTHER_ID, WANG_ID, Phone, register
from tests.support.site import Visitor, hire_cast
from tests.support.work import work

pytestmark = pytest.mark.req("REG-1", "REG-2", "REG-3", "REG-5")


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
def phone(place: PayTown, mother: uuid.UUID) -> Phone:
    register("王芳", WANG_ID, "00013800001", mrn="P1")
    made = place.town.phone("wang")
    made.sign_in()
    made.bind("王芳", WANG_ID, "00013800001")
    made.bind("李桂英", MOTHER_ID, "00013800002", "family")
    return made


@pytest.fixture(scope="module")
def clerk(place: PayTown) -> Iterator[Visitor]:
    hire_cast()
    visitor = Visitor(place.town.url)
    visitor.sign_in("outpatient_office")
    yield visitor
    visitor.http.close()


@pytest.fixture(autouse=True)
def fresh(place: PayTown) -> Iterator[None]:
    desk.settle(open_per_person=20, per_day=20, per_month=60, per_department_day=10, per_doctor_day=10)
    yield
    with begin() as session:
        session.execute(text("TRUNCATE booking, clinic_number, booking_waiting, booking_block, rate_limit CASCADE"))


def form(phone: Phone, clinic_id: uuid.UUID, name: str) -> dict[str, str]:
    """What the page of a session would send for the person with this (masked) name."""
    page = phone.get(f"/p/book/sessions/{clinic_id}").text
    person = re.search(rf'name="person" value="([0-9a-f-]+)"[^>]*><span><strong>{re.escape(name)}<', page)
    key = re.search(r'name="key" value="([0-9a-f-]+)"', page)
    assert person, page
    assert key, page
    return {"person": person[1], "key": key[1], "segment": ""}


def books(phone: Phone, clinic_id: uuid.UUID, name: str = "王芳", **more: str) -> str:
    """The booking's page."""
    page = f"/p/book/sessions/{clinic_id}"
    answer = phone.post(page, {**form(phone, clinic_id, name), **more}, token_from=page)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def confirmed(place: PayTown, phone: Phone, clinic_id: uuid.UUID, name: str = "王芳") -> str:
    page = books(phone, clinic_id, name)
    to_pay = phone.post(f"{page}/pay", token_from=page).headers["location"]
    pays(phone, uuid.UUID(to_pay.rpartition("/")[2]))
    work("registration")
    return page


@pytest.mark.req("REG-6")
def test_another_time_is_chosen_on_the_phone_and_put_into_its_calendar(place: PayTown, phone: Phone) -> None:
    clinic_id = desk.opened_session(2, segment_minutes=120)
    page = confirmed(place, phone, clinic_id)
    chosen = f"{page}/change?clinic={clinic_id}"
    assert f"/change?clinic={clinic_id}" in phone.get(f"{page}/change").text
    shown = phone.get(chosen).text
    segment = re.findall(r'name="segment" value="([^"]+)" required>', shown)
    key = re.search(r'name="key" value="([0-9a-f-]+)"', shown)
    assert len(segment) == 1, "the time it has is not offered again"
    assert key, shown
    wish = {"clinic": str(clinic_id), "segment": segment[0], "key": key[1]}
    moved = phone.post(f"{page}/change", wish, token_from=chosen).headers["location"]
    assert 'data-state="confirmed"' in phone.get(moved).text
    assert "已改约到另一个时间。" in phone.get(page).text
    file = phone.get(f"{moved}/visit.ics")
    assert file.headers["content-type"].startswith("text/calendar")
    assert file.text.count("BEGIN:VEVENT") == 1
    assert phone.get(f"{page}/visit.ics").status_code == 303


@pytest.mark.req("REG-4")
def test_the_office_sees_accounts_that_book_for_many(phone: Phone, clerk: Visitor) -> None:
    for name in ("王芳", "李**"):
        books(phone, desk.opened_session(1), name)
    watch = "/staff/registration/watch"
    assert "没有可疑的账号" in clerk.get(watch).text
    shown = clerk.get(f"{watch}?persons=2").text
    assert shown.count("data-account=") == 1
    assert "李**" in shown


def test_a_doctor_is_found_by_pinyin(phone: Phone) -> None:
    clinic_id = desk.opened_session(1)
    with begin() as session:
        sits = session.get_one(clinic.ClinicSession, clinic_id).doctor_id
    for typed, found in (("smy", True), ("SHENM", True), ("沈明", True), ("mys", False), ("zzz", False)):
        assert (f"/p/book/doctors/{sits}" in phone.get(f"/p/book?q={typed}").text) == found, typed


def test_from_the_department_to_the_voucher_and_the_refund(place: PayTown, phone: Phone) -> None:
    made = desk.opened_session(3)
    with begin() as session:
        row = session.get_one(clinic.ClinicSession, made)
        department_id, doctor_id = row.department_id, row.doctor_id
    assert "心血管内科" in phone.get("/p/book").text
    page = phone.get(f"/p/book/departments/{department_id}").text
    assert (f'data-left="{made}">3<' in page, "沈明远" in page) == (True, True)
    assert "出诊时间" in phone.get(f"/p/book/doctors/{doctor_id}").text
    assert phone.get(f"/p/book/left?s={made}").json() == {str(made): 3}

    booking = books(phone, made)
    assert "请尽快支付" in phone.get(booking).text
    to_pay = phone.post(f"{booking}/pay", token_from=booking).headers["location"]
    again = phone.get(booking).text
    assert "继续支付" in again
    back = pays(phone, uuid.UUID(to_pay.rpartition("/")[2]))
    assert back.status_code == 303 or "/p/bookings/" in back.text
    work("registration")
    page = phone.get(booking).text
    assert ("预约成功" in page, "barcode.svg" in page) == (True, True)
    picture = phone.get(f"{booking}/barcode.svg")
    assert (picture.headers["content-type"], "<path" in picture.text) == ("image/svg+xml", True)
    assert phone.get(f"/p/book/left?s={made}").json() == {str(made): 2}

    done = phone.post(f"{booking}/cancel", {"reason": "0"}, token_from=f"{booking}/cancel")
    assert done.headers["location"] == booking
    assert "正在原路退回" in phone.get(booking).text
    paying.sweep(4)
    work("registration")
    assert "已退号" in phone.get(booking).text


@pytest.mark.req("REG-5")
def test_booked_for_the_mother_and_a_second_tap_is_the_same(place: PayTown, phone: Phone) -> None:
    made = desk.opened_session(3)
    page = f"/p/book/sessions/{made}"
    typed = form(phone, made, "李**")
    first = phone.post(page, typed, token_from=page).headers["location"]
    assert phone.post(page, typed, token_from=page).headers["location"] == first
    assert desk.numbers(made) == {"free": 2, "held": 1}
    assert "李**" in phone.get("/p/bookings").text


@pytest.mark.req("SEC-1")
def test_a_stranger_sees_books_and_cancels_nothing(place: PayTown, phone: Phone, mother: uuid.UUID) -> None:
    made = desk.opened_session(3)
    booking = books(phone, made)
    stranger = place.town.phone("stranger")
    stranger.sign_in()
    for path in (booking, f"{booking}/barcode.svg", f"{booking}/cancel", "/p/bookings/not-an-id"):
        assert stranger.get(path).status_code == 404, path
    for path in (f"{booking}/pay", f"{booking}/cancel"):
        assert stranger.post(path, {"reason": "0"}).status_code == 404, path
    typed = {"person": str(mother), "key": str(uuid.uuid4()), "segment": ""}
    assert stranger.post(f"/p/book/sessions/{made}", typed).status_code == 404
    assert desk.numbers(made) == {"free": 2, "held": 1}
    with begin() as session:
        refused = session.scalars(select(AccessRecord).where(AccessRecord.allowed.is_(False))).all()
    assert {each.person_id for each in refused} == {None}
    assert len(refused) >= 4


def test_a_full_session_offers_the_waiting_list_and_its_first_gets_the_number(place: PayTown, phone: Phone) -> None:
    made = desk.opened_session(1)
    first = confirmed(place, phone, made, "李**")
    page = f"/p/book/sessions/{made}"
    assert "登记候补" in phone.get(page).text
    typed = form(phone, made, "王芳")
    entry = phone.post(f"{page}/wait", {"person": typed["person"]}, token_from=page).headers["location"]
    assert "第 1 位" in phone.get(entry).text
    phone.post(f"{first}/cancel", {"reason": "0"}, token_from=f"{first}/cancel")
    shown = phone.get(entry).text
    assert "有号了" in shown
    key = re.search(r'name="key" value="([0-9a-f-]+)"', shown)
    assert key
    booking = phone.post(f"{entry}/take", {"key": key[1]}, token_from=entry).headers["location"]
    assert "请尽快支付" in phone.get(booking).text
    assert "候补成功" in phone.get(entry).text


@pytest.mark.req("REG-4")
def test_a_blocked_person_is_told_why_appeals_and_is_let_in(place: PayTown, phone: Phone, clerk: Visitor) -> None:
    made = desk.opened_session(3)
    answer = clerk.post("/staff/registration/blocks", {"card": "CP1", "days": "30", "note": "多次代他人抢号"})
    assert answer.status_code == 200, answer.text
    assert clerk.post("/staff/registration/blocks", {"card": "nobody", "days": "30", "note": "x"}).status_code == 404
    page = f"/p/book/sessions/{made}"
    refused = phone.post(page, form(phone, made, "王芳"), token_from=page)
    assert (refused.status_code, "申诉" in refused.text) == (409, True)
    shown = phone.get("/p/bookings").text
    block = re.search(r"/p/booking-blocks/([0-9a-f-]+)/appeal", shown)
    assert "多次代他人抢号" in shown
    assert block
    phone.post(f"/p/booking-blocks/{block[1]}/appeal", {"words": "是家里老人的号"}, token_from="/p/bookings")
    assert "是家里老人的号" in clerk.get("/staff/registration/blocks").text
    clerk.post(f"/staff/registration/blocks/{block[1]}/lift", {"why": "核实无误"})
    assert books(phone, made)


def test_the_desk_finds_by_voucher_checks_in_and_cancels_with_a_reason(
    place: PayTown, phone: Phone, clerk: Visitor
) -> None:
    made = desk.opened_session(3)
    booking = confirmed(place, phone, made).rpartition("/")[2]
    with begin() as session:
        number = session.get_one(Booking, uuid.UUID(booking)).number
    assert number in clerk.get(f"/staff/registration?day={clinic.tomorrow()}").text
    page = f"/staff/registration/{booking}"
    early = clerk.post(f"{page}/arrive")
    assert early.status_code == 409
    with begin() as session:
        session.execute(update(Booking).where(Booking.number == number).values(day=clock.today()))
    assert clerk.post(f"{page}/arrive").status_code == 200
    assert "已就诊" in clerk.get(page).text
    other = books(phone, desk.opened_session(1)).rpartition("/")[2]
    assert clerk.post(f"/staff/registration/{other}/cancel", {"reason": " "}).status_code == 422
    assert clerk.post(f"/staff/registration/{other}/cancel", {"reason": "患者来电"}).status_code == 200
    assert desk.state(uuid.UUID(other)) == "cancelled"


def test_booked_at_the_window_paid_and_given_back_in_cash(place: PayTown, phone: Phone, clerk: Visitor) -> None:
    made = desk.opened_session(1)
    with begin() as session:
        code = session.get_one(clinic.ClinicSession, made).department.code
    cashier = Visitor(place.town.url)
    cashier.sign_in("cashier")
    page = cashier.get(f"/staff/registration/new?department={code}").text
    key = re.search(r'name="key" value="([0-9a-f-]+)"', page)
    assert key
    typed = {"card": "CP2", "clinic": str(made), "key": key[1], "department": code}
    assert cashier.post("/staff/registration/new", typed | {"card": "nobody"}).status_code == 404
    shown = cashier.post("/staff/registration/new", typed)
    booking = shown.url.path.rpartition("/")[2]
    again = cashier.post("/staff/registration/new", typed)
    assert again.url.path == shown.url.path
    assert clerk.post(f"/staff/registration/{booking}/cash").status_code == 403
    assert "预约成功" in cashier.post(f"/staff/registration/{booking}/cash").text
    clerk.get(f"/staff/registration/{booking}")
    clerk.post(f"/staff/registration/{booking}/cancel", {"reason": "患者来电"})
    assert desk.state(uuid.UUID(booking)) == "cancelling"  # nobody stood there to take the money
    cashier.get(f"/staff/registration/{booking}")
    cashier.post(f"/staff/registration/{booking}/cancel-cash", {"reason": "患者来取"})
    work("registration")
    assert desk.state(uuid.UUID(booking)) == "cancelled"
    assert cashier.post(f"/staff/registration/{booking}/cancel-cash", {"reason": "再取"}).status_code == 409
    cashier.http.close()


def test_settings_are_bounded_and_hold_for_the_next_booking(place: PayTown, phone: Phone, clerk: Visitor) -> None:
    page = clerk.get("/staff/registration/settings").text
    names = re.findall(r'name="name" value="(\w+)"', page)
    values = re.findall(r'name="value" type="number"[^>]*value="(\d+)"', page)
    assert len(names) == len(values) > 10
    typed = dict(zip(names, values, strict=True)) | {"hold_s": "400"}

    def save(**more: str) -> int:
        fields: dict[str, object] = {"name": [*typed], "value": [*(typed | more).values()], "remind_at": "19:30"}
        return clerk.post("/staff/registration/settings", fields).status_code

    assert save(hold_s="60") == 422
    assert save(return_min_minutes="50", return_max_minutes="10") == 422
    assert save() == 200
    booking = books(phone, desk.opened_session(1)).rpartition("/")[2]
    with begin() as session:
        row = session.get_one(Booking, uuid.UUID(booking))
        assert row.hold_until - row.created_at < timedelta(seconds=401)


@pytest.mark.req("REG-1")
def test_a_stopped_session_is_moved_with_one_tap_and_the_difference_comes_back(place: PayTown, phone: Phone) -> None:
    with begin() as session:
        of = clinic.department(session, code=f"R{uuid.uuid4().hex[:5]}")
        sits = clinic.doctor(session, code=f"R{uuid.uuid4().hex[:5]}", of=of)
        one = clinic.publish(session, clinic.wish(of, sits, capacity=2), by=clinic.BY).id
        two = clinic.publish(session, clinic.wish(of, sits, half="afternoon", fee_fen=3000), by=clinic.BY).id
    work("registration")
    booking = confirmed(place, phone, one)
    with begin() as session:
        schedules.stop(session, one, by=clinic.BY, why="医生病假")
    work("registration")
    shown = phone.get(booking).text
    assert "医生停诊" in shown
    key = re.search(r'name="key" value="([0-9a-f-]+)"', shown)
    assert key
    moved = phone.post(f"{booking}/rebook", {"clinic": str(two), "key": key[1]}, token_from=booking).headers["location"]
    paying.sweep(4)
    work("registration")
    assert "预约成功" in phone.get(moved).text
    assert "已改约" in phone.get(booking).text
    with begin() as session:
        row = session.get_one(Booking, uuid.UUID(moved.rpartition("/")[2]))
        assert row.payment_id is not None
        assert paying.payment(row.payment_id).reserved_fen == 2000
        assert session.scalars(select(Number.state).where(Number.clinic_session_id == one)).all() == ["stopped"] * 2
