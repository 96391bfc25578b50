"""Reads an HTML page as a person's eyes would: elements, their text, tables and forms. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass(slots=True)
class Element:
    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)

    def get(self, name: str, default: str = "") -> str:
        return self.attributes.get(name, default)

    @property
    def text(self) -> str:
        """What is read, blanks squeezed."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif child.tag not in ("script", "style", "template"):
                yield " "
                yield from child._texts()
                yield " "

    def walk(self) -> Iterator[Element]:
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def all(self, tag: str | None = None, /, **wanted: str | None) -> list[Element]:
        """Elements of `tag` with these attributes (`data_report=None`: it only has to be there; "_" stands for "-")."""
        names = {name.strip("_").replace("_", "-"): value for name, value in wanted.items()}
        return [
            each
            for each in self.walk()
            if (tag is None or each.tag == tag)
            and all(
                name in each.attributes and (value is None or each.attributes[name] == value)
                for name, value in names.items()
            )
        ]

    def first(self, tag: str | None = None, /, **wanted: str | None) -> Element | None:
        found = self.all(tag, **wanted)
        return found[0] if found else None

    def with_class(self, name: str) -> list[Element]:
        return [each for each in self.walk() if name in each.get("class").split()]


@dataclass(frozen=True, slots=True)
class Form:
    """A form as a browser would send it untouched."""

    action: str
    method: str
    fields: dict[str, str]


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("#document")
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        for at in range(len(self._open) - 1, 0, -1):
            if self._open[at].tag == tag:
                del self._open[at:]
                return

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def read_page(html: str) -> Element:
    builder = _Builder()
    builder.feed(html)
    builder.close()
    return builder.root


def forms(page: Element) -> list[Form]:
    """Every form with the values it shows; unchecked boxes and unpressed buttons are not sent."""
    return [_form(each) for each in page.all("form")]


def _form(form: Element) -> Form:
    fields: dict[str, str] = {}
    for each in form.walk():
        name = each.get("name")
        if not name or each.tag == "button":
            continue
        kind = each.get("type", "text").lower()
        if each.tag == "input" and kind in ("checkbox", "radio"):
            if "checked" in each.attributes:
                fields[name] = each.get("value", "on")
        elif each.tag == "input" and kind not in ("submit", "button", "image", "file"):
            fields[name] = each.get("value")
        elif each.tag == "textarea":
            fields[name] = each.text
        elif each.tag == "select":
            options = each.all("option")
            chosen = next(
                (option for option in options if "selected" in option.attributes), options[0] if options else None
            )
            if chosen is not None:
                fields[name] = chosen.get("value", chosen.text)
    return Form(form.get("action"), form.get("method", "get").lower(), fields)
