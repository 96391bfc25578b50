"""What every page has: its frame, its words, its badges and the form that changes something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from edge.console.markup import Html, Part, el, join
from edge.console.texts import Words

_TABS = (
    ("/", "链路"),
    ("/unanswered", "缺医嘱的管"),
    ("/captures", "抓取"),
    ("/selftest", "自检"),
    ("/configuration", "配置"),
)
_STATES = {
    "open": ("已连接", "good"),
    "listening": ("等待仪器连接", "idle"),
    "connecting": ("正在连接", "warn"),
    "closed": ("已断开", "warn"),
    "failed": ("打不开", "bad"),
}


@dataclass(frozen=True, slots=True)
class Look:
    """Who looks: in which language, at which box, with which form token."""

    t: Words
    gateway: str
    token: str
    path: str
    signed_in: bool = False


def frame(look: Look, title: str, *content: Part, live: str | None = None) -> Html:
    """`live`: where the events come from that renew this page."""
    t = look.t
    tabs = [
        el("a", t(name), href=path, aria_current="page" if _is_here(path, look.path) else None) for path, name in _TABS
    ]
    other = "en" if t.language == "zh" else "zh"
    language = el(
        "a", "English" if other == "en" else "中文", href=f"{quote(look.path)}?lang={other}", lang=other, class_="lang"
    )
    out = form(look, "/sign-out", button(t("退出"), plain=True)) if look.signed_in else None
    return el(
        "html",
        el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("title", f"{title} · {look.gateway}"),
            el("link", rel="stylesheet", href="/static/console.css"),
            el("link", rel="icon", href="/static/box.svg"),
            el("script", src="/static/console.js", defer=True),
        ),
        el(
            "body",
            el("header", el("strong", t("杏林盒")), el("span", look.gateway, class_="box-name"), language, out),
            el("nav", *tabs, aria_label=t("页面")),
            el("main", el("h1", title), *content, data_live=live, id="main"),
        ),
        lang="zh-CN" if t.language == "zh" else "en",
    )


def _is_here(tab: str, path: str) -> bool:
    return path == tab or (tab == "/" and path.startswith("/links/")) or (tab != "/" and path.startswith(tab))


def form(look: Look, action: str, *parts: Part, class_: str | None = None) -> Html:
    return el(
        "form",
        el("input", type="hidden", name="token", value=look.token),
        *parts,
        method="post",
        action=action,
        class_=class_,
    )


def button(text: str, *, name: str | None = None, value: str | None = None, plain: bool = False) -> Html:
    return el("button", text, type="submit", name=name, value=value, class_="plain" if plain else None)


def badge(text: str, tone: str) -> Html:
    return el("span", text, class_=f"badge {tone}")


def state_badge(t: Words, state: str) -> Html:
    text, tone = _STATES.get(state, (state, "warn"))
    return badge(t(text), tone)


def facts(rows: Sequence[tuple[str, Part]]) -> Html:
    return el("dl", *(join(el("dt", name), el("dd", value)) for name, value in rows), class_="facts")


def notice(text: str, tone: str = "warn") -> Html:
    return el("p", text, class_=f"notice {tone}", role="status")


def table(heads: Sequence[str], rows: Sequence[Sequence[Part]], **attributes: str) -> Html:
    """On a phone each row is a card: the cells carry their heads."""
    body = [el("tr", *(el("td", cell, data_head=head) for head, cell in zip(heads, row, strict=True))) for row in rows]
    head = el("thead", el("tr", *(el("th", each, scope="col") for each in heads)))
    return el("table", head, el("tbody", *body), **attributes)


def choice(name: str, options: Sequence[tuple[str, str]], chosen: str) -> Html:
    made = [el("option", text, value=value, selected=value == chosen) for value, text in options]
    return el("select", *made, name=name)


def link_path(link: str, *rest: str | int) -> str:
    return "/".join(["/links", quote(link, safe=""), *(quote(str(each), safe="") for each in rest)])


def path_of(path: str, query: Mapping[str, str | int]) -> str:
    return path + "?" + "&".join(f"{key}={quote(str(value), safe='')}" for key, value in query.items())
