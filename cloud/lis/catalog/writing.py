"""The columns of every kind in the catalogue, and reading a form or a sheet's row by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit.errors import Invalid
from cloud.lis.catalog import words
from cloud.lis.catalog.columns import (
    Column,
    age,
    choice,
    day,
    flag,
    number,
    reference,
    text,
    whole,
    words_list,
    yuan,
)
from cloud.lis.catalog.kinds import Kind
from cloud.lis.catalog.model import Tube
from cloud.web.i18n import mark as N_

ANY_SPECIMEN = {"": N_("不限"), **words.SPECIMENS}
NOT_SENSITIVE = {"": N_("否"), **words.SENSITIVE}
ANY_PHASE = {"": N_("不限"), **words.PHASES}

_NAMES = (
    text("name", N_("中文名称"), required=True),
    text("name_en", N_("英文名称"), required=True),
    text("short_name", N_("简称"), required=True, hint=N_("条码标签与密集列表上用")),
    text("pinyin", N_("拼音首字母"), hint=N_("留空则由中文名称得出")),
    choice("section", N_("专业组"), words.SECTIONS, required=True),
)
_SOURCE = text("source", N_("来源"), wide=True)
_NEEDED_SOURCE = text("source", N_("来源"), required=True, wide=True, hint=N_("标准、文献、说明书或本室验证报告"))
_BAND = (
    choice("sex", N_("性别"), words.SEXES),
    age("age_min_days", N_("年龄从"), empty=0),
    age("age_max_days", N_("至不满"), empty=None),
    choice("specimen_type", N_("标本"), ANY_SPECIMEN),
)
_DAY = day("valid_from", N_("生效日期"), required=True)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "test": (
        *_NAMES,
        choice("value_type", N_("结果方式"), words.VALUE_TYPES, required=True),
        text("unit", N_("单位")),
        flag("unitless", N_("无单位")),
        whole("decimals", N_("小数位")),
        choice("specimen_type", N_("标本"), words.SPECIMENS, required=True),
        reference("tube_id", N_("试管"), Tube, N_("没有代码为“{typed}”的试管。"), required=True),
        text("method", N_("方法")),
        text("loinc", "LOINC"),
        choice("sensitive", N_("敏感项目"), NOT_SENSITIVE),
        flag("orderable", N_("可开单")),
        yuan("price_fen", N_("价格（元）")),
        whole("position", N_("报告顺序"), empty=0),
        text("collection_note", N_("采集要求"), wide=True),
        _SOURCE,
    ),
    "tube": (
        text("name", N_("中文名称"), required=True),
        text("name_en", N_("英文名称")),
        text("cap_colour", N_("帽色"), required=True),
        text("colour_hex", N_("颜色"), required=True, hint="#RRGGBB"),
        text("additive", N_("添加剂")),
        number("volume_ml", N_("采血量（mL）"), required=True),
        choice("specimen_type", N_("标本"), words.SPECIMENS, required=True),
        whole("position", N_("采集顺序"), empty=0),
        _SOURCE,
    ),
    "panel": (
        *_NAMES,
        words_list("tests", N_("项目"), hint=N_("检验项目代码，用空格分开，按报告顺序"), separator=" "),
        yuan("price_fen", N_("价格（元）")),
        whole("position", N_("显示顺序"), empty=0),
        _SOURCE,
    ),
    "range": (
        *_BAND,
        choice("phase", N_("月经周期"), ANY_PHASE),
        whole("gestation_min_weeks", N_("孕周从")),
        whole("gestation_max_weeks", N_("孕周至不满")),
        text("method", N_("方法"), hint=N_("留空为所有方法")),
        text("instrument", N_("仪器代码"), hint=N_("留空为所有仪器")),
        number("low", N_("下限")),
        number("high", N_("上限")),
        text("text", N_("文字"), hint=N_("定性正常值，如“阴性”；有数值时照此打印")),
        _DAY,
        _NEEDED_SOURCE,
    ),
    "critical": (
        *_BAND,
        reference("department_id", N_("科室"), Department, N_("没有代码为“{typed}”的科室。")),
        text("diagnosis", N_("诊断包含")),
        number("low", N_("低限")),
        flag("low_inclusive", N_("低限含界值（≤）")),
        number("high", N_("高限")),
        flag("high_inclusive", N_("高限含界值（≥）")),
        words_list("texts", N_("定性危急值"), hint=N_("如：阳性")),
        flag("first_only", N_("仅报首次")),
        whole("repeat_after_hours", N_("再报间隔（小时）")),
        _DAY,
        _NEEDED_SOURCE,
    ),
    "goal": (
        number("tea_percent", N_("允许总误差（百分比）")),
        number("tea_absolute", N_("允许总误差（绝对值）"), hint=N_("按项目单位；两者都填时取大者")),
        number("cv_percent", N_("允许变异系数（百分比）")),
        _DAY,
        _NEEDED_SOURCE,
    ),
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """One field that cannot be read, and how it is put right."""

    column: Column
    refusal: Invalid


def parsed(session: Session, kind: Kind, typed: Mapping[str, str]) -> tuple[dict[str, Any], list[Wrong]]:
    """The values that were typed, by field, and what could not be read. Fields that are absent stay out; a form sends
    an unticked box as nothing, so it names its boxes by an empty field of the same name."""
    values: dict[str, Any] = {}
    wrong: list[Wrong] = []
    for column in COLUMNS[kind.name]:
        if column.field not in typed:
            continue
        try:
            values[column.field] = column.parse(session, typed[column.field].strip())
        except Invalid as refusal:
            wrong.append(Wrong(column, refusal))
    if values.get("pinyin") == "":
        values["pinyin"] = initials(values.get("name", ""))
    if "loinc" in values:
        values["loinc"] = values["loinc"] or None
    return values, wrong


def shown(session: Session, kind: Kind, values: Mapping[str, Any]) -> dict[str, str]:
    """The values as they are written, by field."""
    return {each.field: each.show(session, values[each.field]) for each in COLUMNS[kind.name] if each.field in values}


def initials(name: str) -> str:
    """Pinyin initials of a Chinese name, letters and digits of it as they are (D-二聚体: "dejt")."""
    from pypinyin import Style, lazy_pinyin

    found = "".join(lazy_pinyin(name, style=Style.FIRST_LETTER))
    return "".join(each for each in found.lower() if each.isascii() and each.isalnum())[:64]
