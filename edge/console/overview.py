"""The first page: the box in a few figures, and every link."""

from __future__ import annotations

from typing import Any

from edge.console.box import Box
from edge.console.items import brief, state_of
from edge.console.layout import Look, badge, facts, link_path, notice, state_badge
from edge.console.markup import Html, Part, el, join
from protocols.uplink.envelope import Message

_MEGABYTE = 1024 * 1024
_FEW_DAYS = 30
_MOST_NEWEST = 64


async def content(box: Box, look: Look) -> Html:
    state = box.snapshot()
    newest = await box.newest(each["link"] for each in state["links"][:_MOST_NEWEST])
    links = [_link(box, look, each, newest.get(each["link"])) for each in state["links"]]
    return join(_box(box, look, state), el("section", *links, class_="links"))


def _box(box: Box, look: Look, state: dict[str, Any]) -> Html:
    t, cloud, store = look.t, state["cloud"], state["store"]
    waiting = sum(each["waiting"] for each in state["links"])
    rows: list[tuple[str, Part]] = [
        (t("云端"), _cloud(look, cloud)),
        (t("等待回执"), t("{n} 条", n=waiting)),
        (t("已收回执"), cloud.get("receipts", 0)),
        (t("时钟"), badge(t("可信"), "good") if state["clock_sure"] else badge(t("不可信"), "warn")),
        (t("证书"), _certificate(look, box.certificate_days())),
        (t("剩余空间"), f"{state['bytes_free'] // _MEGABYTE} MB"),
    ]
    if store.get("ballast_bytes") is not None:
        rows.append((t("备用空间"), f"{store['ballast_bytes'] // _MEGABYTE} MB"))
    rows += _configuration(look, state)
    rows += [(t("软件"), state["software"]), (t("启动于"), box.wall(state["started_at"]))]
    notes = []
    if store.get("refusing"):
        notes.append(notice(t("存储已满：仪器得到的回答是“忙”，结果留在仪器里。请腾出空间。"), "bad"))
    if state.get("clock_doubt") or box.clock.doubt:
        notes.append(notice(t("时钟不可信：{reason}", reason=t.reason(state.get("clock_doubt") or box.clock.doubt))))
    return el("section", *notes, facts(rows), class_="box")


def _cloud(look: Look, cloud: dict[str, Any]) -> Html:
    if cloud.get("connected"):
        return badge(look.t("已连接"), "good")
    return join(badge(look.t("未连接"), "warn"), " ", el("small", look.t.reason(cloud.get("reason", ""))))


def _certificate(look: Look, days: int | None) -> Html:
    if days is None:
        return badge(look.t("没有证书"), "idle")
    if days < 0:
        return badge(look.t("已过期 {days} 天", days=-days), "bad")
    return badge(look.t("还有 {days} 天", days=days), "warn" if days < _FEW_DAYS else "good")


def _configuration(look: Look, state: dict[str, Any]) -> list[tuple[str, Part]]:
    """What the daemon says of its configuration, where it says anything."""
    found = state.get("configuration")
    if not isinstance(found, dict):
        return []
    t = look.t
    rows: list[tuple[str, Part]] = []
    if found.get("number"):
        fate = badge(t("试用中"), "warn") if found.get("trial") else badge(t("生效"), "good")
        rows.append((t("配置"), join(t("第 {n} 号", n=found["number"]), " ", fate)))
    if found.get("note"):
        rows.append((t("配置说明"), t.reason(str(found["note"]))))
    if found.get("at_restart"):
        rows.append((t("重启后生效"), ", ".join(str(each) for each in found["at_restart"])))
    return rows


def _link(box: Box, look: Look, state: dict[str, Any], newest: Message | None) -> Html:
    t, counts = look.t, state["counts"]
    figures: list[tuple[str, Part]] = [
        (t("最近收到"), box.wall(state["last_received_at"], state["link"]) or t("还没有")),
        (t("等待回执"), state["waiting"]),
        (t("拒收的帧"), state["refused_frames"]),
        (t("查询"), t("{n}，无医嘱 {none}", n=counts["queries"], none=counts["queries_without_order"])),
    ]
    last = None
    if newest is not None:
        last = el("p", state_of(t, newest), " ", brief(t, newest), class_="last")
    reason = el("p", t.reason(state["reason"]), class_="reason") if state["reason"] else None
    return el(
        "article",
        el("h2", el("a", state["link"], href=link_path(state["link"])), state_badge(t, state["state"])),
        el("p", state["driver"], class_="driver"),
        reason,
        facts(figures),
        last,
        data_link=state["link"],
    )
