"""From a TOML file to a `BoxConfig`, or to every mistake in it with its line and its cure."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edge import toml_lines
from edge.config import AUTO, BoxConfig, FileDrop
from edge.errors import ConfigError, Mistake
from protocols.driver import discover
from protocols.errors import DriverOptionError

_PORT_KINDS = ("tcp_listen", "tcp_dial", "serial", "file_drop")
_EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
_WANTED = {
    "string_type": "text in quotes",
    "int_type": "a whole number without quotes",
    "float_type": "a number without quotes",
    "bool_type": "true or false",
    "path_type": "a path in quotes",
    "tuple_type": "a list in [ ]",
    "model_type": "a section or { }",
    "model_attributes_type": "a section or { }",
    "dict_type": "a section or { }",
}


def load(file: Path, drivers: Collection[str] | None = None) -> BoxConfig:
    """The configuration in `file`. Raises `ConfigError` with all its mistakes.

    `drivers`: ids that a link may name; default: every driver that is found.
    """
    text = _read(file)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(file), [_syntax_mistake(error, text)]) from None
    lines = toml_lines.Lines(text)
    mistakes = list(_contradictions(data, lines, discover() if drivers is None else drivers))
    try:
        config = BoxConfig.model_validate(data)
    except ValidationError as error:
        mistakes += [_mistake(each, data, lines) for each in error.errors()]
    if mistakes:
        raise ConfigError(str(file), mistakes)
    return _anchored(config, file.resolve().parent)


def missing_files(config: BoxConfig, file: Path) -> list[Mistake]:
    """Files that the configuration names and that are not there (asked by `edge check`, not by `edge run`)."""
    lines = toml_lines.Lines(_read(file))
    found = []
    for key in ("password_file", "ca_file", "certificate_file", "key_file"):
        path: Path | None = getattr(config.cloud, key)
        if path is not None and not path.is_file():
            line = lines.of(("cloud", key))
            found.append(Mistake(line, f"`{key}`: there is no file {path}", "put it there or correct the path"))
    for position, link in enumerate(config.links):
        if isinstance(link.port, FileDrop) and not link.port.folder.is_dir():
            line = lines.of(("links", position, "port", "folder"))
            found.append(
                Mistake(line, f"`folder`: there is no folder {link.port.folder}", "make it or correct the path")
            )
    if not config.store.path.parent.is_dir():
        cure = f"make it: mkdir -p {config.store.path.parent}"
        found.append(Mistake(lines.of(("store", "path")), "`path`: the store's folder does not exist", cure))
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            str(file), [Mistake(1, f"cannot be read: {error.strerror}", "give the path of a file")]
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(str(file), [Mistake(1, "is not UTF-8 text", "save it as UTF-8")]) from None


def _syntax_mistake(error: tomllib.TOMLDecodeError, text: str) -> Mistake:
    at = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
    line = int(at[1]) if at else text.count("\n") + 1
    what = re.sub(r"\s*\(at .*\)$", "", str(error))
    return Mistake(
        line, f"not TOML: {what[:1].lower()}{what[1:]}", "a line is `key = value`, text stands in double quotes"
    )


def _mistake(error: ErrorDetails, data: Mapping[str, Any], lines: toml_lines.Lines) -> Mistake:
    path = _path(error["loc"])
    line = lines.of(path)
    key = str(path[-1]) if path else "file"
    kind = error["type"]
    if kind == "missing":
        return _missing(path, lines, data)
    if kind == "extra_forbidden":
        known = list(_section(path[:-1], data).model_fields)
        return Mistake(line, f"unknown key `{key}`", _instead(key, known))
    if kind == "union_tag_not_found":
        return Mistake(line, "`kind` of the port is missing", f"add kind = one of {', '.join(_PORT_KINDS)}")
    if kind == "union_tag_invalid":
        tag = str(error.get("ctx", {}).get("tag"))
        at = lines.of((*path, "kind"))
        return Mistake(at, f"`kind`: unknown port {tag!r}", _instead(tag, _PORT_KINDS))
    if kind == "literal_error":
        expected = str(error.get("ctx", {}).get("expected"))
        return Mistake(line, f"`{key}` cannot be {error['input']!r}", f"take one of {expected}")
    if kind in _WANTED:
        return Mistake(line, f"`{key}` has the wrong type: {error['input']!r}", f"write {_WANTED[kind]}")
    message = error["msg"].removeprefix("Value error, ")
    return Mistake(line, f"`{key}`: {message[:1].lower()}{message[1:]}", f"correct `{key}`")


def _missing(path: toml_lines.Path, lines: toml_lines.Lines, data: Mapping[str, Any]) -> Mistake:
    key = str(path[-1])
    field = _section(path[:-1], data).model_fields[key]
    if len(path) == 1:
        header = "[[links]]" if key == "links" else f"[{key}]"
        return Mistake(1, f"the section {header} is missing", f"add {header}: {field.description}")
    return Mistake(lines.of(path[:-1]), f"`{key}` is missing", f"add `{key} = ...`: {field.description}")


def _path(location: tuple[int | str, ...]) -> toml_lines.Path:
    """pydantic's location without the name of the port's kind, which it puts after `port`."""
    path: list[str | int] = []
    for each in location:
        if path and path[-1] == "port" and len(path) == 3 and each in _PORT_KINDS:
            continue
        path.append(each)
    return tuple(path)


def _section(path: toml_lines.Path, data: Any) -> type[BaseModel]:
    """The model of the section at `path`; a port's model is chosen by the `kind` that the file gives it."""
    model: type[BaseModel] = BoxConfig
    for each in path:
        data = data[each]
        if isinstance(each, int):
            continue
        choices = list(_models(model.model_fields[each].annotation))
        fitting = [one for one in choices if len(choices) == 1 or data.get("kind") in _kinds(one)]
        model = fitting[0]
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, tuple):
        for each in get_args(annotation):
            yield from _models(each)


