"""From the tables of a file to a `BoxConfig`, or to everything in them that is not of its shape.

The shape is `edge.config`'s structs. msgspec stops at its first mistake and knows no lines; the author of a file wants
all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta
from msgspec.structs import FieldInfo, fields

from edge import toml_lines
from edge.config import BoxConfig, Closed, PortSection, Rule
from edge.errors import Mistake

_WANTED: dict[Any, str] = {
    str: "text in quotes",
    int: "a whole number without quotes",
    float: "a number without quotes",
    bool: "true or false",
    Path: "a path in quotes",
    tuple: "a list in [ ]",
    dict: "a section or { }",
}
PORTS: dict[str, type[Closed]] = {fields(each)[0].default: each for each in get_args(PortSection)}
_WRONG = object()
"""Stands for a value with a mistake: what is around it is looked at all the same."""


def box_of(data: Mapping[str, Any], lines: toml_lines.Lines) -> tuple[BoxConfig | None, list[Mistake]]:
    """The configuration, or None and every mistake of shape."""
    shape = _Shape(lines)
    made = shape.struct(BoxConfig, data, ())
    return (made if isinstance(made, BoxConfig) and not shape.mistakes else None), shape.mistakes


def instead(given: str, known: Collection[str]) -> str:
    """What was probably meant, and everything that is known."""
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    every = f"known here: {', '.join(sorted(known))}"
    return f"did you mean `{near[0]}`? ({every})" if near else every


class _Shape:
    """Each method gives the value made of `value`, or `_WRONG` with the mistake noted."""

    def __init__(self, lines: toml_lines.Lines) -> None:
        self._lines = lines
        self.mistakes: list[Mistake] = []

    def struct(self, model: type[Closed], value: Any, path: toml_lines.Path) -> object:
        if not isinstance(value, dict):
            return self._wrong_type(path, value, dict)
        known = {each.name: each for each in fields(model)}
        unknown = [each for each in value if each not in known]
        for key in unknown:
            self._note((*path, key), f"unknown key `{key}`", instead(key, list(known)))
        made: dict[str, object] = {}
        for field in known.values():
            if field.name in value:
                made[field.name] = self._value(field.type, value[field.name], (*path, field.name))
            elif field.default is NODEFAULT and field.default_factory is NODEFAULT:
                self._missing(field, path)
                made[field.name] = _WRONG
        if unknown or _WRONG in made.values():
            return _WRONG
        section = model(**made)
        if contradiction := section.contradiction():
            return self._broken(path, contradiction)
        return section

    def _value(self, type_: Any, value: Any, path: toml_lines.Path) -> object:
        base, marks = _unwrapped(type_)
        choices = get_args(base) if get_origin(base) in (Union, UnionType) else ()
        if choices and all(isinstance(each, type) and issubclass(each, Closed) for each in choices):
            return self._port(value, path)
        if type(None) in choices:
            (inner,) = (each for each in choices if each is not type(None))
            return self._value(inner, value, path)
        if isinstance(base, type) and issubclass(base, Closed):
            return self.struct(base, value, path)
        arguments = get_args(base)
        if get_origin(base) is tuple and isinstance(arguments[0], type) and issubclass(arguments[0], Closed):
            if not isinstance(value, list):
                return self._wrong_type(path, value, tuple)
            each_made = [self.struct(arguments[0], each, (*path, number)) for number, each in enumerate(value)]
            return _WRONG if _WRONG in each_made else tuple(each_made)
        return self._leaf(type_, base, marks, value, path)

    def _port(self, value: Any, path: toml_lines.Path) -> object:
        if not isinstance(value, dict):
            return self._wrong_type(path, value, dict)
        kind = value.get("kind")
        if kind is None:
            return self._note(path, "`kind` of the port is missing", f"add kind = one of {', '.join(PORTS)}")
        if not isinstance(kind, str) or kind not in PORTS:
            return self._note((*path, "kind"), f"`kind`: unknown port {kind!r}", instead(str(kind), PORTS))
        return self.struct(PORTS[kind], value, path)

    def _leaf(self, type_: Any, base: Any, marks: tuple[Any, ...], value: Any, path: toml_lines.Path) -> object:
        try:
            made = msgspec.convert(value, type_, dec_hook=_path)
        except msgspec.ValidationError:
            if get_origin(base) is Literal:
                expected = [repr(each) for each in get_args(base)]
                cure = f"take one of {', '.join(expected[:-1])} or {expected[-1]}" if len(expected) > 1 else expected[0]
                return self._note(path, f"`{path[-1]}` cannot be {value!r}", cure)
            bounds = [each for each in marks if isinstance(each, Meta)]
            if isinstance(value, (int, float)) and not isinstance(value, bool) and _is_number(value, base):
                return self._broken(path, f"{value} is out of range; {_range(bounds)}")
            return self._wrong_type(path, value, get_origin(base) or base)
        for each in marks:
            if isinstance(each, Rule) and (why := each.broken(made)):
                return self._broken(path, why)
        return made

    def _missing(self, field: FieldInfo, path: toml_lines.Path) -> None:
        said = [each.description for each in _unwrapped(field.type)[1] if isinstance(each, Meta) and each.description]
        about = said[0] if said else ""
        if path:
            self._note(path, f"`{field.name}` is missing", f"add `{field.name} = ...`: {about}")
            return
        header = "[[links]]" if field.name == "links" else f"[{field.name}]"
        self.mistakes.append(Mistake(1, f"the section {header} is missing", f"add {header}: {about}"))

    def _wrong_type(self, path: toml_lines.Path, value: Any, wanted: Any) -> object:
        return self._note(path, f"`{_key(path)}` has the wrong type: {value!r}", f"write {_WANTED[wanted]}")

    def _broken(self, path: toml_lines.Path, why: str) -> object:
        key = _key(path)
        return self._note(path, f"`{key}`: {why}", f"correct `{key}`")

    def _note(self, path: toml_lines.Path, what: str, cure: str) -> object:
        self.mistakes.append(Mistake(self._lines.of(path), what, cure))
        return _WRONG


def _key(path: toml_lines.Path) -> str:
    return str(path[-1]) if path else "file"


def _unwrapped(type_: Any) -> tuple[Any, tuple[Any, ...]]:
    """The bare type, and what `Annotated` says beside it."""
    if get_origin(type_) is Annotated:
        base, *marks = get_args(type_)
        return base, tuple(marks)
    return type_, ()


def _is_number(value: int | float, base: Any) -> bool:
    return base is float or (base is int and isinstance(value, int))


def _range(bounds: list[Meta]) -> str:
    """ "take 0 to 255", "take 1 or more"."""
    found = {
        name: getattr(each, name) for each in bounds for name in ("ge", "gt", "le") if getattr(each, name) is not None
    }
    least = f"more than {found['gt']}" if "gt" in found else str(found.get("ge", ""))
    if "le" in found:
        return f"take {least} to {found['le']}" if least else f"take at most {found['le']}"
    return f"take {least}" if "gt" in found else f"take {least} or more"


def _path(type_: type, value: Any) -> Any:
    if type_ is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"no {type_.__name__}")
