"""What this hospital's doctors order, in the item codes that the HIS and the laboratory have agreed on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from simulators.people import Person, invent

ITEMS = {
    "CBC": "血常规",
    "RET": "网织红细胞分析",
    "CHEM": "生化全套",
    "LIVER": "肝功能",
    "RENAL": "肾功能",
    "LIPID": "血脂",
    "ELEC": "电解质",
    "HEART": "心肌酶谱",
    "PANCR": "胰腺功能",
    "RHEUM": "风湿三项",
    "GLU": "葡萄糖",
    "CRP": "C反应蛋白",
    "HCY": "同型半胱氨酸",
}

BASKETS: tuple[tuple[float, tuple[str, ...]], ...] = (
    # share of orders, items of one order. The first two are one tube each, the others a purple and a yellow one.
    (0.22, ("CBC",)),
    (0.14, ("LIVER", "RENAL")),
    (0.12, ("CBC", "LIVER", "RENAL", "LIPID", "GLU")),
    (0.10, ("CBC", "CRP")),
    (0.10, ("CBC", "ELEC", "RENAL")),
    (0.08, ("LIPID", "GLU", "HCY")),
    (0.08, ("CBC", "CHEM")),
    (0.06, ("ELEC",)),
    (0.05, ("CBC", "RET")),
    (0.03, ("CBC", "HEART", "ELEC")),
    (0.02, ("PANCR", "CBC")),
)
PURPLE = {"CBC", "RET"}

DEPARTMENTS: tuple[tuple[str, str, str], ...] = (
    # code, name, patient class (HL7 table 0004)
    ("NK", "内科门诊", "O"),
    ("WK", "外科门诊", "O"),
    ("EK", "儿科门诊", "O"),
    ("TJ", "体检中心", "O"),
    ("JZ", "急诊科", "E"),
)
DIAGNOSES = ("健康查体", "高血压", "2型糖尿病", "发热待查", "腹痛待查", "乏力待查", "冠心病", "慢性肾脏病", "贫血待查")


@dataclass(frozen=True, slots=True)
class Visit:
    """One patient's visit with one order of the doctor."""

    person: Person
    number: str
    placer: str
    department: tuple[str, str, str]
    items: tuple[str, ...]
    priority: str
    """R or S."""
    diagnosis: str

    @property
    def tubes(self) -> int:
        """How many tubes the order needs."""
        return bool(PURPLE & set(self.items)) + bool(set(self.items) - PURPLE)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "items": list(self.items), "tubes": self.tubes}


def visits(seed: int, today: date, *, first_number: int = 1) -> Iterator[Visit]:
    """An endless morning of visits, the same for the same seed."""
    rng = random.Random(f"orders/{seed}")
    for number, person in enumerate(invent(seed, today, first_number=first_number), first_number):
        yield _visit(rng, seed, today, number, person)


def _visit(rng: random.Random, seed: int, today: date, number: int, person: Person) -> Visit:
    child = person.age(today) < 14
    department = DEPARTMENTS[2] if child else rng.choice([each for each in DEPARTMENTS if each[0] != "EK"])
    items = rng.choices([each for _, each in BASKETS], [share for share, _ in BASKETS])[0]
    return Visit(
        person=person,
        number=f"V{today:%y%m%d}{seed % 100:02d}{number:05d}",
        placer=f"D{today:%y%m%d}{seed % 100:02d}{number:05d}",
        department=department,
        items=items,
        priority="S" if department[2] == "E" or rng.random() < 0.05 else "R",
        diagnosis=rng.choice(DIAGNOSES),
    )


def enough_for(tubes: int, seed: int, today: date) -> list[Visit]:
    """Visits that need exactly `tubes` tubes together; the last order is cut to fit."""
    found: list[Visit] = []
    left = tubes
    for each in visits(seed, today):
        if left <= 0:
            break
        if each.tubes > left:
            continue
        found.append(each)
        left -= each.tubes
    return found
