"""Patients in Alipay's web view: signed in by its OAuth, told by its messages, and by SMS where a channel fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import delete, select

from cloud.kit.db import begin
from cloud.notify import service as notify
from cloud.notify.model import Delivery
from cloud.patient.identity import reach
from cloud.patient.identity.model import PatientAccount
from simulators.http_service import Fault
from simulators.money.alipay import AlipayService
from tests.support.cashiers import running
from tests.support.phones import ALIPAY_VIEW, WANG_ID, WECHAT_VIEW, Phone, Town, register, town
from tests.support.work import due_now, work

PHONE = "00013800001"
BOOKING = {"hospital": "杏林医院", "patient": "王*", "time": "2026-11-24 08:00", "link": "http://h/p/bookings/1"}


@dataclass
class Both:
    """A hospital with both channels."""

    town: Town
    alipay: AlipayService

    def browser(self, headers: dict[str, str]) -> httpx.Client:
        made = httpx.Client(base_url=self.town.url, trust_env=False, timeout=30, headers=headers)
        self.town.browsers.append(made)
        return made

    def in_alipay(self, user: str) -> Phone:
        return Phone(self.town, user, self.browser(ALIPAY_VIEW))

    def back_from_alipay(self, phone: Phone, next_page: str = "/p") -> str:
        """As far as the address that Alipay sends the browser back to."""
        away = phone.get(f"/p/sign-in?next={next_page}")
        assert away.headers["location"].startswith(f"{self.alipay.base}/oauth2/publicAppAuthorize.htm?")
        answer = httpx.get(away.headers["location"], headers={"Cookie": f"alipay_user={phone.openid}"}, trust_env=False)
        back = urlsplit(answer.headers["location"])
        return f"{back.path}?{back.query}"

    def signed_in(self, user: str) -> Phone:
        phone = self.in_alipay(user)
        assert phone.get(self.back_from_alipay(phone)).status_code == 303
        return phone

    def messages(self, user: str) -> list[dict[str, object]]:
        return [each for each in self.alipay.life.messages if each["user"] == user]


@pytest.fixture
def hospital(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    with running(monkeypatch) as cashiers:
        monkeypatch.setenv("XINGLIN_ALIPAY_OPEN_URL", cashiers.alipay.base)
        with town(monkeypatch) as made:
            yield Both(made, cashiers.alipay)


@pytest.mark.req("CHN-1")
def test_alipays_web_view_signs_in_through_alipay_and_wechats_through_wechat(hospital: Both) -> None:
    phone = hospital.in_alipay("lin")
    assert phone.get(hospital.back_from_alipay(phone, "/p/my")).headers["location"] == "/p/my"
    assert phone.get("/p/my").status_code == 200
    with begin() as session:
        mine = session.scalars(select(PatientAccount)).one()
        assert (mine.channel, mine.open_id, mine.user_id) == ("alipay", "lin", None)
    away = hospital.browser(WECHAT_VIEW).get("/p/sign-in", follow_redirects=False)
    assert "/connect/oauth2/authorize?" in away.headers["location"]


@pytest.mark.req("CHN-1")
def test_another_browser_chooses_and_only_among_the_channels_there_are(hospital: Both) -> None:
    desk = hospital.browser({"User-Agent": "Mozilla/5.0 (X11; Linux) Chrome/140"})
    page = desk.get("/p/sign-in?next=/p/my", follow_redirects=False)
    assert page.status_code == 200
    assert "channel=alipay&amp;next=/p/my" in page.text
    assert "channel=wechat&amp;next=/p/my" in page.text
    assert desk.get("/p/sign-in?channel=alipay", follow_redirects=False).status_code == 303
    assert desk.get("/p/sign-in?channel=weibo", follow_redirects=False).status_code == 200


@pytest.mark.req("SEC-1")
def test_an_alipay_code_and_state_are_good_once_and_at_their_own_door(hospital: Both) -> None:
    phone = hospital.in_alipay("lin")
    back = hospital.back_from_alipay(phone)
    at_wechats_door = back.replace("/p/oauth/alipay", "/p/oauth/wechat").replace("auth_code=", "code=")
    assert phone.get(at_wechats_door).status_code == 403
    assert phone.get(back).status_code == 303
    assert phone.get(back).status_code == 403
    assert hospital.in_alipay("thief").get(hospital.back_from_alipay(phone)).status_code == 403


@pytest.mark.req("SEC-1")
def test_a_code_that_alipay_never_gave_signs_nobody_in(hospital: Both) -> None:
    phone = hospital.in_alipay("lin")
    state = hospital.back_from_alipay(phone).split("state=")[1].split("&")[0]
    assert phone.get(f"/p/oauth/alipay?state={state}&auth_code=made-up").status_code == 403
    with begin() as session:
        assert session.scalars(select(PatientAccount)).all() == []


@pytest.mark.req("SEC-1")
def test_an_answer_that_alipay_did_not_sign_signs_nobody_in(hospital: Both) -> None:
    """The library believes what verifies with Alipay's key and nothing else."""
    phone = hospital.in_alipay("lin")
    back = hospital.back_from_alipay(phone)
    forged = {"alipay_system_oauth_token_response": {"open_id": "victim", "access_token": "x"}, "sign": "AAAA"}
    hospital.alipay.faults["/gateway.do"] = Fault(fail_next=1, status=200, body=forged)
    assert phone.get(back).status_code == 503
    assert phone.get("/p").status_code == 303


