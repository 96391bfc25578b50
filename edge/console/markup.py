"""HTML made of elements: whatever is put into one is escaped, unless it is an element itself.

What an instrument sent stands on these pages. There is no way here to write text as HTML, so none of it can act.
"""

from __future__ import annotations

import html

_EMPTY = frozenset({"br", "hr", "img", "input", "link", "meta"})
_TAGS = _EMPTY | {
    *("a", "article", "body", "button", "code", "dd", "div", "dl", "dt", "form", "h1", "h2", "h3", "head", "header"),
    *("html", "label", "li", "main", "nav", "noscript", "ol", "option", "p", "pre", "script", "section", "select"),
    *("small", "span", "strong", "table", "tbody", "td", "th", "thead", "title", "tr", "ul"),
}


class Html:
    """A piece of a page. Made by `el` and `join` only."""

    __slots__ = ("_text",)

    def __init__(self, text: str, *, made_by_markup: bool = False) -> None:
        if not made_by_markup:
            raise TypeError("make HTML with el(): it escapes")
        self._text = text

    def __str__(self) -> str:
        return self._text


Part = Html | str | int | float | None


def el(tag: str, *parts: Part, **attributes: str | int | bool | None) -> Html:
    """`el("td", value, class_="number")`. None is left out; True is an attribute without value; data_x is data-x."""
    if tag not in _TAGS:
        raise ValueError(f"no element {tag!r} is used here")
    if tag == "script" and (parts or "src" not in attributes):
        raise ValueError("no script stands in a page")
    shown = "".join(_attribute(name, value) for name, value in attributes.items() if value is not None)
    if tag in _EMPTY:
        return Html(f"<{tag}{shown}>", made_by_markup=True)
    return Html(f"<{tag}{shown}>{join(*parts)}</{tag}>", made_by_markup=True)


def join(*parts: Part) -> Html:
    return Html("".join(_shown(each) for each in parts if each is not None), made_by_markup=True)


def page(root: Html) -> bytes:
    return b"<!doctype html>\n" + str(root).encode(errors="replace")


def _shown(part: Part) -> str:
    return str(part) if isinstance(part, Html) else html.escape(str(part), quote=True)


def _attribute(name: str, value: str | int | bool | None) -> str:
    name = name.rstrip("_").replace("_", "-")
    if name.startswith("on") or name == "style":
        raise ValueError(f"no {name} attribute stands in a page: the security policy refuses it")
    if value is False:
        return ""
    if value is True:
        return f" {name}"
    text = str(value)
    if name in ("href", "src", "action") and not text.startswith("/"):
        raise ValueError(f"a page of the box leads to the box alone, not to {text!r}")
    return f' {name}="{html.escape(text, quote=True)}"'
