"""Every sentence that a page can show, found where it is written: `_()`, `ngettext()`, `N_()`, and refusals."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from babel.messages.pofile import read_po
from jinja2 import nodes

import cloud
from cloud.kit import errors
from cloud.web.pages import environment

CLOUD = Path(cloud.__file__).parent
MARKS = {"_", "N_", "gettext", "ngettext", "mark"}
REFUSALS = {name for name, value in vars(errors).items() if isinstance(value, type)}
VENDORS = CLOUD / "web" / "static" / "vendor"


def templates() -> list[Path]:
    """Every page template of every slice."""
    return sorted(CLOUD.glob("**/templates/*.html"))


def sentences() -> dict[str, set[str]]:
    """msgid -> the files that say it."""
    found: dict[str, set[str]] = {}
    for path in sorted(CLOUD.glob("**/*.py")):
        for sentence in _in_code(path):
            found.setdefault(sentence, set()).add(str(path.relative_to(CLOUD)))
    for path in templates():
        for sentence in _in_template(path):
            found.setdefault(sentence, set()).add(str(path.relative_to(CLOUD)))
    return found


def translations() -> dict[str, tuple[str, ...]]:
    """msgid -> English forms, of all catalogs."""
    return {key: next(iter(said)) for key, said in wordings().items()}


def wordings(catalogs: Iterable[Path] | None = None) -> dict[str, dict[tuple[str, ...], list[str]]]:
    """msgid -> each of its English wordings -> the catalogs that say so."""
    found: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for path in catalogs or sorted(CLOUD.glob("**/locale/en/LC_MESSAGES/messages.po")):
        with path.open("rb") as file:
            catalog = read_po(file, locale="en")
        for message in catalog:
            key = message.id[0] if isinstance(message.id, tuple | list) else message.id
            forms = message.string if isinstance(message.string, tuple | list) else (message.string,)
            if key and all(forms):
                said = found.setdefault(key, {})
                said.setdefault(tuple(str(form) for form in forms), []).append(str(path))
    return found


def _in_code(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name in MARKS and node.args:
            yield from _constant(node.args[0])
        elif name in REFUSALS and len(node.args) > 1:
            yield from _constant(node.args[1])


def _constant(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def _in_template(path: Path) -> Iterator[str]:
    tree = environment().parse(path.read_text(encoding="utf-8"))
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name in MARKS and call.args:
            first = call.args[0]
            if isinstance(first, nodes.Const) and isinstance(first.value, str):
                yield first.value
