"""The catalogue's own kinds of rows: tests, tubes, panels, reference ranges, critical limits, quality goals.

What each must obey is said here in sentences, whoever writes it: the page, the spreadsheet or a program.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cloud.kit.errors import Invalid
from cloud.lis.catalog import kinds, words
from cloud.lis.catalog.kinds import Kind, Values
from cloud.lis.catalog.model import (
    CriticalLimit,
    Panel,
    PanelTest,
    Phase,
    QualityGoal,
    ReferenceRange,
    Test,
    Tube,
    ValueType,
)
from cloud.web.i18n import mark as N_

_CODE = re.compile(r"[A-Z0-9][A-Z0-9_\-]{0,31}")
_PINYIN = re.compile(r"[a-z0-9]{1,64}")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
LAST_WEEK = 45


def _need(right: object, refusal: str, message: str, **fields: Any) -> None:
    if not right:
        raise Invalid(refusal, message, **fields)


def _named(row: Test | Panel | Tube) -> None:
    _need(_CODE.fullmatch(row.code), "catalog.code", N_("代码只用大写字母、数字、“_”和“-”，不超过 32 位。"))
    _need(row.name.strip(), "catalog.name", N_("请填写中文名称。"))


def _short(row: Test | Panel) -> None:
    _need(row.name_en.strip(), "catalog.name_en", N_("请填写英文名称。"))
    _need(row.short_name.strip(), "catalog.short_name", N_("请填写简称（条码标签上用）。"))
    _need(_PINYIN.fullmatch(row.pinyin), "catalog.pinyin", N_("拼音首字母只用小写字母和数字。"))
    _need(row.section in words.SECTIONS, "catalog.section", N_("没有这个专业组。"))
    _need(row.price_fen is None or row.price_fen >= 0, "catalog.price", N_("价格不能为负数。"))


def check_test(session: Session, test: Test) -> None:
    _named(test)
    _short(test)
    _need(test.value_type in set(ValueType), "catalog.value_type", N_("没有这种结果方式。"))
    _need(test.unitless == (test.unit == ""), "catalog.unit", N_("请填写单位，或标明无单位，不能两者都有。"))
    if ValueType(test.value_type).in_numbers:
        digits = test.decimals is not None and 0 <= test.decimals <= 6
        _need(digits, "catalog.decimals", N_("定量项目请填写小数位 0～6。"))
    _need(test.specimen_type in words.SPECIMENS, "catalog.specimen", N_("没有这种标本类型。"))
    _need(test.tube_id and session.get(Tube, test.tube_id), "catalog.tube", N_("没有这种试管。"))
    _need(test.sensitive in ("", *words.SENSITIVE), "catalog.sensitive", N_("没有这种敏感类别。"))
    taken = session.scalar(select(Panel.id).where(Panel.code == test.code))
    _need(taken is None, "catalog.code_taken", N_("代码 {taken} 已用于另一条记录。"), taken=test.code)


def check_tube(_session: Session, tube: Tube) -> None:
    _named(tube)
    _need(_COLOUR.fullmatch(tube.colour_hex), "catalog.colour", N_("颜色请写成 #RRGGBB。"))
    _need(tube.volume_ml > 0, "catalog.volume", N_("采血量须大于 0。"))
    _need(tube.specimen_type in words.SPECIMENS, "catalog.specimen", N_("没有这种标本类型。"))


def _known_tests(session: Session, codes: Iterable[str]) -> dict[str, uuid.UUID]:
    """Ids by code; `Invalid` names the codes nobody knows."""
    wanted = list(dict.fromkeys(codes))
    known = {each.code: each.id for each in session.scalars(select(Test).where(Test.code.in_(wanted)))}
    unknown = [code for code in wanted if code not in known]
    _need(not unknown, "catalog.tests_unknown", N_("没有这些检验项目：{codes}。"), codes="、".join(unknown))
    return known


def _tests_exist(session: Session, values: Values) -> None:
    _known_tests(session, values.get("tests", ()))


def check_panel(session: Session, panel: Panel) -> None:
    _named(panel)
    _short(panel)
    taken = session.scalar(select(Test.id).where(Test.code == panel.code))
    _need(taken is None, "catalog.code_taken", N_("代码 {taken} 已用于另一条记录。"), taken=panel.code)


def _check_dated(row: ReferenceRange | CriticalLimit | QualityGoal) -> None:
    _need(row.source.strip(), "catalog.source", N_("请写明来源：没有来源的数值不能收入。"))
    _need(row.valid_from is not None, "catalog.valid_from", N_("请填写生效日期。"))


def _check_band(row: ReferenceRange | CriticalLimit) -> None:
    _check_dated(row)
    _need(row.sex in ("", "M", "F"), "catalog.sex", N_("性别只能是男、女或不限。"))
    ordered = row.age_min_days >= 0 and (row.age_max_days is None or row.age_max_days > row.age_min_days)
    _need(ordered, "catalog.ages", N_("年龄上限须大于下限。"))
    _need(row.specimen_type in ("", *words.SPECIMENS), "catalog.specimen", N_("没有这种标本类型。"))
    right = row.low is None or row.high is None or row.low < row.high
    _need(right, "catalog.bounds", N_("下限须低于上限。"))


def check_range(_session: Session, row: ReferenceRange) -> None:
    _check_band(row)
    said = row.low is not None or row.high is not None or row.text.strip()
    _need(said, "catalog.says_nothing", N_("请填写下限、上限或文字。"))
    _need(row.phase in ("", *Phase), "catalog.phase", N_("没有这个月经周期阶段。"))
    low, high = row.gestation_min_weeks, row.gestation_max_weeks
    about_women = bool(row.phase) or low is not None or high is not None
    _need(not (about_women and row.sex == "M"), "catalog.phase_of_men", N_("月经周期与孕周的区间不能用于男性。"))
    weeks = all(each is None or 0 <= each <= LAST_WEEK for each in (low, high)) and (high is None or high > (low or 0))
    _need(weeks, "catalog.weeks", N_("孕周须在 0～45 之间，上限大于下限。"))


def check_limit(_session: Session, row: CriticalLimit) -> None:
    _check_band(row)
    said = row.low is not None or row.high is not None or row.texts
    _need(said, "catalog.limit_says_nothing", N_("请填写低限、高限或定性危急值。"))
    hours = row.repeat_after_hours
    _need(hours is None or hours > 0, "catalog.repeat", N_("再次通知的间隔须大于 0 小时。"))


def check_goal(_session: Session, row: QualityGoal) -> None:
    _check_dated(row)
    goals = [each for each in (row.tea_percent, row.tea_absolute, row.cv_percent) if each is not None]
    _need(goals and min(goals) > 0, "catalog.goal", N_("请填写允许总误差或允许变异系数，须大于 0。"))


def _tests_of(session: Session, panel: Panel) -> dict[str, Any]:
    found = select(Test.code).join(PanelTest).where(PanelTest.panel_id == panel.id).order_by(PanelTest.position)
    return {"tests": list(session.scalars(found))}


def _put_tests(session: Session, panel: Panel, values: Values) -> None:
    if "tests" not in values:
        return
    codes = list(dict.fromkeys(values["tests"]))
    known = _known_tests(session, codes)
    session.flush()
    session.execute(delete(PanelTest).where(PanelTest.panel_id == panel.id))
    session.add_all(
        PanelTest(panel_id=panel.id, test_id=known[code], position=place) for place, code in enumerate(codes, 1)
    )
    session.flush()


def _label(_session: Session, row: Test | Panel | Tube) -> str:
    return f"{row.code} {row.name}"


def _label_of_test(session: Session, row: ReferenceRange | CriticalLimit | QualityGoal) -> str:
    test = session.get_one(Test, row.test_id)
    return f"{test.code} {test.name}"


def _its_test(row: ReferenceRange | CriticalLimit | QualityGoal) -> uuid.UUID:
    return row.test_id


_BAND = ("sex", "age_min_days", "age_max_days", "specimen_type")
_DATED = ("source", "valid_from")

TEST = kinds.add(
    Kind(
        "test",
        Test,
        (
            "name",
            "name_en",
            "short_name",
            "pinyin",
            "section",
            "value_type",
            "unit",
            "unitless",
            "decimals",
            "specimen_type",
            "tube_id",
            "method",
            "loinc",
            "sensitive",
            "orderable",
            "price_fen",
            "collection_note",
            "position",
            "source",
        ),
        _label,
        lambda test: test.id,
        check_test,
    )
)
TUBE = kinds.add(
    Kind(
        "tube",
        Tube,
        ("name", "name_en", "cap_colour", "colour_hex", "additive", "volume_ml", "specimen_type", "position", "source"),
        _label,
        lambda _tube: None,
        check_tube,
    )
)
PANEL = kinds.add(
    Kind(
        "panel",
        Panel,
        ("name", "name_en", "short_name", "pinyin", "section", "tests", "price_fen", "position", "source"),
        _label,
        lambda _panel: None,
        check_panel,
        read=_tests_of,
        write=_put_tests,
        check_values=_tests_exist,
    )
)
RANGE = kinds.add(
    Kind(
        "range",
        ReferenceRange,
        (
            *_BAND,
            "phase",
            "gestation_min_weeks",
            "gestation_max_weeks",
            "method",
            "instrument",
            "low",
            "high",
            "text",
            *_DATED,
        ),
        _label_of_test,
        _its_test,
        check_range,
        key=(
            "test_id",
            "specimen_type",
            "sex",
            "age_min_days",
            "phase",
            "gestation_min_weeks",
            "method",
            "instrument",
        ),
    )
)
LIMIT = kinds.add(
    Kind(
        "critical",
        CriticalLimit,
        (
            *_BAND,
            "department_id",
            "diagnosis",
            "low",
            "low_inclusive",
            "high",
            "high_inclusive",
            "texts",
            "first_only",
            "repeat_after_hours",
            *_DATED,
        ),
        _label_of_test,
        _its_test,
        check_limit,
        key=("test_id", "specimen_type", "sex", "age_min_days", "department_id", "diagnosis"),
    )
)
GOAL = kinds.add(
    Kind(
        "goal",
        QualityGoal,
        ("tea_percent", "tea_absolute", "cv_percent", *_DATED),
        _label_of_test,
        _its_test,
        check_goal,
        key=("test_id",),
    )
)
