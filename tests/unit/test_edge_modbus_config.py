"""What `edge check` says to a Modbus line whose register map has a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config_file import load
from edge.errors import ConfigError

pytestmark = pytest.mark.req("GW-6", "GW-14")

BOX = """
[gateway]
id = "gw"
campus = "main"
partition = 1
[store]
path = "box.db"
[cloud]
host = "127.0.0.1"
[[links]]
id = "cold"
driver = "generic_modbus"
port = { kind = "tcp_dial", host = "10.0.0.9", port = 502 }
"""
DEVICE = """
[[links.options.devices]]
name = "fridge"
points = [{ name = "temperature", address = 1 }]
[[links.options.devices]]
name = "freezer"
points = [{ name = "temperature", address = -1 }]
"""


def told(folder: Path, text: str) -> list[str]:
    file = folder / "box.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file)
    return [str(each) for each in caught.value.mistakes]


def test_a_line_without_devices_is_a_mistake(tmp_path: Path) -> None:
    (mistake,) = told(tmp_path, BOX)
    assert "no device to read" in mistake


def test_the_point_is_named_with_its_line(tmp_path: Path) -> None:
    (mistake,) = told(tmp_path, BOX + DEVICE)
    assert "devices.1.points.0.address" in mistake
    line = 1 + (BOX + DEVICE).splitlines().index('points = [{ name = "temperature", address = -1 }]')
    assert str(line) in mistake


def test_a_right_map_is_taken(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_text(BOX + DEVICE.replace("-1", "1"), "utf-8")
    assert load(tmp_path / "box.toml").links[0].driver == "generic_modbus"
