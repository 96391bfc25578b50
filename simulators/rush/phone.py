"""One phone in the crowd: opens the page of a session, taps for a number, pays for it. Over HTTP alone.

A tap whose answer was lost is sent again with the same key to whichever server answers, as a patient's second tap.
"""

from __future__ import annotations

import html
import http.client
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

TOKEN = re.compile(r'name="csrf_token" value="([0-9a-f]+)"')
KEY = re.compile(r'name="key" value="([0-9a-f-]+)"')
PERSON = re.compile(r'name="person" value="([0-9a-f-]+)"')
STAND_IN = re.compile(r'data-stand-in="([^"]*)"')
PAY_NUMBER = re.compile(r"name=number value='([^']+)'")
BACK = re.compile(r"name=back value='([^']*)'")
STATE = re.compile(r'data-booking="(\d+)" data-state="(\w+)"')
SEQ = re.compile(r"<dt>序号</dt><dd[^>]*>(\d+)</dd>")
TRIES = 40
"""Of one request while a server is away; half a second apart."""


class GivenUp(RuntimeError):
    """No server answered for a long time, or one answered what no page should."""


@dataclass(slots=True)
class Tally:
    """What all phones saw. Latencies in seconds, by act."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    broken: int = 0
    """Connections that a dying server broke; each was tried again."""
    faults: list[str] = field(default_factory=list)
    """Answers of 5xx: there should be none."""

    def took(self, act: str, seconds: float) -> None:
        with self.lock:
            self.seconds.setdefault(act, []).append(seconds)

    def note_broken(self) -> None:
        with self.lock:
            self.broken += 1

    def note_fault(self, what: str) -> None:
        with self.lock:
            self.faults.append(what)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str
    cookies: Sequence[str]


class Line:
    """A worker's connections to the servers, kept open; the servers take turns, as behind a load balancer."""

    def __init__(self, servers: Sequence[str], tally: Tally, first: int) -> None:
        self.servers = servers
        self.tally = tally
        self.turn = first
        self.open: dict[str, http.client.HTTPConnection] = {}

    def ask(self, act: str, method: str, path: str, cookie: str, form: Mapping[str, str] | None = None) -> Answer:
        """One request to the next server; to the other one when it does not answer."""
        body = urlencode(form) if form is not None else None
        headers = {"Cookie": cookie, "Accept": "text/html"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        for _ in range(TRIES):
            server = self.servers[self.turn % len(self.servers)]
            self.turn += 1
            began = time.monotonic()
            try:
                answer = self._once(server, method, path, body, headers)
            except (OSError, http.client.HTTPException):
                self.tally.note_broken()
                self.open.pop(server, None)
                time.sleep(0.5 / len(self.servers))
                continue
            self.tally.took(act, time.monotonic() - began)
            if answer.status >= 500:
                self.tally.note_fault(f"{act} {answer.status}")
            return answer
        raise GivenUp(f"{act}: no server answers")

    def _once(self, server: str, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        connection = self.open.get(server)
        if connection is None:
            connection = self.open[server] = http.client.HTTPConnection(server, timeout=60)
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
        cookies = [each.split(";")[0] for each in response.headers.get_all("Set-Cookie") or ()]
        return Answer(response.status, dict(response.headers), text, cookies)


@dataclass(slots=True)
class Phone:
    """`cookie` is its signed-in session; `booking` the page of what it got."""

    clinic: str
    cookie: str
    page_cookie: str = ""
    token: str = ""
    booking: str = ""
    refused: int = 0

    @property
    def cookies(self) -> str:
        return f"{self.cookie}; {self.page_cookie}" if self.page_cookie else self.cookie

    def _see(self, answer: Answer) -> Answer:
        for each in answer.cookies:
            if "xl_page=" in each:
                self.page_cookie = each
        found = TOKEN.search(answer.text)
        if found:
            self.token = found[1]
        return answer

    def book(self, line: Line) -> bool:
        """Open the page and tap. False: no number was left for it."""
        path = f"/p/book/sessions/{self.clinic}"
        page = self._see(line.ask("open", "GET", path, self.cookies))
        key, person = KEY.search(page.text), PERSON.search(page.text)
        if page.status != 200 or not key or not person:
            raise GivenUp(f"the page of the session answers {page.status}")
        if f'action="{path}"' not in page.text:
            self.refused += 1
            return False  # the page already says that it is full
        form = {"csrf_token": self.token, "key": key[1], "person": person[1], "segment": ""}
        answer = line.ask("book", "POST", path, self.cookies, form)
        if answer.status == 409:
            self.refused += 1
            return False
        if answer.status != 303:
            raise GivenUp(f"booking answers {answer.status}")
        self.booking = answer.headers["location"]
        return True

    def pay(self, line: Line, cashiers: Line) -> None:
        """To the pay page, to the channel's cashier, "pay", and back."""
        asked = line.ask("pay", "POST", f"{self.booking}/pay", self.cookies, {"csrf_token": self.token})
        if asked.status != 303:
            raise GivenUp(f"paying answers {asked.status}")
        page = self._see(line.ask("pay page", "GET", asked.headers["location"], self.cookies))
        stand_in = STAND_IN.search(page.text)
        if stand_in is None or not stand_in[1]:
            raise GivenUp(f"the pay page answers {page.status} and leads to no cashier")
        away = urlsplit(html.unescape(stand_in[1]))
        shown = cashiers.ask("cashier", "GET", f"{away.path}?{away.query}", "")
        number, back = PAY_NUMBER.search(shown.text), BACK.search(shown.text)
        if not number or not back:
            raise GivenUp("the cashier shows nothing to pay")
        tapped = {"number": number[1], "back": html.unescape(back[1])}
        cashiers.ask("cashier", "POST", away.path, "", tapped)
        home = urlsplit(tapped["back"])
        line.ask("back", "GET", f"{home.path}?{home.query}", self.cookies)

    def stands(self, line: Line) -> tuple[str, str, str]:
        """(state, voucher, number within the session) of its booking."""
        page = line.ask("look", "GET", self.booking, self.cookies)
        state, seq = STATE.search(page.text), SEQ.search(page.text)
        if state is None or seq is None:
            raise GivenUp(f"the booking's page answers {page.status}")
        return state[2], state[1], seq[1]
