"""Every refusal is a page with a way out for people and JSON for programs; nobody sees a stack trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import errors
from cloud.kit.db import Transaction, engine
from cloud.web import middleware
from tests.support.broker import Broker
from tests.support.site import Site, hire_cast, running_site

REFUSALS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.XinglinError)]


@pytest.fixture
def site(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    from cloud import app as application

    made = application.create_app

    def with_troubles() -> FastAPI:
        app = made()
        _add_troubles(app)
        return app

    monkeypatch.setattr(application, "create_app", with_troubles)
    hire_cast()
    with running_site() as running:
        yield running


def _add_troubles(app: FastAPI) -> None:
    for prefix in ("/api/trouble", "/p/trouble", "/staff/trouble"):

        @app.get(prefix + "/refusal/{name}")
        def refuse(name: str) -> None:
            raise getattr(errors, name)("some_code", "找不到 {what}", what="标本 <b>", retry_after_s=7)

        @app.get(prefix + "/fault")
        def fault() -> None:
            raise ZeroDivisionError("a secret of patient 张三")

        @app.get(prefix + "/database")
        def database_away(session: Transaction) -> None:
            session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

        @app.get(prefix + "/number/{number}")
        def number(number: int) -> dict[str, int]:
            return {"number": number}


@pytest.mark.parametrize("error", REFUSALS, ids=lambda each: each.__name__)
def test_a_refusal_has_one_status_for_pages_and_programs(site: Site, error: type[errors.XinglinError]) -> None:
    visitor = site.visitor()
    for path in ("/api/trouble/refusal/", "/p/trouble/refusal/", "/staff/trouble/refusal/"):
        answer = visitor.http.get(path + error.__name__, follow_redirects=False)
        if error is errors.Unauthenticated and not path.startswith("/api"):
            assert answer.status_code == 303
            assert "/sign-in?next=" in answer.headers["location"]
            continue
        assert answer.status_code == error.status
        assert answer.headers["retry-after"] == "7"
        if path.startswith("/api"):
            assert answer.json() == {"error": {"code": "some_code", "message": "找不到 标本 <b>"}}
        else:
            assert "找不到 标本 &lt;b&gt;" in answer.text
            assert 'href="/' in answer.text


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize("path", ["/api/trouble/fault", "/p/trouble/fault", "/staff/trouble/fault"])
def test_a_fault_of_ours_shows_a_number_to_quote_and_nothing_of_its_inside(site: Site, path: str) -> None:
    answer = site.visitor().http.get(path)
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.text
    assert not re.search(r"Traceback|ZeroDivision|张三|\.py", answer.text)


def test_a_database_that_goes_away_is_said_so(site: Site) -> None:
    answer = site.visitor().http.get("/staff/trouble/database")
    assert answer.status_code == 503
    assert "已提交的内容不会丢失" in answer.text


def test_input_of_the_wrong_form_is_named(site: Site) -> None:
    answer = site.visitor().http.get("/api/trouble/number/abc")
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "unreadable"
    assert "path.number" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("path", "way_out"), [("/staff/nowhere", "/staff"), ("/p/nowhere", "/p"), ("/x", "/staff")])
def test_a_page_that_is_not_there_says_what_to_do(site: Site, path: str, way_out: str) -> None:
    answer = site.visitor().http.get(path)
    assert answer.status_code == 404
    assert "从导航重新进入" in answer.text
    assert f'href="{way_out}"' in answer.text


def test_somebody_signed_in_keeps_the_navigation_on_a_page_that_is_not_there(site: Site) -> None:
    answer = site.staff("admin").http.get("/staff/nowhere")
    assert answer.status_code == 404
    assert 'href="/staff/accounts"' in answer.text
    assert 'href="/staff/accounts"' not in site.visitor().http.get("/staff/nowhere").text


def test_a_part_of_a_page_gets_its_refusal_as_a_part(site: Site) -> None:
    answer = site.staff("technician").http.get("/staff/trouble/refusal/Conflict", headers={"HX-Request": "true"})
    assert answer.status_code == 409
    assert "<html" not in answer.text
    assert "找不到 标本" in answer.text


def test_a_part_of_a_page_of_somebody_signed_out_leads_to_the_sign_in(site: Site) -> None:
    answer = site.visitor().http.get("/staff/waiting", headers={"HX-Request": "true"}, follow_redirects=False)
    assert answer.headers["hx-redirect"] == "/staff/sign-in"


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    "path", ["/staff/sign-in", "/staff/nowhere", "/api/trouble/fault", "/static/css/staff.css", "/healthz"]
)
def test_every_answer_carries_the_security_headers(site: Site, path: str) -> None:
    headers = site.visitor().http.get(path).headers
    for name, value in middleware.SECURITY_HEADERS.items():
        assert headers[name] == value
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.req("SEC-1")
def test_pages_are_not_kept_by_browsers_and_files_are(site: Site) -> None:
    page = site.visitor().http.get("/staff/sign-in")
    assert page.headers["cache-control"] == "no-store"
    style = re.search(r"/static/css/staff\.css\?v=[0-9a-f]+", page.text)
    assert style is not None
    assert "immutable" in site.visitor().http.get(style.group()).headers["cache-control"]
    assert site.visitor().http.get("/static/css/staff.css").headers["cache-control"] == "no-cache"


@pytest.mark.req("OPS-1")
def test_health_tells_whether_the_database_is_there_and_migrated(site: Site) -> None:
    visitor = site.visitor()
    assert visitor.http.get("/healthz").json() == {"fit": True, "database": "ok", "migrations": "ok"}
    with engine().begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    behind = visitor.http.get("/healthz")
    assert (behind.status_code, behind.json()["fit"]) == (503, False)
    assert "0001" in behind.json()["migrations"]


@pytest.mark.req("OPS-1")
def test_health_asks_for_the_broker_only_when_told_to(
    site: Site, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XINGLIN_MQTT_HOST", broker.host)
    monkeypatch.setenv("XINGLIN_MQTT_PORT", str(broker.port))
    settings.cache_clear()
    deep = site.base_url + "/healthz?deep=1"
    assert httpx.get(deep).json() == {"fit": True, "database": "ok", "migrations": "ok", "broker": "ok"}
    broker.stop()
    answer = httpx.get(deep)
    assert (answer.status_code, answer.json()["fit"]) == (503, False)
    assert "refused" in answer.json()["broker"]
    assert httpx.get(site.base_url + "/healthz").status_code == 200, "pages are served without the broker"


def test_health_without_a_database_is_unfit_and_not_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloud.web import health

    nowhere = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with monkeypatch.context() as patched:
        patched.setattr(health.db, "engine", lambda: nowhere)
        answer = httpx.get(site.base_url + "/healthz")
    assert (answer.status_code, answer.json()["database"]) == (503, "OperationalError")


@pytest.mark.req("OPS-1")
def test_metrics_count_requests_by_route_and_not_by_address(site: Site) -> None:
    visitor = site.visitor()
    visitor.http.get("/api/trouble/number/12345")
    metrics = visitor.http.get("/metrics").text
    assert 'route="/api/trouble/number/{number}",status="200"' in metrics
    assert "12345" not in metrics
    assert 'xinglin_jobs{state="failed"} 0.0' in metrics


@pytest.mark.req("OPS-1")
def test_metrics_without_a_database_leave_out_what_only_the_database_knows(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloud.kit import metrics

    @contextmanager
    def away() -> Iterator[Session]:
        raise OperationalError("SELECT 1", {}, Exception("away"))
        yield

    with monkeypatch.context() as patched:
        patched.setattr(metrics, "begin", away)
        answer = httpx.get(site.base_url + "/metrics")
    assert answer.status_code == 200
    assert "xinglin_http_requests_total" in answer.text
    assert 'xinglin_jobs{state="failed"}' not in answer.text