def _kinds(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields["kind"].annotation)


def _instead(given: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    every = f"known here: {', '.join(sorted(known))}"
    return f"did you mean `{near[0]}`? ({every})" if near else every


def _contradictions(data: Mapping[str, Any], lines: toml_lines.Lines, drivers: Collection[str]) -> Iterator[Mistake]:
    """What is wrong between values that are each right. Reads the raw file, so that all mistakes are told at once."""
    links = data.get("links")
    if links == []:
        yield Mistake(lines.of(("links",)), "there is no link", "add [[links]]: one for each instrument")
    if not isinstance(links, list):
        return
    earlier: list[tuple[int, Mapping[str, Any]]] = []
    for position, link in enumerate(links):
        if isinstance(link, dict):
            yield from _link_mistakes(link, position, lines, drivers, earlier)
            earlier.append((position, link))


def _link_mistakes(
    link: Mapping[str, Any],
    position: int,
    lines: toml_lines.Lines,
    drivers: Collection[str],
    earlier: list[tuple[int, Mapping[str, Any]]],
) -> Iterator[Mistake]:
    driver = link.get("driver")
    if isinstance(driver, str) and driver != AUTO and driver not in drivers:
        line = lines.of(("links", position, "driver"))
        yield Mistake(line, f"unknown driver {driver!r}", _instead(driver, [AUTO, *drivers]))
    yield from _option_mistakes(link, position, lines)
    yield from _family_mistakes(link, position, lines)
    for other_position, other in earlier:
        if "id" in link and link["id"] == other.get("id"):
            first = lines.of(("links", other_position, "id"))
            what = f"link id {link['id']!r} is given twice (first in line {first})"
            yield Mistake(lines.of(("links", position, "id")), what, "name each link once")
        if _same_port(link.get("port"), other.get("port")):
            first = lines.of(("links", other_position, "port"))
            what = f"the same port as link {other.get('id')!r} (line {first})"
            yield Mistake(lines.of(("links", position, "port")), what, "give each link a port of its own")


def _option_mistakes(link: Mapping[str, Any], position: int, lines: toml_lines.Lines) -> Iterator[Mistake]:
    """What the link's driver says to its options."""
    options = link.get("options")
    if not options or not isinstance(options, dict):
        return
    driver = discover().get(str(link.get("driver")))
    if driver is None:
        if link.get("driver") == AUTO:
            line = lines.of(("links", position, "options"))
            yield Mistake(line, '`options` with driver = "auto"', "name the driver that the options are for")
        return
    try:
        driver.configured(options)
    except DriverOptionError as error:
        line = lines.of(("links", position, "options", *error.key.split(".")))
        yield Mistake(line, f"`{error.key or 'options'}`: {error.what}", error.cure)


def _family_mistakes(link: Mapping[str, Any], position: int, lines: toml_lines.Lines) -> Iterator[Mistake]:
    """Files are read by drivers of files, lines by the others."""
    driver, port = discover().get(str(link.get("driver"))), link.get("port")
    if driver is None or not isinstance(port, dict) or port.get("kind") not in _PORT_KINDS:
        if link.get("driver") == AUTO and isinstance(port, dict) and port.get("kind") == "file_drop":
            line = lines.of(("links", position, "driver"))
            yield Mistake(line, 'a folder with driver = "auto"', 'name the driver; "generic_file" reads tables')
        return
    if (driver.protocol == "file") != (port["kind"] == "file_drop"):
        line = lines.of(("links", position, "port"))
        wanted = 'a folder (kind = "file_drop")' if driver.protocol == "file" else "a line, not a folder"
        yield Mistake(line, f"the driver {driver.id!r} reads {wanted}", "take another driver or another port")


def _same_port(one: Any, other: Any) -> bool:
    """Would two links fight over one device, folder or address? Listening on every address takes the port of each."""
    if not isinstance(one, dict) or not isinstance(other, dict) or one.get("kind") != other.get("kind"):
        return False
    place = {"serial": "device", "file_drop": "folder"}.get(str(one.get("kind")))
    if place is not None:
        places = [Path(str(each.get(place))).resolve() for each in (one, other)]
        return places[0] == places[1]
    hosts = {str(each.get("host", "0.0.0.0")) for each in (one, other)}  # noqa: S104
    if one.get("port") is None or one.get("port") != other.get("port"):
        return False
    return len(hosts) == 1 or (one.get("kind") == "tcp_listen" and bool(hosts & _EVERY_ADDRESS))


def _anchored(config: BoxConfig, folder: Path) -> BoxConfig:
    """Relative paths taken from the folder of the file, not from wherever the daemon was started."""

    def anchor(section: BaseModel, *keys: str) -> dict[str, Path]:
        paths = {key: getattr(section, key) for key in keys}
        return {key: folder / path for key, path in paths.items() if path is not None}

    cloud = anchor(config.cloud, "password_file", "ca_file", "certificate_file", "key_file")
    return config.model_copy(
        update={
            "store": config.store.model_copy(update=anchor(config.store, "path")),
            "cloud": config.cloud.model_copy(update=cloud),
            "health": config.health.model_copy(update=anchor(config.health, "file")),
            "links": tuple(
                each.model_copy(update={"port": each.port.model_copy(update=anchor(each.port, "folder"))})
                if isinstance(each.port, FileDrop)
                else each
                for each in config.links
            ),
        }
    )
