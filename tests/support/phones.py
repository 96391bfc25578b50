"""Patients' phones and the window's clerk over HTTP alone, with the simulated WeChat and SMS gateway beside them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from http.server import ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
import pytest

from cloud.app import create_app
from cloud.config import settings
from cloud.kit.db import begin
from cloud.lis.reports import service as reports
from cloud.lis.results import review, sheets
from cloud.lis.results.service import ingest
from cloud.people import service as people
from cloud.people.rules import PersonDetails
from simulators.ledger import Ledger
from simulators.sms.service import SmsService
from simulators.wechat.service import Account, WechatService
from tests.support import bench as laboratory
from tests.support.web_server import free_port, served
from tests.support.work import work

WANG_ID = "999101199005010022"
WECHAT_VIEW = {"User-Agent": "Mozilla/5.0 (Linux; Android 14) MicroMessenger/8.0.50"}
ALIPAY_VIEW = {"User-Agent": "Mozilla/5.0 (Linux; Android 14) AliApp(AP/10.6) AlipayClient/10.6.0"}
MOTHER_ID = "999101196507090049"


@dataclass(slots=True)
class Town:
    """The hospital's cloud, WeChat, the SMS gateway."""

    url: str
    wechat: WechatService
    sms: SmsService
    servers: list[ThreadingHTTPServer] = field(default_factory=list)
    browsers: list[httpx.Client] = field(default_factory=list)

    def phone(self, openid: str) -> Phone:
        self.browsers.append(httpx.Client(base_url=self.url, trust_env=False, timeout=30, headers=WECHAT_VIEW))
        return Phone(self, openid, self.browsers[-1])

    def pushes(self, openid: str) -> list[dict[str, object]]:
        return [each for each in self.wechat.messages if each["openid"] == openid]

    def sms_code(self, phone: str) -> str:
        """The newest code on a phone's screen."""
        work("notify")
        texts = [each for each in self.sms.messages if each["phone"] == phone]
        return str(texts[-1]["parameters"]["code"])


@contextmanager
def town(monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    """Needs the `database` fixture: the settings it made get the simulators' addresses."""
    wechat = WechatService(Ledger(None, "wechat"), Account("wx-hospital", "s1", ["report-ready"]))
    sms = SmsService(Ledger(None, "sms"), "key")
    servers = [wechat.start("127.0.0.1", 0), sms.start("127.0.0.1", 0)]
    port = free_port()
    wechat_url, sms_url = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    for name, value in {
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "WECHAT_APP_ID": "wx-hospital",
        "WECHAT_SECRET": "s1",
        "WECHAT_API_URL": wechat_url,
        "WECHAT_OPEN_URL": wechat_url,
        "WECHAT_REPORT_TEMPLATE_ID": "report-ready",
        "SMS_URL": f"{sms_url}/sms",
        "SMS_KEY": "key",
    }.items():
        monkeypatch.setenv(f"XINGLIN_{name}", value)
    settings.cache_clear()
    try:
        with served(create_app(), port) as url:
            made = Town(url, wechat, sms, servers)
            yield made
            for browser in made.browsers:
                browser.close()
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@dataclass(slots=True)
class Phone:
    """One patient's WeChat with the hospital's pages open in it."""

    town: Town
    openid: str
    browser: httpx.Client

    def get(self, path: str) -> httpx.Response:
        return self.browser.get(path, follow_redirects=False)

    def post(self, path: str, data: dict[str, str] | None = None, *, token_from: str = "/p/my") -> httpx.Response:
        return self.browser.post(
            path, data={**(data or {}), "csrf_token": self.token(token_from)}, follow_redirects=False
        )

    def token(self, path: str) -> str:
        found = re.search(r'name="csrf_token" value="([0-9a-f]+)"', self.get(path).text)
        assert found is not None, f"{path} has no form"
        return found[1]

    def authorize(self, next_page: str = "/p") -> str:
        """Go to WeChat and come as far as the address it sends the browser back to."""
        away = self.get(f"/p/sign-in?next={next_page}")
        assert away.status_code == 303
        answer = httpx.get(away.headers["location"], headers={"Cookie": f"wechat_user={self.openid}"}, trust_env=False)
        back = urlsplit(answer.headers["location"])
        return f"{back.path}?{back.query}"

    def sign_in(self, next_page: str = "/p") -> httpx.Response:
        answer = self.get(self.authorize(next_page))
        assert answer.status_code == 303, answer.text
        return answer

    def ask_for_code(self, name: str, number: str, relation: str = "self") -> httpx.Response:
        return self.post("/p/bind", {"name": name, "number": number, "relation": relation}, token_from="/p/bind")

    def bind(self, name: str, number: str, phone_on_file: str, relation: str = "self") -> None:
        """The whole walk: name and number, the code from the phone on file, bound."""
        asked = self.ask_for_code(name, number, relation)
        assert asked.status_code == 303, asked.text
        page = asked.headers["location"]
        done = self.post(page, {"code": self.town.sms_code(phone_on_file)}, token_from=page)
        assert (done.status_code, done.headers.get("location")) == (303, "/p/my"), done.text

    def reads(self, report_id: uuid.UUID) -> httpx.Response:
        return self.get(f"/p/reports/{report_id}")


def register(name: str, number: str | None = None, phone: str | None = None, mrn: str | None = None) -> uuid.UUID:
    """A file in the hospital's index."""
    identifiers = (("mrn", mrn), ("card", f"C{mrn}")) if mrn else ()
    with begin() as session:
        details = PersonDetails(
            name=name,
            sex="F",
            birth_date=date(1990, 5, 1),
            phone=phone,
            id_number=number,
            identifiers=identifiers,
        )
        return people.register(session, details, by="system").id


def release_report(person_id: uuid.UUID, **values: str) -> uuid.UUID:
    """A released report of this person with these results (code=value); confirms critical values."""
    with begin() as session:
        bench = _bench(session)
        specimen = bench.specimen(*values, person_id=person_id)
        ingest(session, bench.source(), [laboratory.observed(specimen, code, value) for code, value in values.items()])
        who = laboratory.pathologist()
        review.mark_reviewed(session, specimen.id, by=who, version=sheets.version_of(session, specimen.id))
        version = sheets.version_of(session, specimen.id)
        return reports.release(session, specimen.id, by=who, version=version, confirm_critical=True).id


_sequence = iter(range(1000, 10_000_000))


def _bench(session: object) -> laboratory.Bench:
    """The one analyzer of the test's laboratory, set up at first use."""
    from sqlalchemy import select
    from sqlalchemy.orm import Session

    from cloud.lis.catalog.model import Test
    from cloud.lis.instruments.model import Instrument

    assert isinstance(session, Session)
    instrument = session.scalar(select(Instrument))
    if instrument is None:
        made = laboratory.set_up(session)
        made.sequence = next(_sequence)
        return made
    tests = {each.code: each for each in session.scalars(select(Test))}
    return laboratory.Bench(session, uuid.uuid4(), tests, next(_sequence))
