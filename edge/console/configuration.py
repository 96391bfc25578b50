"""The configuration in force and those before it: the file read again, or an earlier one put back.

Nothing is put in force that was not looked at first, and only for somebody who gave the box's key. What it does is the
daemon's own reload: its dry run, its health window, its way back.
"""

from __future__ import annotations

from typing import Any

from edge.config_versions import Fate, Version
from edge.console.box import Box
from edge.console.layout import Look, badge, button, facts, form, notice, table
from edge.console.markup import Html, Part, el, join
from edge.reload import Outcome
from edge.reload_desk import Looked

_FATES = {Fate.TRIAL: ("试用中", "warn"), Fate.GOOD: ("好的", "good"), Fate.TAKEN_BACK: ("已退回", "bad")}
_SOURCES = {
    "start": "启动",
    "file": "文件",
    "command": "命令行",
    "console": "本页",
    "cloud": "云端",
    "rollback": "退回",
}
_SHOWN = 20


def content(box: Box, look: Look) -> Html:
    t, now = look.t, box.snapshot().get("configuration") or {}
    trial = now.get("trial")
    rows: list[tuple[str, Part]] = [
        (t("配置"), join(t("第 {n} 号", n=now.get("number", 0)), " ", el("code", now.get("digest", "")))),
        (t("来自"), t(_SOURCES.get(now.get("source", ""), now.get("source", "")))),
        (t("从何时起"), box.wall(now.get("since"))),
    ]
    if now.get("note"):
        rows.append((t("配置说明"), t.reason(now["note"])))
    if now.get("at_restart"):
        rows.append((t("重启后生效"), ", ".join(map(str, now["at_restart"]))))
    return join(
        notice(t("试用中：若有链路比原来差，盒子会自己退回。")) if trial else None,
        notice(t("盒上的配置文件和正在用的不一样。")) if now.get("file_differs") else None,
        facts(rows),
        _read_again(look) if _may_change(box, look) else notice(t("改配置要先用本盒的钥匙登录。"), "idle"),
        el("section", el("h2", t("有过的配置")), _history(box, look)),
    )


def _may_change(box: Box, look: Look) -> bool:
    return look.signed_in and box.desk is not None


def _read_again(look: Look) -> Html:
    return form(look, "/configuration/look", button(look.t("看看配置文件会改变什么")))


def _history(box: Box, look: Look) -> Html:
    t = look.t
    if box.desk is None:
        return el("p", t("还没有"))
    in_force = box.desk.versions.in_force
    rows: list[list[Part]] = [
        [
            join(t("第 {n} 号", n=each.number), " ", el("code", each.digest)),
            box.wall(each.at),
            t(_SOURCES.get(each.source, each.source)),
            join(_fate(look, each, in_force), el("small", " " + t.reason(each.note)) if each.note else None),
            _back_to(look, each) if each.number != in_force and _may_change(box, look) else "",
        ]
        for each in reversed(box.desk.versions.versions[-_SHOWN:])
    ]
    return table([t("配置"), t("写下"), t("来自"), t("结果"), ""], rows, class_="items")


def _fate(look: Look, version: Version, in_force: int) -> Html:
    if version.number == in_force and version.fate is Fate.GOOD:
        return badge(look.t("生效"), "good")
    text, tone = _FATES[version.fate]
    return badge(look.t(text), tone)


def _back_to(look: Look, version: Version) -> Html:
    number = el("input", type="hidden", name="number", value=str(version.number))
    return form(look, "/configuration/look", number, button(look.t("退回到这一个"), plain=True))


def looked_at(look: Look, number: int | None, found: Looked) -> Html:
    """What it would do, and the button that does it."""
    t = look.t
    which = t("配置文件") if number is None else t("第 {n} 号", n=number)
    back = el("p", el("a", t("不，回去"), href="/configuration", class_="button"))
    if not found.outcome.accepted:
        return join(notice(t("{which}不能用", which=which), "bad"), _lines(look, found.outcome), back)
    hidden: list[Part] = [el("input", type="hidden", name="digest", value=found.digest)]
    if number is not None:
        hidden.append(el("input", type="hidden", name="number", value=str(number)))
    return join(
        notice(t("{which}会改变这些；还什么都没有做。", which=which), "idle"),
        _lines(look, found.outcome),
        form(look, "/configuration/apply", *hidden, button(t("是的，用它"))),
        back,
    )


def done(look: Look, outcome: Outcome) -> Html:
    t = look.t
    said = notice(t("已生效"), "good") if outcome.accepted else notice(t("没有执行"), "bad")
    back = el("p", el("a", t("回到配置"), href="/configuration", class_="button"))
    return join(said, _lines(look, outcome), back)


def _lines(look: Look, outcome: Outcome) -> Html:
    return el("ul", *(el("li", look.t.reason(each)) for each in outcome.lines), class_="plain-list")


def number_of(asked: dict[str, Any]) -> int | None:
    """None: the file; else the configuration with this number."""
    return int(asked["number"]) if str(asked.get("number", "")).isdecimal() else None
