"""Another configuration for a box of the test's own, asked for as the command line does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.config_file import load
from edge.reload_desk import ask
from tests.support.box import Box


def reload(box: Box, *links: str, verb: str = "apply", force: bool = False, more: str | None = None) -> list[str]:
    """The box takes these `[[links]]` (as `box.links` holds them); what it says. Fails where it refuses."""
    accepted, lines = wish(box, *links, verb=verb, force=force, more=more)
    assert accepted, lines
    return lines


def wish(
    box: Box, *links: str, verb: str = "apply", force: bool = False, more: str | None = None
) -> tuple[bool, list[str]]:
    file = wanted(box, *links, more=more)
    named = {"name": str(file), "folder": str(file.parent), "source": "command"}
    return ask(load(box.config), verb, text=file.read_text(encoding="utf-8"), force=force, **named)


def wanted(box: Box, *links: str, more: str | None = None) -> Path:
    """A file with these links beside the box's own."""
    folder = box.folder / "wanted"
    folder.mkdir(exist_ok=True)
    other = replace(box, links=list(links), more=box.more if more is None else more, _process=None)
    other.folder = folder
    other.write_config()
    text = other.config.read_text(encoding="utf-8").replace('path = "box.db"', f'path = "{box.store}"')
    file = box.folder / "wanted.toml"
    file.write_text(text, encoding="utf-8")
    return file


def link(id_: str, driver: str, port: int, more: str = "") -> str:
    place = f'{{ kind = "tcp_listen", host = "127.0.0.1", port = {port} }}'
    return f'[[links]]\nid = "{id_}"\ndriver = "{driver}"\nport = {place}\n{more}'


def configuration(box: Box) -> dict[str, Any]:
    """What the box says of it."""
    status = box.status()
    assert status is not None
    found: dict[str, Any] = status["configuration"]
    return found


def state_of(box: Box, link_id: str) -> dict[str, Any]:
    status = box.status()
    assert status is not None
    return next((each for each in status["links"] if each["link"] == link_id), {})
