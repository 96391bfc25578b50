"""Pure decisions of the screening: does a value open a case, to which episode does it belong, when is its card due."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, TypeVar

from cloud.lis.infectious.model import Condition
from cloud.lis.verification.values import Polarity, read_polarity, read_titre
from cloud.web.i18n import mark as N_
from protocols.model import read_quantity


def opens(condition: str, threshold: Decimal | None, text: str) -> bool:
    """Whether the released text meets a marker's condition.

    What cannot be read is no finding: the value stands on the report, and a person reads it there. A number below a
    limit ("<20") was not detected; one above the measuring range (">1.7E8") was.
    """
    polarity = read_polarity(text)
    if condition == Condition.POSITIVE:
        return polarity in (Polarity.POSITIVE, Polarity.WEAK)
    if condition == Condition.TITRE:
        titre = read_titre(text)
        if titre is None:
            return polarity in (Polarity.POSITIVE, Polarity.WEAK)
        return titre.reciprocal >= (threshold or 1) and titre.comparator not in ("<", "<=")
    if polarity is not None:
        return condition == Condition.DETECTED and polarity is not Polarity.NEGATIVE
    quantity = read_quantity(text)
    if quantity is None or quantity.comparator in ("<", "<="):
        return False
    limit = threshold if condition == Condition.ABOVE and threshold is not None else Decimal(0)
    return quantity.number > limit or (quantity.number == limit and quantity.comparator == ">")


class _Dated(Protocol):
    @property
    def code(self) -> str: ...
    @property
    def valid_from(self) -> date: ...
    @property
    def valid_to(self) -> date | None: ...


D = TypeVar("D", bound=_Dated)


def in_force(rows: Iterable[D], code: str, on: date) -> D | None:
    """The list's row of a disease on a day; None: it was not on the list."""
    found = [
        each
        for each in rows
        if each.code == code and each.valid_from <= on and (each.valid_to is None or on <= each.valid_to)
    ]
    return max(found, key=lambda each: each.valid_from, default=None)


def same_episode(last_at: datetime, at: datetime, episode_days: int) -> bool:
    """Whether a value released at `at` belongs to a case whose last one was released at `last_at`."""
    return abs(at - last_at) <= timedelta(days=episode_days)


def due(found_at: datetime, deadline_hours: int) -> datetime:
    return found_at + timedelta(hours=deadline_hours)


class Dismissal(StrEnum):
    """Why a finding needs no card."""

    CARRIER = "carrier"
    REPORTED_BEFORE = "reported_before"
    REPORTED_ELSEWHERE = "reported_elsewhere"
    NOT_CONFIRMED = "not_confirmed"
    CURED = "cured"
    MATERNAL = "maternal"
    VACCINE = "vaccine"
    EXTRAPULMONARY = "extrapulmonary"
    FALSE_POSITIVE = "false_positive"
    AMENDED = "amended"
    NOT_A_PATIENT = "not_a_patient"
    OTHER = "other"


DISMISSALS = {
    Dismissal.CARRIER: N_("携带者，不属报告范围"),
    Dismissal.REPORTED_BEFORE: N_("本院既往已报告"),
    Dismissal.REPORTED_ELSEWHERE: N_("外院已报告"),
    Dismissal.NOT_CONFIRMED: N_("确证试验未证实"),
    Dismissal.CURED: N_("既往感染或已治愈"),
    Dismissal.MATERNAL: N_("新生儿母体抗体"),
    Dismissal.VACCINE: N_("近期接种疫苗"),
    Dismissal.EXTRAPULMONARY: N_("肺外结核或非结核分枝杆菌"),
    Dismissal.FALSE_POSITIVE: N_("结合临床判为假阳性"),
    Dismissal.AMENDED: N_("检验报告已修正或召回"),
    Dismissal.NOT_A_PATIENT: N_("质控、比对或测试标本"),
    Dismissal.OTHER: N_("其他"),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One box of the report card. `choices` empty: free text; `kind` is the input's type."""

    key: str
    name: str
    required: bool = False
    choices: tuple[str, ...] = ()
    kind: str = "text"


CARD_FIELDS = (
    Field("patient_name", N_("患者姓名"), required=True),
    Field("guardian", N_("家长姓名（14 岁以下填写）")),
    Field("id_number", N_("有效证件号")),
    Field("sex", N_("性别"), required=True, choices=(N_("男"), N_("女"))),
    Field("birth_date", N_("出生日期"), kind="date"),
    Field("employer", N_("工作单位（学校）")),
    Field("phone", N_("联系电话"), required=True, kind="tel"),
    Field(
        "residence",
        N_("病人属于"),
        required=True,
        choices=(N_("本县区"), N_("本市其他县区"), N_("本省其它地市"), N_("外省"), N_("港澳台"), N_("外籍")),
    ),
    Field("address", N_("现住址（详填）"), required=True),
    Field(
        "occupation",
        N_("人群分类"),
        required=True,
        choices=(
            N_("幼托儿童"),
            N_("散居儿童"),
            N_("学生"),
            N_("教师"),
            N_("保育员及保姆"),
            N_("餐饮食品业"),
            N_("商业服务"),
            N_("医务人员"),
            N_("工人"),
            N_("民工"),
            N_("农民"),
            N_("牧民"),
            N_("渔（船）民"),
            N_("干部职员"),
            N_("离退人员"),
            N_("家务及待业"),
            N_("其他"),
            N_("不详"),
        ),
    ),
    Field(
        "certainty",
        N_("病例分类"),
        required=True,
        choices=(N_("疑似病例"), N_("临床诊断病例"), N_("确诊病例"), N_("病原携带者")),
    ),
    Field("course", N_("急性或慢性（乙型肝炎、血吸虫病填写）"), choices=(N_("急性"), N_("慢性"), N_("未分型"))),
    Field("onset_date", N_("发病日期"), required=True, kind="date"),
    Field("diagnosed_at", N_("诊断时间"), required=True, kind="datetime-local"),
    Field("death_date", N_("死亡日期"), kind="date"),
    Field("note", N_("备注")),
)
"""The boxes of the national card (中华人民共和国传染病报告卡) as its printed form has them."""
