"""What is typed on the page of a form, read into its settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.errors import Invalid
from cloud.lis.catalog.model import Panel, Test
from cloud.lis.reports.forms import FormSettings, checked
from cloud.web.i18n import mark as N_

Words = Annotated[str, Field(max_length=200)]
Ticked = Annotated[list[str], Field(default_factory=list, max_length=40)]


class TypedForm(BaseModel):
    """The fields of the page; a box that is not ticked is not sent."""

    layout: Words = "table"
    paper: Words = "a4"
    heading: Words = ""
    heading_en: Words = ""
    laboratory: Words = ""
    accreditation: Words = ""
    footnote: Words = ""
    previous: Words = "0"
    trends: Words = "0"
    pictures: Words = "0"
    bilingual: bool = False
    two_columns: bool = False
    short_names: bool = False
    methods: bool = False
    instruments: bool = False
    signatures: bool = False
    active: bool = False
    sections: Ticked
    specimens: Ticked
    value_types: Ticked
    panels: Annotated[str, Field(max_length=2000)] = ""
    referrals: Annotated[str, Field(max_length=8000)] = ""
    version: int = 0
    reason: Words = ""


def read(session: Session, typed: TypedForm) -> FormSettings:
    """Raises `Invalid` for what is no number, no panel, no test, or no choice of a form."""
    return checked(
        FormSettings(
            layout=typed.layout,
            paper=typed.paper,
            heading=typed.heading.strip(),
            heading_en=typed.heading_en.strip(),
            laboratory=typed.laboratory.strip(),
            accreditation=typed.accreditation.strip(),
            footnote=typed.footnote.strip(),
            previous=_number(typed.previous),
            trends=_number(typed.trends),
            pictures=_number(typed.pictures),
            bilingual=typed.bilingual,
            two_columns=typed.two_columns,
            short_names=typed.short_names,
            methods=typed.methods,
            instruments=typed.instruments,
            signatures=typed.signatures,
            sections=tuple(typed.sections),
            specimens=tuple(typed.specimens),
            value_types=tuple(typed.value_types),
            panels=_panels(session, typed.panels),
            referrals=_referrals(session, typed.referrals),
        )
    )


def _number(text: str) -> int:
    text = text.strip() or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 3):
        raise Invalid("form.number", N_("前次结果最多 3 个，趋势图和图像最多各 6 个。"))
    return int(text)


def _panels(session: Session, text: str) -> tuple[str, ...]:
    codes = tuple(dict.fromkeys(text.upper().replace("、", " ").replace(",", " ").replace("，", " ").split()))
    known = set(session.scalars(select(Panel.code).where(Panel.code.in_(codes)))) if codes else set()
    unknown = [each for each in codes if each not in known]
    if unknown:
        raise Invalid("form.panel", N_("没有组合“{codes}”，请填写组合代码。"), codes="、".join(unknown[:5]))
    return codes


def _referrals(session: Session, text: str) -> tuple[tuple[str, str], ...]:
    rows = []
    for line in text.splitlines():
        if not line.strip():
            continue
        code, sign, laboratory = line.replace("＝", "=").partition("=")
        if not sign or not code.strip() or not laboratory.strip():
            raise Invalid("form.referral", N_("外送项目每行写成“项目代码=受委托实验室”。"))
        rows.append((code.strip().upper(), laboratory.strip()[:60]))
    codes = [code for code, _ in rows]
    known = set(session.scalars(select(Test.code).where(Test.code.in_(codes)))) if codes else set()
    unknown = [each for each in codes if each not in known]
    if unknown:
        raise Invalid("form.referral_test", N_("没有项目“{codes}”，请填写项目代码。"), codes="、".join(unknown[:5]))
    return tuple(rows)
