"""Captures, replay, self test, tubes without an order, sign-in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.console.apart import CannotRead, read_apart
from edge.console.box import Box
from edge.console.captures import Captures, instrument_bytes
from edge.console.items import difference_rows, line_rows, raw_block
from edge.console.layout import Look, badge, button, facts, form, link_path, notice, table
from edge.console.line import replay_form
from edge.console.markup import Html, Part, el, join
from edge.console.replay import Difference, Line, UnknownDriver, compared
from edge.console.selftest import Check, Outcome
from edge.console.texts import Words
from edge.store import orders
from protocols.uplink.items import item_to_json

MOST_REPLAY_BYTES = 2 * 1024 * 1024
"""More is for the command line."""

_TONES = {Outcome.GOOD: ("正常", "good"), Outcome.WARN: ("注意", "warn"), Outcome.BAD: ("不正常", "bad")}


class Refused(Exception):
    """What was asked for cannot be done; the message is a sentence of `edge.console.texts`."""


# ---------------------------------------------------------------------- captures


def captures_page(box: Box, captures: Captures, look: Look) -> Html:
    t = look.t
    running = [each for each in captures.running.values() if not each.ended]
    notes = [notice(t("正在抓取：{name}", name=each.file.name), "good") for each in running]
    rows: list[list[Part]] = [
        [el("a", each.name, href=f"/captures/{each.name}"), _size(each), box.wall(_changed(each))]
        for each in captures.files()
    ]
    empty = el("p", t("还没有抓取；在链路页开始。"))
    listed = table([t("文件"), t("大小"), t("最后改动")], rows) if rows else empty
    return join(*notes, listed)


def capture_page(captures: Captures, look: Look, file: Path) -> Html:
    t = look.t
    bytes_ = instrument_bytes(file.read_bytes())
    return join(
        facts([(t("大小"), _size(file)), (t("仪器发来的字节"), len(bytes_))]),
        el(
            "p",
            el("a", t("下载（两个方向）"), href=f"/captures/{file.name}/file", download=file.name, class_="button"),
            el("a", t("下载仪器发来的字节"), href=f"/captures/{file.name}/bytes", download=True, class_="button"),
            class_="tools",
        ),
        replay_form(look, "auto", capture=file.name),
        el("section", el("h2", t("仪器发来的字节")), raw_block(t, bytes_)),
        form(look, f"/captures/{file.name}/remove", button(t("删除这个文件"), plain=True)),
    )


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 1024:.1f} KB"


def _changed(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)


# ---------------------------------------------------------------------- replay


async def replay(box: Box, captures: Captures, look: Look, asked: dict[str, str]) -> Html:
    """Raises `Refused`."""
    t, driver = look.t, asked.get("driver") or "auto"
    before: Sequence[dict[str, Any]] | None = None
    if "capture" in asked:
        file = captures.file(asked["capture"])
        if file is None:
            raise Refused("没有这个抓取文件")
        title, source = file.name, {"capture": file.name}
        data = await box.work(lambda: instrument_bytes(file.read_bytes()))
    else:
        link, sequence = asked.get("link", ""), asked.get("sequence", "")
        messages = await box.messages(link, int(sequence), int(sequence), 1) if sequence.isdecimal() else []
        if not messages:
            raise Refused("没有这条消息")
        title, source, data = f"{link} {sequence}", {"link": link, "sequence": sequence}, messages[0].raw
        before = [item_to_json(each) for each in messages[0].items]
    if len(data) > MOST_REPLAY_BYTES:
        raise Refused("文件太大：请用命令行 edge replay")
    try:
        version, lines = await read_apart(data, driver)
    except UnknownDriver:
        raise Refused("没有这个驱动") from None
    except CannotRead:
        raise Refused("读的时候出错：请用命令行 edge replay") from None
    found = None if before is None else compared(before, [each.item for each in lines])
    return join(
        notice(t("只是试读：什么都没有保存，也没有发送。"), "idle"),
        facts([(t("来源"), title), (t("驱动"), version), (t("项数"), len(lines))]),
        replay_form(look, driver, **source),
        _changes(t, found),
        _lines(t, lines),
        el("section", el("h2", t("原始字节")), raw_block(t, data)),
    )


def _changes(t: Words, found: Sequence[Difference] | None) -> Html | None:
    if found is None:
        return None
    if not found:
        return notice(t("和原来解码的完全一样"), "good")
    return el("section", el("h2", t("和原来不同的 {n} 处", n=len(found))), difference_rows(t, found))


def _lines(t: Words, lines: Sequence[Line]) -> Html:
    return el("section", el("h2", t("每一项和它的字节")), line_rows(t, lines))


# ---------------------------------------------------------------------- self test


def selftest_page(look: Look, found: Sequence[Check] | None) -> Html:
    t = look.t
    start = form(look, "/selftest", button(t("开始自检") if found is None else t("再查一遍")))
    if found is None:
        return join(el("p", t("检查存储、磁盘、解码、每条链路、云端、时钟和证书；几秒钟，不打扰仪器。")), start)
    bad = sum(each.outcome is Outcome.BAD for each in found)
    warn = sum(each.outcome is Outcome.WARN for each in found)
    tone = "bad" if bad else "warn" if warn else "good"
    order = [Outcome.BAD, Outcome.WARN, Outcome.GOOD]
    listed = [_check(t, each) for each in sorted(found, key=lambda each: order.index(each.outcome))]
    return join(
        notice(t("{n} 项检查：{bad} 项不正常，{warn} 项要注意", n=len(found), bad=bad, warn=warn), tone),
        el("ul", *listed, class_="checks"),
        start,
    )


def _check(t: Words, check: Check) -> Html:
    text, tone = _TONES[check.outcome]
    about = el("a", check.link, href=link_path(check.link)) if check.link else None
    return el(
        "li",
        el("strong", t(check.name), " " if about else None, about),
        badge(t(text), tone),
        el("p", finding(t, check)),
        el("p", t(check.cure), class_="cure") if check.cure else None,
        data_check=check.name,
    )


def finding(t: Words, check: Check) -> str:
    shown = {key: t.reason(value) if key == "reason" else value for key, value in check.facts.items()}
    return t(check.finding, **shown)


# ---------------------------------------------------------------------- tubes without an order

_REASONS = {
    "unknown": "云端没有这个条码",
    "not_collected": "标签已打印，还没有采集",
    "closed": "已拒收或取消",
    "done": "已全部发布",
    "nothing_here": "没有这台仪器的项目",
    "not_reached": "当时云端不通",
    "no_answer": "云端没有及时回答",
    "not_asked": "设置为不询问云端",
    "no_barcode": "条码读不出来",
}


async def unanswered_page(box: Box, look: Look) -> Html:
    t = look.t
    found = await box.read(lambda reader: reader.ask(orders.unanswered))
    if not found:
        return notice(t("没有缺医嘱的管。"), "good")
    rows: list[list[Part]] = []
    for each in found[:200]:
        place = " / ".join(part for part in (each.rack, each.position) if part)
        state = (
            badge(t("医嘱已到，请重跑"), "good") if each.order_is_here else t(_REASONS.get(each.reason, each.reason))
        )
        rows.append(
            [
                each.specimen or t("条码读不出来"),
                el("a", each.link, href=link_path(each.link)),
                place,
                state,
                join(box.wall(each.last_at, each.link), f" ×{each.times}" if each.times > 1 else None),
            ]
        )
    return table([t("样本"), t("链路"), t("架位"), t("原因"), t("最近询问")], rows, class_="items")


# ---------------------------------------------------------------------- sign-in


def sign_in_page(look: Look, problem: str | None) -> Html:
    t = look.t
    return form(
        look,
        "/sign-in",
        notice(t(problem), "bad") if problem else None,
        el(
            "label",
            t("本盒的钥匙"),
            el("input", type="password", name="key", autocomplete="current-password", autofocus=True, required=True),
        ),
        el("p", el("small", t("钥匙在盒的标签上，或问配置这个盒的工程师。"))),
        button(t("进入")),
        class_="sign-in",
    )
