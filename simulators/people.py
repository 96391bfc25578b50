"""Invented persons: Chinese names, identity numbers and phones that cannot belong to anybody.

Identity numbers follow GB 11643 (18 characters, ISO 7064 MOD 11-2 check character) with the area code 999xxx, which no
place has. Phones start with 000, which no subscriber has.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
GIVEN_FEMALE = (
    "芳",
    "娜",
    "敏",
    "静",
    "秀英",
    "丽",
    "艳",
    "娟",
    "霞",
    "桂英",
    "玉兰",
    "雪梅",
    "婷婷",
    "晓燕",
    "佳怡",
    "梓涵",
    "雨桐",
    "诗涵",
    "思琪",
    "若曦",
    "淑珍",
    "凤英",
)
GIVEN_MALE = (
    "伟",
    "强",
    "磊",
    "军",
    "洋",
    "勇",
    "杰",
    "涛",
    "明",
    "超",
    "建国",
    "志强",
    "浩然",
    "子轩",
    "宇航",
    "俊杰",
    "文博",
    "天佑",
    "一鸣",
    "德明",
    "国栋",
    "永福",
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK = "10X98765432"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody the hospital information system knows."""

    mrn: str
    card: str
    name: str
    sex: str
    """M or F."""
    birth_date: str
    """ISO 8601."""
    id_number: str
    phone: str

    def age(self, on: date) -> int:
        born = date.fromisoformat(self.birth_date)
        return on.year - born.year - ((on.month, on.day) < (born.month, born.day))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_character(first_seventeen: str) -> str:
    """The 18th character of an identity number (GB 11643-1999, ISO 7064 MOD 11-2)."""
    total = sum(int(digit) * weight for digit, weight in zip(first_seventeen, _WEIGHTS, strict=True))
    return _CHECK[total % 11]


def id_number(area: int, born: date, order: int, sex: str) -> str:
    """An identity number of area 999`area`; the 17th digit is odd for men."""
    order = order % 500 * 2 + (1 if sex == "M" else 0)
    first = f"999{area:03d}{born:%Y%m%d}{order:03d}"
    return first + check_character(first)


def invent(seed: int, today: date, *, first_number: int = 1) -> Iterator[Person]:
    """An endless line of persons, the same for the same seed; every number in them is used once."""
    rng = random.Random(f"people/{seed}")
    number = first_number
    while True:
        sex = rng.choice("MF")
        age_days = int(rng.triangular(200, 92 * 365, 52 * 365))
        born = today - timedelta(days=age_days)
        given = rng.choice(GIVEN_FEMALE if sex == "F" else GIVEN_MALE)
        yield Person(
            mrn=f"M{seed % 1000:03d}{number:06d}",
            card=f"C{seed % 1000:03d}{number:06d}",
            name=rng.choice(SURNAMES) + given,
            sex=sex,
            birth_date=born.isoformat(),
            id_number=id_number(number // 500 % 1000, born, number, sex),
            phone=f"000{13_800_000 + number:08d}",
        )
        number += 1
