"""The HIS's counters during a morning: who was registered gets a bill, so that phones have something to pay."""

from __future__ import annotations

import httpx

from simulators.demo.bench import Bench

FEES = (
    ("CS-FB", "腹部彩色超声检查", 12_000, "检查费"),
    ("DR-XB", "胸部正位 X 线摄影", 8_000, "检查费"),
    ("ZL-WH", "雾化吸入治疗", 3_000, "治疗费"),
    ("ZL-HY", "伤口换药（小）", 2_500, "治疗费"),
)
"""Names as everywhere, prices invented."""


class Bills:
    """Posts one bill of one or two lines for each registered visit. `counter`: the HIS's control address."""

    def __init__(self, bench: Bench, counter: str) -> None:
        self.bench = bench
        self.counter = counter
        self._told: set[str] = set()

    def work(self) -> bool:
        """The next bill; False when there is none to tell."""
        with self.bench.lock:
            waiting = [each for each in self.bench.visits.values() if each.registered and each.placer not in self._told]
        if not waiting:
            return False
        visit, count = waiting[0], len(self._told)
        fees = [
            {"line": f"{number}", "code": code, "name": name, "fen": fen, "category": category}
            for number, (code, name, fen, category) in enumerate(
                [FEES[count % len(FEES)], FEES[(count + 1) % len(FEES)]][: 1 + count % 2], 1
            )
        ]
        bill = {
            "person": visit.person,
            "visit": f"V{visit.placer}",
            "number": f"B{visit.placer}",
            "department": ["NK", "内科门诊"],
            "fees": fees,
        }
        httpx.post(f"{self.counter}/charges", json=bill, timeout=60, trust_env=False).raise_for_status()
        self._told.add(visit.placer)
        return True
