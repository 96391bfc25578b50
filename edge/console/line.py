"""One link: its bytes as they pass, its newest messages beside their bytes, and one message item by item."""

from __future__ import annotations

from edge.console import line_orders
from edge.console.box import Box
from edge.console.captures import Captures
from edge.console.items import line_rows, message_rows, raw_block, state_of
from edge.console.layout import Look, button, choice, facts, form, link_path, notice, state_badge
from edge.console.markup import Html, el, join
from edge.console.places import place
from edge.console.replay import lines_of
from protocols.driver import discover
from protocols.uplink.envelope import Message

_NEWEST = 5


async def content(box: Box, captures: Captures, look: Look, link: str) -> Html:
    t = look.t
    state = next(each for each in box.snapshot()["links"] if each["link"] == link)
    section = next((each for each in box.config().links if each.id == link), None)
    return join(
        el(
            "p",
            state_badge(t, state["state"]),
            " ",
            state["driver"],
            el("small", " " + (place(t, section.port) if section is not None else "")),
            id="state",
        ),
        el("p", t.reason(state["reason"]), class_="reason") if state["reason"] else None,
        el(
            "section",
            el("h2", t("线上的字节")),
            el(
                "p",
                el("label", el("input", type="checkbox", id="hex"), " ", t("十六进制")),
                el("label", el("input", type="checkbox", id="hold"), " ", t("暂停")),
                el("button", t("清空"), type="button", id="clear", class_="plain"),
                class_="tools",
            ),
            el(
                "ol",
                id="monitor",
                data_source=link_path(link, "live"),
                data_in=t("仪器"),
                data_out=t("盒"),
                data_lost=t("显示跟不上，略过的字节"),
                data_waiting=t("等待仪器说话……"),
                data_gone=t("与盒的连接断了，正在重连"),
                aria_live="off",
            ),
            el("noscript", notice(t("实时监视需要 JavaScript；消息见下方"))),
        ),
        capture_form(captures, look, link),
        el(
            "section",
            el("h2", t("最近的消息")),
            el("div", await messages(box, look, link), id="messages", data_source=link_path(link, "messages")),
        ),
        await line_orders.section(box, look, link),
    )


def capture_form(captures: Captures, look: Look, link: str) -> Html:
    t = look.t
    running = captures.running.get(link)
    if running is not None and not running.ended:
        act = join(
            notice(t("正在抓取：{name}", name=running.file.name), "good"),
            button(t("停止抓取"), name="act", value="end"),
        )
    else:
        act = button(t("开始抓取到文件"), name="act", value="begin")
    ended = (
        notice(t("上次抓取结束：{reason}", reason=t(running.ended))) if running is not None and running.ended else None
    )
    files = [el("li", el("a", each.name, href=f"/captures/{each.name}")) for each in captures.files(link)[:5]]
    return el(
        "section",
        el("h2", t("抓取")),
        ended,
        form(look, link_path(link, "capture"), act),
        el("ul", *files) if files else None,
    )


async def messages(box: Box, look: Look, link: str) -> Html:
    """The newest messages, decoded beside raw; also the fragment that the live page fetches."""
    last = box.last_sequence(link)
    found = await box.messages(link, max(1, last - _NEWEST + 1), last, _NEWEST) if last else []
    if not found:
        return el("p", look.t("还没有消息"))
    return join(*(_message(box, look, link, each) for each in reversed(found)))


def _message(box: Box, look: Look, link: str, message: Message) -> Html:
    t = look.t
    when = box.wall(message.received_at, link) + ("" if message.clock_sure else "?")
    reason = el("p", t.reason(message.reason), class_="reason") if message.reason else None
    title = t("第 {n} 条", n=message.sequence)
    return el(
        "article",
        el(
            "h3",
            el("a", title, href=link_path(link, "messages", message.sequence)),
            state_of(t, message),
            el("small", when),
        ),
        reason,
        el("div", el("div", message_rows(t, message)), el("div", raw_block(t, message.raw)), class_="beside"),
        data_sequence=message.sequence,
    )


async def one_message(box: Box, look: Look, link: str, sequence: int) -> Html | None:
    """Each item beside its own bytes; None where there is no such message (any more)."""
    found = await box.messages(link, sequence, sequence, 1)
    if not found:
        return None
    t, message = look.t, found[0]
    driver = discover().get(message.driver)
    lines = await box.work(lines_of, message.raw, driver, 200)
    return join(
        facts(
            [
                (t("收到"), box.wall(message.received_at, link) + ("" if message.clock_sure else " ?")),
                (t("驱动"), f"{message.driver} {message.driver_version}"),
                (t("状态"), state_of(t, message)),
                (t("字节"), len(message.raw)),
            ]
        ),
        el("p", t.reason(message.reason), class_="reason") if message.reason else None,
        replay_form(look, message.driver, link=link, sequence=str(sequence)),
        el("section", el("h2", t("每一项和它的字节")), line_rows(t, lines)),
        el("section", el("h2", t("原始字节")), raw_block(t, message.raw)),
    )


def replay_form(look: Look, driver: str, **source: str) -> Html:
    """Read these bytes with a driver that is chosen here; `source` names them."""
    t = look.t
    options = [("auto", t("自动识别")), *((each, each) for each in sorted(discover()))]
    hidden = [el("input", type="hidden", name=name, value=value) for name, value in source.items()]
    return form(
        look,
        "/replay",
        *hidden,
        el("label", t("用驱动重放"), " ", choice("driver", options, driver)),
        button(t("重放（不保存）")),
        class_="replay",
    )
