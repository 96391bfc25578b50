"""The forms that reports are made out on: layout, paper, columns, for which reports. Pure; stored by `form_store`.

A laboratory changes a form by a new version; a report keeps the version it was released with. What the product brings
along is in `data/forms.toml` and is stored as version 1 of a form when the first report uses it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from cloud.kit.errors import Invalid
from cloud.lis.catalog.words import SECTIONS, SPECIMENS, VALUE_TYPES
from cloud.web.i18n import mark as N_

DATA = Path(__file__).parent / "data" / "forms.toml"
LAYOUTS = {
    "table": N_("表格"),
    "beside": N_("表格，右侧图像（直方图、散点图、沉渣）"),
    "qualitative": N_("定性表格"),
    "narrative": N_("文字描述"),
    "curve": N_("曲线在前，表格在后"),
}
PAPERS = {"a4": N_("A4 纵向"), "a5": N_("A5 横向")}
MOST = {"previous": 3, "trends": 6, "pictures": 6}
LONGEST = {"heading": 30, "heading_en": 60, "laboratory": 80, "accreditation": 60, "footnote": 120}
GENERAL = "general"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormSettings:
    """What a version of a form says. Whatever is not listed here is the same on every report."""

    layout: str = "table"
    paper: str = "a4"
    heading: str = "检验报告单"
    heading_en: str = "Laboratory Report"
    bilingual: bool = False
    two_columns: bool = False
    """Two tables side by side; these leave out methods, analyzers and earlier values."""
    short_names: bool = True
    methods: bool = True
    instruments: bool = False
    previous: int = 1
    """So many earlier values beside each value, at most three."""
    trends: int = 0
    """So many drawings of a course at most: abnormal tests first, each with three values or more."""
    pictures: int = 0
    """So many pictures at most, in the order in which they came."""
    signatures: bool = True
    """As images where one is on file, else names."""
    laboratory: str = ""
    """Address and telephone of the laboratory."""
    accreditation: str = ""
    """Printed as it is written here; empty: the report says nothing of an accreditation."""
    footnote: str = "本报告仅对所送检标本负责"
    referrals: tuple[tuple[str, str], ...] = ()
    """Code of a test and the laboratory that examines it for this one."""
    sections: tuple[str, ...] = ()
    specimens: tuple[str, ...] = ()
    value_types: tuple[str, ...] = ()
    panels: tuple[str, ...] = ()
    """For which reports: every named list has to fit; none named: every report."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> FormSettings:
        """Keys unknown to this version are ignored, missing ones take their default."""
        names = {each.name for each in fields(cls)}
        known: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in names
        }
        known["referrals"] = tuple((code, name) for code, name in data.get("referrals", ()))
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Form:
    """A form in one version."""

    code: str
    name: str
    name_en: str
    position: int
    """The first form that fits is taken, smallest first."""
    active: bool
    version: int
    settings: FormSettings
    stored: bool = False
    """It is a row of the laboratory's; else it is as it came with the product and nobody has used it yet."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a report chooses its form."""

    sections: frozenset[str]
    specimen_type: str
    value_types: frozenset[str]
    panels: frozenset[str]


def fits(settings: FormSettings, asked: Asked) -> bool:
    """Sections and value types: all of the report's are named. Specimen: it is. Panels: one of the report's is."""
    return (
        (not settings.sections or asked.sections <= set(settings.sections))
        and (not settings.specimens or asked.specimen_type in settings.specimens)
        and (not settings.value_types or asked.value_types <= set(settings.value_types))
        and (not settings.panels or not asked.panels.isdisjoint(settings.panels))
    )


def choose(forms: Iterable[Form], asked: Asked) -> Form:
    """The first active one that fits; the general form where none does."""
    ranked = sorted(forms, key=lambda each: (each.position, each.code))
    for form in ranked:
        if form.active and fits(form.settings, asked):
            return form
    return next((each for each in ranked if each.code == GENERAL), brought_along()[GENERAL])


def checked(settings: FormSettings) -> FormSettings:
    """Raises `Invalid` where a word or number is none that a form knows."""
    choices = (
        (settings.layout, LAYOUTS, N_("没有这种版式。")),
        (settings.paper, PAPERS, N_("没有这种纸张。")),
    )
    for value, known, says in choices:
        if value not in known:
            raise Invalid("form.choice", says)
    lists: Sequence[tuple[Sequence[str], Iterable[str]]] = (
        (settings.sections, SECTIONS),
        (settings.specimens, SPECIMENS),
        (settings.value_types, VALUE_TYPES),
    )
    if any(each not in known for values, known in lists for each in values):
        raise Invalid("form.choice", N_("没有这个专业组、标本类型或结果类型。"))
    for name, most in MOST.items():
        if not 0 <= getattr(settings, name) <= most:
            raise Invalid("form.number", N_("前次结果最多 3 个，趋势图和图像最多各 6 个。"))
    for name, longest in LONGEST.items():
        if len(getattr(settings, name)) > longest:
            raise Invalid("form.long", N_("文字太长：标题最多 30 个字，实验室地址 80 个字，说明 120 个字。"))
    if not settings.heading.strip():
        raise Invalid("form.heading", N_("请填写报告标题。"))
    return settings


@cache
def brought_along() -> dict[str, Form]:
    """The product's own forms by code."""
    made = {}
    for place, row in enumerate(tomllib.loads(DATA.read_text(encoding="utf-8"))["form"]):
        code, name, name_en = row.pop("code"), row.pop("name"), row.pop("name_en")
        active = row.pop("active", True)
        made[code] = Form(code, name, name_en, (place + 1) * 10, active, 1, checked(FormSettings.from_json(row)))
    return made