@pytest.mark.req("CHN-1")
def test_an_app_of_the_older_kind_names_users_by_number_and_an_open_id_later_finds_the_same_account(
    hospital: Both,
) -> None:
    from cloud.config import settings
    from cloud.patient.identity.sign_in import ChannelIdentity, account_of

    hospital.alipay.life.old_kind = True
    hospital.signed_in("2088000000000077")
    app = settings().alipay_app_id
    with begin() as session:
        first = session.scalars(select(PatientAccount)).one()
        both = account_of(session, ChannelIdentity("alipay", app, "o77", None, "2088000000000077"))
        new = account_of(session, ChannelIdentity("alipay", app, "o77"))
        assert (first.id, both.id) == (both.id, new.id)
        assert new.user_id == "2088000000000077"


def bound(hospital: Both, user: str) -> tuple[Phone, object]:
    person = register("王芳", WANG_ID, PHONE)
    phone = hospital.signed_in(user)
    phone.bind("王芳", WANG_ID, PHONE)
    hospital.town.sms.messages.clear()
    return phone, person


def tell(person: object, key: str = "b1") -> int:
    with begin() as session:
        return reach.tell(
            session,
            person,
            "book",
            template="booking_confirmed",
            key=key,
            parameters=BOOKING,  # type: ignore[arg-type]
        )


@pytest.mark.req("CHN-1")
def test_an_alipay_user_is_told_by_an_alipay_message_once(hospital: Both) -> None:
    _, person = bound(hospital, "lin")
    assert [tell(person), tell(person)] == [1, 1]
    work("notify")
    [message] = hospital.messages("lin")
    assert message["url"] == BOOKING["link"]
    assert "挂号成功" in str(message["data"])
    assert hospital.town.sms.messages == []


@pytest.mark.req("CHN-1", "REG-6")
def test_who_follows_the_account_no_more_gets_the_same_by_sms_to_the_phone_on_file(hospital: Both) -> None:
    _, person = bound(hospital, "lin")
    hospital.alipay.life.unfollowed.add("lin")
    tell(person)
    work("notify")
    work("notify")
    [text] = hospital.town.sms.messages
    assert (text["phone"], text["template"]) == (PHONE, "booking_confirmed")
    assert hospital.messages("lin") == []
    with begin() as session:
        states = {
            (each.transport, each.state) for each in session.scalars(select(Delivery)) if each.dedupe_key[:2] == "b1"
        }
    assert states == {("sms", "sent"), ("alipay_message", "failed")}


@pytest.mark.req("CHN-1")
def test_a_channel_that_stays_away_is_given_up_for_the_sms_and_sends_nothing_later(hospital: Both) -> None:
    _, person = bound(hospital, "lin")
    hospital.alipay.faults["/gateway.do"] = Fault(fail_next=4, status=503)
    tell(person)
    for _ in range(6):
        work("notify")
        due_now()
    assert len(hospital.town.sms.messages) == 1
    assert hospital.messages("lin") == []


@pytest.mark.req("REG-6")
def test_a_booking_made_at_the_window_is_told_to_the_phone_on_file_and_a_report_is_not(hospital: Both) -> None:
    person = register("王芳", WANG_ID, PHONE)
    assert tell(person) == 1
    with begin() as session:
        assert [each.address for each in reach.recipients(session, person, "book")] == [PHONE]
        assert reach.recipients(session, person, "report") == []


def test_a_fallback_phone_lies_in_the_database_sealed(hospital: Both) -> None:
    _, person = bound(hospital, "lin")
    with begin() as session:
        session.execute(delete(Delivery).where(Delivery.transport == notify.SMS, Delivery.state == "waiting"))
    tell(person)
    with begin() as session:
        row = session.scalars(select(Delivery).where(Delivery.transport == notify.ALIPAY)).one()
        assert (row.fallback, row.fallback_shown) == (PHONE, "000****0001")
        stored = session.connection().exec_driver_sql("SELECT d::text FROM delivery d").scalars().all()
    assert not any(PHONE in each or PHONE.encode().hex() in each for each in stored)
