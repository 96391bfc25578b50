"""Who asked for a copy, as a person reads it."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from cloud.staff.model import StaffAccount
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_


class Namer:
    """``staff:<id>`` as a name, rules and kiosks as a word; each looked up once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[str, str] = {}

    def __call__(self, actor: str) -> str:
        if actor not in self._known:
            self._known[actor] = self._name(actor)
        return self._known[actor]

    def _name(self, actor: str) -> str:
        kind, _colon, key = actor.partition(":")
        if kind == "rule":
            return _("自动打印规则")
        if kind == "kiosk":
            return _("自助机")
        if actor == "system":
            return _("系统")
        try:
            account = self._session.get(StaffAccount, uuid.UUID(key))
        except ValueError:
            return actor
        return actor if account is None else account.name


REASONS = {
    "no connection": N_("连接不上"),
    "no answer in time": N_("超时没有应答"),
    "no application/pdf": N_("不支持 PDF"),
    "media-empty": N_("缺纸"),
    "media-needed": N_("需要装纸"),
    "media-low": N_("纸快用完"),
    "media-jam": N_("卡纸"),
    "toner-empty": N_("墨粉用尽"),
    "toner-low": N_("墨粉快用完"),
    "marker-supply-empty": N_("墨粉用尽"),
    "marker-supply-low": N_("墨粉快用完"),
    "door-open": N_("机门未关"),
    "cover-open": N_("机盖未关"),
    "interlock-open": N_("机盖未关"),
    "output-area-full": N_("出纸口已满"),
    "paused": N_("打印机已暂停"),
    "offline": N_("打印机离线"),
    "shutdown": N_("打印机已关机"),
}
"""Keywords of printer-state-reasons (RFC 8011 5.4.12) and our own; any other is shown as the device wrote it."""


def trouble_words(trouble: str) -> str:
    """What is wrong with a printer, in the reader's language."""
    return "、".join(_word(each) for each in trouble.replace(" · ", ", ").split(", ") if each)


def _word(reason: str) -> str:
    bare = reason
    for suffix in ("-error", "-warning", "-report"):
        bare = bare.removesuffix(suffix)
    return _(REASONS[bare]) if bare in REASONS else reason
