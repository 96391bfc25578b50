"""Seeded draws: ids that sort by their time, synthetic names and numbers, and the hours at which patients come."""

from __future__ import annotations

from datetime import date
from random import Random

SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红建文辉力国志海燕春雪梅琳云龙飞鹏婷宇浩然子涵欣怡思佳晨"
TEST_REGION = "990000"
"""No place of the Republic begins with 99: such a citizen number is well formed and nobody's."""
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
OUTPATIENT_HOURS = (1, 1, 1, 1, 2, 6, 40, 150, 190, 160, 110, 60, 20, 45, 70, 60, 40, 20, 8, 6, 5, 4, 3, 2)
WARD_HOURS = (2, 2, 2, 2, 4, 60, 180, 90, 30, 20, 15, 12, 8, 10, 14, 14, 14, 12, 10, 8, 8, 6, 4, 3)
EMERGENCY_HOURS = (30, 26, 22, 20, 20, 22, 28, 36, 46, 52, 54, 52, 46, 46, 48, 50, 52, 54, 56, 58, 56, 52, 46, 38)
"""Weights of the hours of the day: shapes that laboratories know, not one hospital's count."""


def uuid_at(random: Random, at_ms: int) -> str:
    """A UUIDv7 of that millisecond, as text."""
    stamp, rest = f"{at_ms:012x}", f"{random.getrandbits(72):018x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{rest[:3]}-8{rest[3:6]}-{rest[6:]}"


def name(random: Random) -> str:
    given = "".join(random.choices(GIVEN, k=random.choice((1, 2, 2, 2))))
    return random.choice(SURNAMES) + given


def citizen_number(birth: date, number: int) -> str:
    """Well formed with its check character (GB 11643), of a region that does not exist."""
    digits = f"{TEST_REGION}{birth:%Y%m%d}{number % 1000:03d}"
    total = sum(int(digit) * weight for digit, weight in zip(digits, _WEIGHTS, strict=True))
    return digits + "10X98765432"[total % 11]


def phone(number: int) -> str:
    """Eleven digits beginning 100, which no network gives out."""
    return f"100{number:08d}"


def second_of_day(random: Random, hours: tuple[int, ...]) -> int:
    return random.choices(range(24), hours)[0] * 3600 + random.randrange(3600)
