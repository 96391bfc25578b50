"""Whatever a browser or a program sends, an answer is a page or a refusal, never a fault (5xx) of ours.

Every address is taken from the application's own OpenAPI document, the pages' forms included, and asked with what
schemathesis makes up for it: right, wrong, empty, overlong, with bytes that no database takes. A member of staff with
every role and a patient are signed in, so that requests get behind the doors.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import secrets
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode

from cloud import config
from cloud.app import SLICES
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.ids import new_id
from cloud.patient.identity.access import REALM, SIGNED_IN_FOR
from cloud.patient.identity.model import PatientAccount
from cloud.staff.service import create_account
from cloud.web import csrf
from cloud.web.sessions import WebSession
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import CAST, PASSWORD, Site, running_site

NOT_ASKED = {
    "/staff/live": "a stream without an end",
    "/staff/sign-out": "would end what the others need",
    "/p/sign-out": "would end what the others need",
}


def routers() -> Iterator[Any]:
    """Every slice's router, and the routers and routes inside."""
    waiting: list[Any] = [
        importlib.import_module(f"cloud.{name}.routes").router
        for name in SLICES
        if importlib.util.find_spec(f"cloud.{name}.routes")
    ]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += [getattr(inner, "original_router", inner) for inner in getattr(each, "routes", [])]


def document(app: FastAPI) -> dict[str, Any]:
    """The application's OpenAPI document; two verbs of one function share an operation id there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return app.openapi()


@dataclass(slots=True)
class Asking:
    """The application with a staff member and a patient signed in, in one browser."""

    site: Site
    browser: requests.Session
    schema: Any
    token: str = ""

    def ask(self, case: Case[Any]) -> int:
        """The answer's status."""
        answer = case.call(session=self.browser, headers={csrf.HEADER: self.token}, allow_redirects=False, timeout=30)
        return int(answer.status_code)

    def sign_in(self) -> None:
        visitor = self.site.visitor()
        visitor.sign_in("everyone")
        self.browser.cookies.clear()
        self.browser.cookies.update(dict(visitor.http.cookies))
        with begin() as session:
            opened = PatientAccount(channel="wechat", app_id="wx", open_id=str(new_id()))
            session.add(opened)
            session.flush()
            token = secrets.token_urlsafe(32)
            session.add(_web_session(opened.id, token))
        self.browser.cookies.set(f"xl_{REALM}", token)
        self.token = visitor.token


@pytest.fixture(scope="module")
def asking(database_server: DatabaseServer) -> Iterator[Asking]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone(database_server.furnished) as url,
        cloud_on(url, patched),
    ):
        patched.setenv("XINGLIN_WECHAT_APP_ID", "wx")
        config.settings.cache_clear()
        for each in routers():
            if hasattr(each, "include_in_schema"):
                patched.setattr(each, "include_in_schema", True)
        with begin() as session:
            create_account(session, login="everyone", name="吴全", password=PASSWORD, roles=list(CAST))
        with running_site() as site, requests.Session() as browser:
            browser.trust_env = False
            schema = schemathesis.openapi.from_dict(document(site.app))
            schema.config.update(base_url=site.base_url)
            yield Asking(site, browser, schema)


def _web_session(subject_id: uuid.UUID, token: str) -> WebSession:
    now = clock.now()
    return WebSession(
        realm=REALM,
        subject_id=subject_id,
        token_hash=hashlib.sha256(token.encode()).digest(),
        data={},
        seen_at=now,
        expires_at=now + SIGNED_IN_FOR,
        address="127.0.0.1",
        browser="",
    )


def faults(asking: Asking, prefixes: tuple[str, ...], tries: int) -> dict[str, str]:
    """Operation -> the first request that broke it, for the addresses with these beginnings."""
    found: dict[str, str] = {}
    asked = 0
    for result in asking.schema.get_all_operations():
        operation = result.ok()
        if operation.path in NOT_ASKED or not operation.path.startswith(prefixes):
            continue
        asked += 1
        asking.sign_in()
        broken = _first_fault(asking, operation, tries)
        if broken:
            found[operation.label] = broken
    assert asked > 5, f"only {asked} operations begin with {prefixes}"
    return found


def _first_fault(asking: Asking, operation: Any, tries: int) -> str:
    broken: list[str] = []

    @settings(
        max_examples=tries,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE) | operation.as_strategy())
    def ask(case: Case[Any]) -> None:
        if not broken and asking.ask(case) >= 500:
            broken.append(f"{case.method} {case.formatted_path} {case.query} {case.body!r}"[:400])

    ask()
    return broken[0] if broken else ""


@pytest.mark.req("SEC-1", "UX-1")
def test_no_request_to_a_phones_page_breaks_it(asking: Asking) -> None:
    assert faults(asking, ("/p", "/pay", "/api"), 8) == {}


@pytest.mark.slow
@pytest.mark.req("SEC-1", "UX-1")
def test_no_request_breaks_any_page(asking: Asking) -> None:
    assert faults(asking, ("/",), 30) == {}
