"""When a value opens a case of a notifiable disease, and which row of the dated list counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from cloud.kit.errors import Invalid
from cloud.lis.infectious import load, rules, service
from cloud.lis.infectious.model import Condition

pytestmark = pytest.mark.req("LIS-12")


@pytest.mark.parametrize(
    ("condition", "threshold", "text", "opens"),
    [
        (Condition.POSITIVE, None, "阳性", True),
        (Condition.POSITIVE, None, "弱阳性", True),
        (Condition.POSITIVE, None, "阴性", False),
        (Condition.POSITIVE, None, "3+", True),
        (Condition.POSITIVE, None, "标本量不足", False),
        (Condition.POSITIVE, None, "", False),
        (Condition.DETECTED, None, "<20", False),
        (Condition.DETECTED, None, "未检出", False),
        (Condition.DETECTED, None, "检出", True),
        (Condition.DETECTED, None, "5600", True),
        (Condition.DETECTED, None, ">170000000", True),
        (Condition.DETECTED, None, "0", False),
        (Condition.ABOVE, Decimal(100), "100", False),
        (Condition.ABOVE, Decimal(100), ">100", True),
        (Condition.ABOVE, Decimal(100), "100.1", True),
        (Condition.ABOVE, Decimal(100), "阳性", False),
        (Condition.TITRE, Decimal(8), "1:8", True),
        (Condition.TITRE, Decimal(8), "1:4", False),
        (Condition.TITRE, Decimal(8), "<1:8", False),
        (Condition.TITRE, Decimal(8), ">1:64", True),
        (Condition.TITRE, Decimal(8), "阳性", True),
        (Condition.TITRE, Decimal(8), "阴性", False),
    ],
)
def test_a_value_opens_a_case_when_it_meets_the_markers_condition(
    condition: str, threshold: Decimal | None, text: str, opens: bool
) -> None:
    assert rules.opens(condition, threshold, text) is opens


@dataclass(frozen=True)
class Row:
    code: str
    valid_from: date
    valid_to: date | None


def test_the_list_of_the_day_counts() -> None:
    old = Row("flu", date(2004, 1, 1), date(2025, 8, 31))
    new = Row("flu", date(2025, 9, 1), None)
    assert rules.in_force([new, old], "flu", date(2025, 8, 31)) is old
    assert rules.in_force([new, old], "flu", date(2025, 9, 1)) is new
    assert rules.in_force([new, old], "flu", date(2003, 12, 31)) is None
    assert rules.in_force([new, old], "mumps", date(2026, 1, 1)) is None


def test_an_episode_is_counted_from_its_last_value_and_the_clock_from_its_first() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    assert rules.same_episode(at, at + timedelta(days=30), 30)
    assert not rules.same_episode(at, at + timedelta(days=30, seconds=1), 30)
    assert rules.due(at, 2) == at + timedelta(hours=2)


def test_the_delivered_list_is_whole_and_dated() -> None:
    """40 diseases of the law, some of them listed by kind; class A and those managed as A within two hours."""
    rows = load._rows("diseases.csv")
    codes = [row["code"] for row in rows]
    assert len(codes) == len(set(codes))
    assert {row["class"] for row in rows} == {"A", "B", "C"}
    two_hours = {row["code"] for row in rows if row["deadline_hours"] == "2"}
    assert two_hours == {"plague", "cholera", "sars", "pulmonary_anthrax"}
    assert all(row["source"] and int(row["episode_days"]) > 0 for row in rows)
    markers = load._rows("markers.csv")
    assert {row["disease"] for row in markers} <= set(codes)
    assert {row["condition"] for row in markers} <= {str(each) for each in Condition}


def card(**changed: str) -> dict[str, str]:
    return {
        "patient_name": "王小梅",
        "sex": "女",
        "phone": "13800000000",
        "residence": "本县区",
        "address": "测试路 1 号",
        "occupation": "工人",
        "certainty": "确诊病例",
        "onset_date": "2026-11-20",
        "diagnosed_at": "2026-11-22T10:00",
        **changed,
    }


def test_a_card_is_whole_or_says_what_is_wrong() -> None:
    assert service.checked(card())["patient_name"] == "王小梅"
    for wrong, code in (
        (card(phone=" "), "infectious.card_missing"),
        (card(sex="x"), "infectious.card_choice"),
        (card(onset_date="昨天"), "infectious.card_date"),
        (card(death_date="2026-13-01"), "infectious.card_date"),
    ):
        with pytest.raises(Invalid) as found:
            service.checked(wrong)
        assert found.value.code == code
