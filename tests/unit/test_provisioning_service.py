"""The unit and the udev rules of a box, made from its configuration and the engineer's answers."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from typer.testing import CliRunner

from edge.config_file import load
from provisioning.__main__ import app
from provisioning.console_key import is_key
from provisioning.errors import ProvisioningError
from provisioning.service import parse_adapter, udev_rules, unit

CONFIG = PurePosixPath("/etc/xinglin/edge.toml")
PYTHON = PurePosixPath("/opt/xinglin/venv/bin/python")
TOML = """
[store]
path = "/var/lib/xinglin/edge.sqlite3"
[[links]]
id = "xn"
port = { kind = "tcp_listen", port = 5001 }
"""


def settings(text: str) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser["Service"]


@pytest.mark.req("GW-14", "PRV-5")
def test_the_box_is_started_again_when_its_loop_hangs_or_it_ends_and_has_no_rights_it_does_not_need() -> None:
    service = settings(unit(config=CONFIG, configuration=TOML, python=PYTHON))
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) == 30
    assert service["Restart"] == "always"
    assert service["ExecStart"] == f"{PYTHON} -m edge run {CONFIG}"
    assert service["StateDirectory"] == "xinglin"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert "ReadWritePaths" not in service
    # adjtimex tells whether the kernel's clock is synchronised: what the times of results rest on.
    assert "ProtectClock" not in service
    assert "clock_adjtime" in service["SystemCallFilter"]


@pytest.mark.req("GW-14")
def test_folders_that_instruments_write_into_can_be_written() -> None:
    more = '[[links]]\nid = "facs"\nport = { kind = "file_drop", folder = "/srv/facs" }\n'
    assert settings(unit(config=CONFIG, configuration=TOML + more, python=PYTHON))["ReadWritePaths"] == "-/srv/facs"
    elsewhere = TOML.replace("/var/lib/xinglin/", "/data/box/")
    assert settings(unit(config=CONFIG, configuration=elsewhere, python=PYTHON))["ReadWritePaths"] == "-/data/box"
    for bad in ('path = "x"', "nonsense", TOML.replace("/var/lib", "/var lib")):
        with pytest.raises(ProvisioningError):
            unit(config=CONFIG, configuration=bad, python=PYTHON)
    with pytest.raises(ProvisioningError):
        unit(config=PurePosixPath("/etc/a b.toml"), configuration=TOML, python=PYTHON)


@pytest.mark.req("GW-1")
def test_an_adapter_keeps_its_name_by_its_place_or_by_its_own_number() -> None:
    rules = udev_rules(
        [parse_adapter("bs-1:path:pci-0000:00:14.0-usb-0:2:1.0"), parse_adapter("au-1:serial:FTABC123/01")]
    )
    assert 'ENV{ID_PATH}=="pci-0000:00:14.0-usb-0:2:1.0", SYMLINK+="xinglin/bs-1"' in rules
    assert 'ENV{ID_SERIAL_SHORT}=="FTABC123", ENV{ID_USB_INTERFACE_NUM}=="01", SYMLINK+="xinglin/au-1"' in rules
    assert rules.count("xinglin_end") == rules.count('GOTO="xinglin_end"') + 1
    assert all('"' not in each.replace('\\"', "") or each.count('"') % 2 == 0 for each in rules.splitlines())


@pytest.mark.req("GW-1")
@pytest.mark.parametrize(
    "answer",
    ["bs-1", "bs-1:usb:1", "bs-1:path:", 'bs-1:serial:a"b', "b s:serial:a", "bs-1:serial:a/1", "bs-1:serial:a b"],
)
def test_an_answer_that_udev_would_misread_is_refused(answer: str) -> None:
    with pytest.raises(ProvisioningError):
        parse_adapter(answer)


@pytest.mark.req("GW-1")
def test_two_adapters_cannot_have_one_name_nor_one_adapter_two() -> None:
    one = parse_adapter("a:serial:X")
    for other in ("a:serial:Y", "b:serial:X"):
        with pytest.raises(ProvisioningError, match="twice"):
            udev_rules([one, parse_adapter(other)])


@pytest.mark.req("GW-14")
def test_the_files_of_a_box_are_written_together_and_the_key_of_its_page_is_told_once(tmp_path: Path) -> None:
    toml = tmp_path / "edge.toml"
    answers = ["--gateway", "gw-1", "--campus", "main", "--broker", "b.example:8883", "--output", str(toml)]
    told = CliRunner().invoke(
        app, ["box", *answers, "--link", "xn-1:sysmex_xn:tcp-listen:5001", "--console", "0.0.0.0:8080"]
    )
    assert told.exit_code == 0, told.output
    key = told.output.split()[-1]
    console = load(toml).console
    assert (console.host, console.port) == ("0.0.0.0", 8080)
    assert console.key_hash is not None
    assert is_key(key, console.key_hash)
    assert key not in toml.read_text()
    done = CliRunner().invoke(
        app, ["service", "--config", str(toml), "--folder", str(tmp_path), "--serial", "a:serial:X"]
    )
    assert done.exit_code == 0, done.output
    assert "systemctl enable --now" in done.output
    assert (tmp_path / "99-xinglin-serial.rules").is_file()
    if shutil.which("systemd-analyze"):
        text = (tmp_path / "xinglin-edge.service").read_text().replace("/opt/xinglin/venv/bin/python", "/bin/true")
        (tmp_path / "xinglin-edge.service").write_text(text)
        checked = subprocess.run(
            ["systemd-analyze", "verify", str(tmp_path / "xinglin-edge.service")], capture_output=True, text=True
        )
        assert "xinglin-edge" not in checked.stderr, checked.stderr
