"""The colleague who loads the analyzers: carries tubes that a visitor received by hand to their instrument.

A hospital's runner looks at the rack; this one looks at the order list, as a technician's browser shows it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from simulators.demo.bench import Bench, TubeRun
from simulators.demo.browser import Browser
from simulators.demo.hospital import Hospital
from simulators.demo.pages import Element
from simulators.demo.staff import signed_in

_ORDER = re.compile(r"/staff/lis/orders/([0-9a-f-]{36})")
_MEASURABLE = {"紫": ("xn1", "xn2"), "黄": ("bs1",)}
"""Cap colour to analyzers; the demo has none for the others."""


@dataclass(slots=True)
class Runner:
    hospital: Hospital
    bench: Bench
    _browser: Browser | None = None
    _carried: set[str] = field(default_factory=set)

    def work(self) -> bool:
        """One look at the newest orders; True when a tube was carried."""
        browser = self._browser = self._browser or signed_in(self.hospital, "robot-technician")
        carried = False
        for order in self._orders(browser.get("/staff/lis/orders?state=received")):
            page = browser.get(f"/staff/lis/specimens/of-order/{order}")
            for card in page.all("div", data_specimen=None):
                carried = self._carry(card) or carried
        return carried

    @staticmethod
    def _orders(page: Element) -> list[str]:
        links = (_ORDER.search(link.get("href")) for row in page.all("tr", data_order=None) for link in row.all("a"))
        return [found[1] for found in links if found]

    def _carry(self, card: Element) -> bool:
        barcode = card.all("a")[0].text
        steps = [step.get("data-step") for step in card.all("li", data_step=None)]
        analyzers = next((names for cap, names in _MEASURABLE.items() if f" {cap}" in f" {card.text}"), ())
        if not analyzers or not steps or steps[-1] != "received":
            return False
        with self.bench.lock:
            known = self.bench.tubes.get(card.get("data-specimen"))
            if known is not None or barcode in self._carried:
                return False
            self._carried.add(barcode)
            analyzer = analyzers[len(self._carried) % len(analyzers)]
            self.bench.tubes[barcode] = TubeRun(barcode, "", analyzer, time.time())
        self.hospital.troupe.programs[analyzer].say(barcode)
        return True
