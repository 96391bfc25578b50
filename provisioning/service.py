"""What the operating system of a box needs: a unit for systemd and stable names for serial adapters. Text in, text out.

``/dev/ttyUSB0`` is whichever adapter was found first; after a power cut that may be another analyzer's. A rule names an
adapter by where it is plugged in (`path`) or by its own serial number (`serial`), as ``/dev/xinglin/NAME``.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from protocols.uplink.topics import UplinkError, check_name
from provisioning.errors import ProvisioningError

STATE_FOLDER = PurePosixPath("/var/lib/xinglin")
UNIT_NAME = "xinglin-edge.service"
RULES_NAME = "99-xinglin-serial.rules"

_UNIT = Path(__file__).parent / "systemd" / UNIT_NAME
_VALUE = re.compile(r"[A-Za-z0-9._:+@-]{1,200}")
_INTERFACE = re.compile(r"[0-9A-Fa-f]{2}")
_FOLDER = re.compile(r"/[^\s\"'%\\]*")

_GENERAL = """\
# Serial adapters of a Xinglin box. Written by `xinglin-provision service`.
# What stands behind a name: udevadm info -q property -n /dev/ttyUSB0
ACTION=="remove", GOTO="xinglin_end"

# No power saving and no 16 ms of gathering on the way: an analyzer waits for its ACK.
SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", TEST=="power/control", ATTR{power/control}="on"
SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", TEST=="latency_timer", ATTR{latency_timer}="1"
SUBSYSTEM!="tty", GOTO="xinglin_end"
KERNEL!="ttyUSB*|ttyACM*|ttyXRUSB*|ttyS*|ttyAMA*", GOTO="xinglin_end"
# A modem's manager would talk to the analyzer.
ENV{ID_MM_PORT_IGNORE}="1"
GROUP="dialout", MODE="0660"
"""


@dataclass(frozen=True, slots=True)
class Adapter:
    """``bs-1:path:pci-0000:00:14.0-usb-0:2:1.0`` or ``bs-1:serial:FTABC123`` (with ``/01`` for its second port)."""

    name: str
    by: str
    value: str
    interface: str | None = None


def parse_adapter(answer: str) -> Adapter:
    """Raises ProvisioningError naming the part that is wrong."""
    name, _, rest = answer.partition(":")
    by, _, value = rest.partition(":")
    if by not in ("path", "serial") or not value:
        raise ProvisioningError(
            f"{answer!r}: give NAME:path:ID_PATH or NAME:serial:ID_SERIAL_SHORT; "
            "both are printed by udevadm info -q property -n /dev/ttyUSB0"
        )
    try:
        check_name(name)
    except UplinkError as error:
        raise ProvisioningError(str(error)) from error
    interface = None
    if by == "serial" and "/" in value:
        value, _, interface = value.partition("/")
        if not _INTERFACE.fullmatch(interface):
            raise ProvisioningError(f"{answer!r}: a port is two digits as in ID_USB_INTERFACE_NUM, such as /01")
    if not _VALUE.fullmatch(value):
        raise ProvisioningError(f"{answer!r}: {value!r} is nothing that udev calls an adapter")
    return Adapter(name, by, value, interface)


def udev_rules(adapters: list[Adapter]) -> str:
    """Raises ProvisioningError for a name or an adapter that is given twice."""
    for what, found in (
        ("name", [each.name for each in adapters]),
        ("adapter", [f"{each.by}:{each.value}/{each.interface or ''}" for each in adapters]),
    ):
        if twice := {each for each in found if found.count(each) > 1}:
            raise ProvisioningError(f"{what} {', '.join(sorted(twice))} is given twice")
    lines = [_GENERAL]
    for each in adapters:
        match = f'ENV{{ID_PATH}}=="{each.value}"'
        if each.by == "serial":
            match = f'ENV{{ID_SERIAL_SHORT}}=="{each.value}"'
            if each.interface is not None:
                match += f', ENV{{ID_USB_INTERFACE_NUM}}=="{each.interface}"'
        lines.append(f'{match}, SYMLINK+="xinglin/{each.name}"')
    return "\n".join([*lines, 'LABEL="xinglin_end"']) + "\n"


def unit(*, config: PurePosixPath, configuration: str, python: PurePosixPath) -> str:
    """The unit for a box with this configuration (its text), which will lie at `config`. Raises ProvisioningError."""
    for what, path in (("--config-path", config), ("--python", python)):
        if not _FOLDER.fullmatch(str(path)):
            raise ProvisioningError(f"{what} {path}: give a path that begins with / and has no blanks")
    folders = _written(configuration)
    paths = "".join(f"ReadWritePaths=-{each}\n" for each in folders)
    text = _UNIT.read_text(encoding="utf-8")
    return text.replace("@PYTHON@", str(python)).replace("@CONFIG@", str(config)).replace("@PATHS@\n", paths + "\n")


def _written(configuration: str) -> list[str]:
    """Folders that the box writes into beside its own: those of instruments that drop files, a store elsewhere."""
    try:
        data = tomllib.loads(configuration)
        links = [each["port"] for each in data.get("links", [])]
        folders = [str(each["folder"]) for each in links if each.get("kind") == "file_drop"]
        folders.append(str(PurePosixPath(data["store"]["path"]).parent))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ProvisioningError(
            f"the configuration cannot be read ({error}): xinglin-edge check names each mistake"
        ) from error
    for each in folders:
        if not _FOLDER.fullmatch(each):
            raise ProvisioningError(f"{each!r}: systemd wants a path that begins with / and has no blanks")
    return sorted({each for each in folders if not PurePosixPath(each).is_relative_to(STATE_FOLDER)})
