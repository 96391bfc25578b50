"""A gateway's first configuration file, from a few answers: text in, text out; `xinglin-edge check` proves it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from protocols.driver import discover
from protocols.uplink.envelope import UplinkError, check_name
from provisioning.errors import ProvisioningError

_TCP = re.compile(r"^(tcp-listen|tcp-dial):(?:(?P<host>[^:\s]+):)?(?P<port>\d{1,5})$")
_SERIAL = re.compile(
    r"^serial:(?P<device>/\S+?)(?:@(?P<baud>\d+)(?:,(?P<bits>[5-8])(?P<parity>[NEO])(?P<stop>[12]))?)?$"
)


@dataclass(frozen=True, slots=True)
class LinkAnswer:
    """One analyzer's line: ``xn-1:sysmex_xn:tcp-listen:5001`` or ``bs-1:mindray_bs:serial:/dev/ttyS0@9600,8N1``."""

    link: str
    driver: str
    port: dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the box forwards to; with the three files it speaks TLS and shows its certificate."""

    host: str
    port: int
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True, slots=True)
class Console:
    """Where the box's own page is served, and the hash of the key it asks for."""

    host: str
    port: int
    key_hash: str


def parse_console(answer: str, key_hash: str) -> Console:
    """``HOST:PORT``. Raises ProvisioningError."""
    host, _, port = answer.rpartition(":")
    if not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ProvisioningError(f"--console {answer!r}: give HOST:PORT, for example 0.0.0.0:8080")
    return Console(host.strip("[]"), int(port), key_hash)


def parse_broker(answer: str, ca_file: str | None, certificate_file: str | None, key_file: str | None) -> Broker:
    """``HOST:PORT`` and the files. Raises ProvisioningError."""
    host, _, port = answer.rpartition(":")
    if not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ProvisioningError(f"--broker {answer!r}: give HOST:PORT, for example broker.hospital.example:8883")
    if (certificate_file is None) != (key_file is None):
        raise ProvisioningError("--certificate-file and --key-file belong together: give both or neither")
    return Broker(host, int(port), ca_file, certificate_file, key_file)


def parse_link(answer: str) -> LinkAnswer:
    """Raises ProvisioningError naming the part that is wrong."""
    parts = answer.split(":", 2)
    if len(parts) != 3:
        raise ProvisioningError(f"{answer!r}: a link is LINK:DRIVER:PORT, for example xn-1:sysmex_xn:tcp-listen:5001")
    link, driver, port = parts
    try:
        check_name(link)
    except UplinkError as error:
        raise ProvisioningError(str(error)) from error
    known = sorted(discover())
    if driver != "auto" and driver not in known:
        raise ProvisioningError(f"{driver!r} is no driver; there are: auto, {', '.join(known)}")
    return LinkAnswer(link, driver, _parse_port(port))


def _parse_port(text: str) -> dict[str, str | int]:
    if match := _TCP.match(text):
        kind = match[1].replace("-", "_")
        if kind == "tcp_dial" and not match["host"]:
            raise ProvisioningError(f"{text!r}: give the analyzer's address, for example tcp-dial:192.0.2.10:5000")
        number = int(match["port"])
        if not 1 <= number <= 65535:
            raise ProvisioningError(f"{text!r}: a TCP port is 1 to 65535")
        return {"kind": kind, "host": match["host"] or "0.0.0.0", "port": number}  # noqa: S104 - analyzers dial in
    if match := _SERIAL.match(text):
        found: dict[str, str | int] = {
            "kind": "serial",
            "device": match["device"],
            "baud_rate": int(match["baud"] or 9600),
        }
        if match["bits"]:
            found |= {
                "data_bits": int(match["bits"]),
                "parity": {"N": "none", "E": "even", "O": "odd"}[match["parity"]],
                "stop_bits": int(match["stop"]),
            }
        return found
    raise ProvisioningError(
        f"{text!r} is no port; give tcp-listen:[HOST:]PORT, tcp-dial:HOST:PORT or serial:DEVICE[@BAUD[,8N1]]"
    )


def _toml(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def box_configuration(
    *,
    gateway: str,
    campus: str,
    partition: int,
    broker: Broker,
    store: str,
    links: list[LinkAnswer],
    console: Console | None = None,
) -> str:
    """The TOML text. Raises ProvisioningError for names that cannot stand in a topic and for links given twice."""
    try:
        check_name(gateway)
    except UplinkError as error:
        raise ProvisioningError(str(error)) from error
    names = [each.link for each in links]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ProvisioningError(f"link {', '.join(sorted(twice))} is given twice; every line has a name of its own")
    if not links:
        raise ProvisioningError("give at least one --link")
    lines = [
        f"# Gateway {gateway}. Check it with: xinglin-edge check FILE",
        "[gateway]",
        f"id = {_toml(gateway)}",
        f"campus = {_toml(campus)}",
        f"partition = {partition}",
        "",
        "[store]",
        f"path = {_toml(store)}",
        "",
        "[cloud]",
        f"host = {_toml(broker.host)}",
        f"port = {broker.port}",
    ]
    for key in ("ca_file", "certificate_file", "key_file"):
        if value := getattr(broker, key):
            lines.append(f"{key} = {_toml(value)}")
    if console is not None:
        lines += ["", "[console]", f"host = {_toml(console.host)}", f"port = {console.port}"]
        lines.append(f"key_hash = {_toml(console.key_hash)}")
    for each in links:
        port = ", ".join(f"{key} = {_toml(value)}" for key, value in each.port.items())
        lines += ["", "[[links]]", f"id = {_toml(each.link)}", f"driver = {_toml(each.driver)}", f"port = {{ {port} }}"]
    return "\n".join(lines) + "\n"
