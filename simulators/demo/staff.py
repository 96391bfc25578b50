"""The laboratory's people as robots: a technician with a scanner, a reviewer at the screen. HTTP alone, as their
browsers.

They may meet a server that dies under their hands: every step looks first at what the page says and does only what is
still to be done.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from simulators.demo.bench import Bench, TubeRun, Visit
from simulators.demo.browser import Browser, Refused
from simulators.demo.hospital import PASSWORD, Hospital
from simulators.demo.pages import Element, forms


def signed_in(hospital: Hospital, login: str) -> Browser:
    """A browser in which `login` has typed the password."""
    browser = Browser(hospital.web_url)
    browser.get("/staff/sign-in")
    browser.post("/staff/sign-in", {"login": login, "password": PASSWORD, "next": "/staff"})
    if "/sign-in" in browser.url:
        raise Refused(401, browser.page.text, browser.url)
    return browser


@dataclass(slots=True)
class Technician:
    """Prints labels for each order, draws, receives by scan, and puts the tube on its analyzer."""

    hospital: Hospital
    bench: Bench
    _browser: Browser | None = None
    _done: set[str] = field(default_factory=set)
    _count: int = 0

    def work(self) -> bool:
        """One order; False when there is none."""
        with self.bench.lock:
            new = [each for each in self.bench.visits.values() if each.ordered and each.placer not in self._done]
        if not new:
            return False
        visit = min(new, key=lambda each: each.placer)
        for accession, tube_name in self._labels(visit):
            self._scan("collect", accession)
            self._scan("receive", accession)
            self._load(visit, accession, tube_name)
        self._done.add(visit.placer)
        return True

    @property
    def browser(self) -> Browser:
        if self._browser is None:
            self._browser = signed_in(self.hospital, "robot-technician")
        return self._browser

    def _labels(self, visit: Visit) -> list[tuple[str, str]]:
        """(accession, name of the tube) of each label of the order."""
        browser = self.browser
        browser.get(f"/staff/scan?code={visit.placer}")
        browser.submit(browser.form("/staff/lis/specimens/labels"))
        rows = browser.page.all("tr", data_specimen=None)
        return [(each.get("data-specimen"), each.all("td")[1].text) for each in rows]

    def _scan(self, mode: str, accession: str) -> None:
        """One scan; the same scan a second time (its answer was lost with the server) is no harm."""
        browser = self.browser
        browser.get(f"/staff/lis/specimens/scan?mode={mode}")
        try:
            browser.post("/staff/lis/specimens/scan", {"mode": mode, "code": accession})
        except Refused as refused:
            page = browser.get(f"/staff/lis/specimens/{accession}")
            line = page.first(data_state=None)
            reached = ("received",) if mode == "receive" else ("collected", "received")
            if line is None or line.get("data-state") not in reached:
                raise refused

    def _load(self, visit: Visit, accession: str, tube_name: str) -> None:
        """Purple tubes go to the two XN in turn, yellow ones to the BS."""
        purple = tube_name.startswith("紫")
        analyzer = "bs1" if not purple else ("xn1", "xn2")[self._count % 2]
        self._count += purple
        person = visit.person
        age = max(0, (datetime.now(UTC).date() - date.fromisoformat(person["birth_date"])).days // 365)
        with self.bench.lock:
            if accession in self.bench.tubes:
                return
            self.bench.tubes[accession] = TubeRun(accession, visit.placer, analyzer, time.time())
        line = f'{{"tube": "{accession}", "sex": "{person["sex"]}", "age": {age}}}'
        self.hospital.troupe.programs[analyzer].say(line)


@dataclass(slots=True)
class Sheet:
    """One specimen's side of the review page, as it is read."""

    page: Element

    @property
    def article(self) -> Element:
        found = self.page.first("article", data_version=None)
        if found is None:
            raise Refused(200, f"no results sheet: {self.page.text[:200]}", "")
        return found

    @property
    def missing(self) -> int:
        return len(self.article.with_class("is-empty"))

    @property
    def values(self) -> int:
        """Every stored value that was measured: those to report, other runs, late ones; not what was calculated."""
        rows = len(self.article.all("td", data_value=None)) + len(self.article.with_class("is-other"))
        return rows - len(self.article.all("td", data_calculated=None))

    def form(self, verb: str) -> dict[str, str] | None:
        """Fields of the form that reviews or releases, if the page offers it."""
        for each in forms(self.article):
            if each.action.partition("?")[0].endswith(f"/{verb}"):
                return each.fields
        return None

    @property
    def critical(self) -> bool:
        return bool(self.article.all("input", name="confirm_critical"))

    @property
    def released(self) -> bool:
        states = [state for row in self.article.all("tr", data_row=None) for state in row.with_class("state")]
        return bool(states) and all("state-released" in each.get("class").split() for each in states)


@dataclass(slots=True)
class Reviewer:
    """Reviews and releases every tube whose results are complete; reads critical values to the ward."""

    hospital: Hospital
    bench: Bench
    _browser: Browser | None = None
    partial: bool = False
    """Release also what is incomplete: nothing more will come."""
    _addresses: dict[str, str] = field(default_factory=dict)
    """Accession → address of its review page."""

    def work(self) -> bool:
        """One step on a few tubes; False when nothing waits."""
        with self.bench.lock:
            ready = [each for each in self.bench.tubes.values() if each.measured and each.released_at is None]
        done = sum(self._attend(each) for each in ready[:8])
        if done:
            self._call_the_ward()
        return done > 0

    @property
    def browser(self) -> Browser:
        if self._browser is None:
            self._browser = signed_in(self.hospital, "robot-reviewer")
        return self._browser

    def _attend(self, tube: TubeRun) -> bool:
        address = self._address(tube)
        if address is None:
            return False
        sheet = Sheet(self.browser.get(f"{address}/sheet"))
        if sheet.missing and not self.partial:
            return False
        tube.stored = sheet.values
        if (fields := sheet.form("review")) is not None:
            self._press(f"{address}/review", fields)
            sheet = Sheet(self.browser.get(f"{address}/sheet"))
        if (fields := sheet.form("release")) is not None:
            ticked = {"confirm_critical": "true"} if sheet.critical else {}
            ticked |= {"partial": "true"} if sheet.missing else {}
            self._press(f"{address}/release", {**fields, **ticked})
            sheet = Sheet(self.browser.get(f"{address}/sheet"))
        if sheet.form("review") is None and sheet.form("release") is None and sheet.released:
            tube.released_at = time.time()
        return True

    def _call_the_ward(self) -> None:
        """Every critical value that waits is read out and read back; only then may a phone show it."""
        page = self.browser.get("/staff/lis/critical")
        for case in [each.get("data-case") for each in page.all("section", data_case=None)]:
            told = {"told": "值班护士", "telephone": "8001", "outcome": "read_back", "note": ""}
            self._press(f"/staff/lis/critical/{case}/contact", told)

    def _address(self, tube: TubeRun) -> str | None:
        found = self._addresses.get(tube.accession)
        if found is None:
            self.browser.get(f"/staff/lis/review?code={tube.accession}")
            found = self.browser.url.partition("?")[0]
            self._addresses[tube.accession] = found
        return found

    def _press(self, address: str, fields: dict[str, str]) -> None:
        """A refusal (somebody was quicker, or our answer was lost) is seen on the next look at the sheet."""
        try:
            self.browser.post(address, fields)
        except Refused as refused:
            if refused.status != 409:
                raise
