"""The matrix of a day as a table for an auditor's spreadsheet: one line for each grant in force."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date

from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.lis.authority.model import AuthorityGrant
from cloud.lis.authority.reading import Row, matrix, moment_of, policies
from cloud.lis.authority.words import ACTS, SCOPES
from cloud.web.i18n import gettext as _

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so would be run by a spreadsheet."""


def matrix_csv(session: Session, day: date, test: str = "") -> bytes:
    """UTF-8 with its mark, so that a spreadsheet shows Chinese. A person without a grant has one line per act of the
    role, with an empty range.
    """
    ruling = policies(session, moment_of(day).at)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        [
            _("日期"),
            _("姓名"),
            _("登录名"),
            _("操作"),
            _("角色允许"),
            _("须逐项授权"),
            _("范围"),
            _("代码"),
            _("起"),
            _("止"),
            _("授权人"),
            _("登记时间"),
            _("依据"),
        ]
    )
    for row in matrix(session, day, test):
        for line in _lines(row, {act: bool(each and each.enforced) for act, each in ruling.items()}):
            writer.writerow([day.isoformat(), *(_safe(each) for each in line)])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _lines(row: Row, enforced: dict[str, bool]) -> Sequence[Sequence[str]]:
    found = []
    for act, (label, _permission) in ACTS.items():
        cell = row.cells[act]
        who = [row.person.name, row.person.login, _(label), _yes(cell.role), _yes(enforced[act])]
        if cell.grants:
            found += [[*who, *_of(grant)] for grant in cell.grants]
        elif cell.role:
            found.append([*who, "", "", "", "", "", "", ""])
    return found


def _of(grant: AuthorityGrant) -> list[str]:
    return [
        _(SCOPES[grant.scope]),
        grant.target,
        grant.valid_from.isoformat(),
        grant.valid_to.isoformat() if grant.valid_to else "",
        grant.granted_by_name,
        clock.local(grant.created_at).strftime("%Y-%m-%d %H:%M"),
        grant.reason,
    ]


def _yes(value: bool) -> str:
    return _("是") if value else _("否")


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
