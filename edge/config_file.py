"""From a TOML file to a `BoxConfig`, or to every mistake in it with its line and its cure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from edge import toml_lines
from edge.config import AUTO, BoxConfig, Closed, FileDrop
from edge.config_shape import PORTS, box_of, instead
from edge.errors import ConfigError, Mistake
from edge.order_plan import Mode, can_download
from protocols.driver import discover
from protocols.errors import DriverOptionError

_EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound

_S = TypeVar("_S", bound=Closed)


def load(file: Path, drivers: Collection[str] | None = None) -> BoxConfig:
    """The configuration in `file`. Raises `ConfigError` with all its mistakes.

    `drivers`: ids that a link may name; default: every driver that is found.
    """
    return parse(read_text(file), str(file), file.resolve().parent, drivers)


def parse(text: str, name: str, folder: Path, drivers: Collection[str] | None = None) -> BoxConfig:
    """As `load`; `name` stands in the mistakes, relative paths are taken from `folder`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, [_syntax_mistake(error, text)]) from None
    lines = toml_lines.Lines(text)
    mistakes = list(_contradictions(data, lines, discover() if drivers is None else drivers))
    config, misshapen = box_of(data, lines)
    mistakes += misshapen
    if config is None or mistakes:
        raise ConfigError(name, mistakes)
    return _anchored(config, folder)


def store_in(text: str, folder: Path) -> Path | None:
    """The store that a configuration names, also one that is wrong elsewhere; None where it cannot be told."""
    try:
        path = tomllib.loads(text)["store"]["path"]
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        return None
    return folder / path if isinstance(path, str) else None


def missing_files(config: BoxConfig, file: Path) -> list[Mistake]:
    """Files that the configuration names and that are not there (asked by `edge check`, not by `edge run`)."""
    lines = toml_lines.Lines(read_text(file))
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


def read_text(file: Path) -> str:
    """Raises `ConfigError`."""
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
        yield Mistake(line, f"unknown driver {driver!r}", instead(driver, [AUTO, *drivers]))
    yield from _option_mistakes(link, position, lines)
    yield from _family_mistakes(link, position, lines)
    yield from _order_mistakes(link, position, lines)
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
    options = link.get("options", {})
    if not isinstance(options, dict):
        return
    driver = discover().get(str(link.get("driver")))
    if driver is None:
        if link.get("driver") == AUTO and options:
            line = lines.of(("links", position, "options"))
            yield Mistake(line, '`options` with driver = "auto"', "name the driver that the options are for")
        return
    try:
        driver.configured(options)
    except DriverOptionError as error:
        parts = (int(part) if part.isdecimal() else part for part in error.key.split("."))
        line = lines.of(("links", position, "options" if options else "driver", *parts))
        yield Mistake(line, f"`{error.key or 'options'}`: {error.what}", error.cure)


def _family_mistakes(link: Mapping[str, Any], position: int, lines: toml_lines.Lines) -> Iterator[Mistake]:
    """Files are read by drivers of files, lines by the others."""
    driver, port = discover().get(str(link.get("driver"))), link.get("port")
    if driver is None or not isinstance(port, dict) or port.get("kind") not in PORTS:
        if link.get("driver") == AUTO and isinstance(port, dict) and port.get("kind") == "file_drop":
            line = lines.of(("links", position, "driver"))
            yield Mistake(line, 'a folder with driver = "auto"', 'name the driver; "generic_file" reads tables')
        return
    if (driver.protocol == "file") != (port["kind"] == "file_drop"):
        line = lines.of(("links", position, "port"))
        wanted = 'a folder (kind = "file_drop")' if driver.protocol == "file" else "a line, not a folder"
        yield Mistake(line, f"the driver {driver.id!r} reads {wanted}", "take another driver or another port")


def _order_mistakes(link: Mapping[str, Any], position: int, lines: toml_lines.Lines) -> Iterator[Mistake]:
    """Orders are pushed by drivers that have words for it, asked for by those that answer."""
    wished, driver = link.get("orders"), discover().get(str(link.get("driver")))
    if wished not in (Mode.DOWNLOAD, Mode.BOTH):
        return
    line = lines.of(("links", position, "orders"))
    if driver is None:
        if link.get("driver") == AUTO:
            yield Mistake(line, f'orders = "{wished}" with driver = "auto"', "name the driver of the instrument")
    elif not can_download(driver):
        what = f"the driver {driver.id!r} cannot tell its instrument an order that it did not ask for"
        yield Mistake(line, what, 'remove it, or write "query"')


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

    def anchor(section: _S, *keys: str) -> _S:
        paths = {key: getattr(section, key) for key in keys}
        return replace(section, **{key: folder / path for key, path in paths.items() if path is not None})

    return replace(
        config,
        store=anchor(config.store, "path"),
        cloud=anchor(config.cloud, "password_file", "ca_file", "certificate_file", "key_file"),
        health=anchor(config.health, "file"),
        links=tuple(
            replace(each, port=anchor(each.port, "folder")) if isinstance(each.port, FileDrop) else each
            for each in config.links
        ),
    )
