"""The configuration of one box: frozen, typed, closed. Read from a TOML file and handed down as values.

`config_file.load` makes it. Whether the files it names exist is asked by `edge check` only: a box whose certificate is
gone still serves the bench.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import fields

from protocols.uplink.topics import UplinkError, check_name

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a type cannot say of a value; beside it in `Annotated`."""

    broken: Callable[[str], str]
    """(value) -> why it cannot be taken, or ""."""


def _name(value: str) -> str:
    try:
        check_name(value)
    except UplinkError as error:
        return str(error)
    return ""


def _zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return f"{value!r} is no time zone; take one like Asia/Shanghai"
    return ""


def _given(value: str) -> str:
    return "" if value.strip() else "it is empty"


def _encoding(value: str) -> str:
    try:
        "".encode(value)
    except LookupError:
        return f"{value!r} is no character set that is known; take one like gb18030 or utf-8"
    return _given(value)


Name = Annotated[str, Rule(_name)]
Text = Annotated[str, Rule(_given)]
TimeZone = Annotated[str, Rule(_zone)]
Encoding = Annotated[str, Rule(_encoding)]
TcpPort = Annotated[int, Meta(ge=1, le=65535)]
BaudRate = Annotated[int, Meta(ge=50, le=4_000_000)]
Parity = Literal["none", "even", "odd", "mark", "space"]
FlowControl = Literal["none", "rtscts", "xonxoff"]


class Closed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every section: no unknown key, no silent conversion, no change after loading.

    A required key carries a `description`, which the file's author reads when it is missing.
    """

    def contradiction(self) -> str:
        """What is wrong between its values; "" when nothing is."""
        return ""


class GatewaySection(Closed, frozen=True, kw_only=True):
    id: Annotated[Name, Meta(description="the box's name as the cloud registered it")]
    campus: Annotated[Name, Meta(description="code of the campus the box stands in")]
    partition: Annotated[int, Meta(ge=0, le=255, description="the partition the cloud gave this box")]


class StoreSection(Closed, frozen=True, kw_only=True):
    path: Annotated[Path, Meta(description="the store's file, on a disk that honours fsync")]
    keep_delivered_days: Annotated[int, Meta(ge=0, le=3650)] = 30
    """How long raw bytes and messages stay on the box after the cloud's receipt."""
    max_megabytes: Annotated[int, Meta(ge=1)] = 4096
    """Bound of the store's file. Near it delivered messages go early; undelivered never: then the bench is refused."""
    ballast_megabytes: Annotated[int, Meta(ge=0)] = 16
    """Part of the bound (at most a quarter): a file that is given up on a full disk, so that pruning can run."""


class CloudSection(Closed, frozen=True, kw_only=True):
    host: Annotated[Text, Meta(description="name or address of the broker")]
    port: TcpPort = 8883
    username: Text | None = None
    password_file: Path | None = None
    tls: bool | None = None
    """Default: with TLS when one of the files below is given."""
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    window: Annotated[int, Meta(ge=1, le=10_000)] = 200
    """Messages sent and not yet covered by a receipt, at most."""
    batch: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Messages in one publish, at most."""
    receipt_timeout_s: Annotated[float, Meta(gt=0)] = 300.0
    """A message without a receipt is sent again after this long (and after every reconnect)."""
    reconnect_longest_s: Annotated[float, Meta(gt=0)] = 300.0
    """Bound of the wait between two attempts to connect; the wait itself is drawn between 0 and the bound."""

    def contradiction(self) -> str:
        alone = (self.certificate_file is None) != (self.key_file is None)
        return "certificate_file and key_file go together" if alone else ""

    @property
    def uses_tls(self) -> bool:
        return bool(self.ca_file or self.certificate_file) if self.tls is None else self.tls


class TcpListen(Closed, frozen=True, kw_only=True):
    """The instrument connects to us; a new connection replaces the old one."""

    kind: Literal["tcp_listen"] = "tcp_listen"
    host: Text = "0.0.0.0"  # noqa: S104 - instruments are on the bench's own network
    port: Annotated[TcpPort, Meta(description="the TCP port that the instrument connects to")]
    peers: tuple[str, ...] = ()
    """Addresses that may connect; empty: any."""


class TcpDial(Closed, frozen=True, kw_only=True):
    """We connect to the instrument or to its serial server."""

    kind: Literal["tcp_dial"] = "tcp_dial"
    host: Annotated[Text, Meta(description="address of the instrument")]
    port: Annotated[TcpPort, Meta(description="the TCP port of the instrument")]


class SerialLine(Closed, frozen=True, kw_only=True):
    """A tty, or a pty that stands in for one."""

    kind: Literal["serial"] = "serial"
    device: Annotated[Path, Meta(description="the line's device, such as /dev/ttyUSB0")]
    baud_rate: BaudRate = 9600
    data_bits: Literal[5, 6, 7, 8] = 8
    parity: Parity = "none"
    stop_bits: Literal[1, 2] = 1
    flow_control: FlowControl = "none"


class Rfc2217(Closed, frozen=True, kw_only=True):
    """A serial server that lets its line be set over the network; one that passes raw bytes is `tcp_dial`."""

    kind: Literal["rfc2217"] = "rfc2217"
    host: Annotated[Text, Meta(description="address of the serial server")]
    port: Annotated[TcpPort, Meta(description="the TCP port of the serial server's line")]
    baud_rate: BaudRate = 9600
    data_bits: Literal[5, 6, 7, 8] = 8
    parity: Parity = "none"
    stop_bits: Literal[1, 2] = 1
    flow_control: FlowControl = "none"


class FileDrop(Closed, frozen=True, kw_only=True):
    """A folder into which the instrument's program writes its results.

    A file is taken when it is complete: it stopped changing, or what `end_mark` or `end_text` waits for is there. It is
    moved into `taken/` below the folder when it is durable, never before, and never deleted.
    """

    kind: Literal["file_drop"] = "file_drop"
    folder: Annotated[Path, Meta(description="the folder that the instrument's program writes into")]
    pattern: Text = "*"
    """Names of result files, such as "*.csv"; files that begin with a dot never count."""
    encoding: Encoding | None = None
    """The files' character set, such as "gb18030"; without it each file is looked at."""
    settle_s: Annotated[float, Meta(ge=0, le=3600)] = 2.0
    """A file that did not change for so long has been written to its end. 0: it is renamed into place when complete."""
    end_mark: Text | None = None
    """A suffix such as ".ok": x.csv is complete when x.csv.ok lies beside it."""
    end_text: Text | None = None
    """What the last line of a complete file holds."""
    max_kilobytes: Annotated[int, Meta(ge=1, le=64 * 1024)] = 16 * 1024
    """A larger file stays where it is, and the link says so."""
    look_every_s: Annotated[float, Meta(gt=0, le=3600)] = 1.0


PortSection = TcpListen | TcpDial | SerialLine | Rfc2217 | FileDrop


def place_of(port: PortSection) -> str:
    """Where an instrument is, for people: what differs from the defaults, such as "kind tcp_listen, port 5001"."""
    settings = [(each.name, getattr(port, each.name), each.default) for each in fields(port)]
    return ", ".join(f"{name} {value}" for name, value, default in settings if name == "kind" or value != default)


class LinkSection(Closed, frozen=True, kw_only=True):
    """One instrument's line."""

    id: Annotated[Name, Meta(description="the line's name in the cloud, unique on this box")]
    driver: Annotated[str, Meta(description=f'the instrument\'s driver, or "{AUTO}" to recognise each message')]
    port: Annotated[PortSection, Meta(description='such as { kind = "tcp_listen", port = 5001 }')]
    timezone: TimeZone = "Asia/Shanghai"
    """The instrument's wall clock: the times in our answers are given in it."""
    options: Annotated[
        dict[str, Any], Meta(description="what this instrument's driver wants to know of this instrument")
    ] = {}
    """Settings of one instrument that its driver reads (`Driver.configured`), such as the columns of a table."""
    orders: Literal["query", "download", "both"] | None = None
    """The instrument asks for its orders, is told them, or both; default: told only where it cannot ask."""
    ask_cloud_s: Annotated[float, Meta(ge=0, le=30)] | None = None
    """How long a host query about a tube that the box does not know waits for the cloud (seconds; 0: not at all).

    Default 3, of instruments that speak plain text 1. Less than the instrument itself waits for its answer.
    """


class HealthSection(Closed, frozen=True, kw_only=True):
    file: Path | None = None
    """Where the daemon writes its state for `edge status`; default: beside the store."""


class ReloadSection(Closed, frozen=True, kw_only=True):
    """How a running box takes another configuration."""

    patience_s: Annotated[float, Meta(ge=0, le=600)] = 60.0
    """A link that changes may finish the message it is in the middle of for so long."""
    window_s: Annotated[float, Meta(ge=0, le=86400)] = 300.0
    """So long a changed link must stay healthy; else the box takes back its change. 0: nothing is taken back."""
    dry_run_messages: Annotated[int, Meta(ge=0, le=1000)] = 50
    """So many of a link's newest messages are read with its new settings before they are applied."""
    history: Annotated[int, Meta(ge=2, le=1000)] = 10
    """Configurations that are kept."""


def _key_hash(value: str) -> str:
    from provisioning.console_key import complaint

    return complaint(value)


class ConsoleSection(Closed, frozen=True, kw_only=True):
    """The box's own page, for an engineer with a phone at the bench; it needs neither network nor cloud."""

    host: Text = "127.0.0.1"
    """Address that the page is served on; others than this machine reach it with a `key_hash` only."""
    port: TcpPort | None = None
    """TCP port of the page. Without it only the command line on the box reaches the console."""
    key_hash: Annotated[str, Rule(_key_hash)] | None = None
    """Hash of the key that is asked for at sign-in; `edge console-key` makes both."""

    def contradiction(self) -> str:
        if self.key_hash is None and self.port is not None and self.host not in ("127.0.0.1", "::1", "localhost"):
            return "others can reach this page: add a key_hash, made with `edge console-key`"
        return ""


class BoxConfig(Closed, frozen=True, kw_only=True):
    """Everything one box needs to know."""

    gateway: Annotated[GatewaySection, Meta(description="who this box is")]
    store: Annotated[StoreSection, Meta(description="where it keeps what it received")]
    cloud: Annotated[CloudSection, Meta(description="where it sends what it received")]
    links: Annotated[tuple[LinkSection, ...], Meta(description="one [[links]] for each instrument")]
    health: HealthSection = HealthSection()
    reload: ReloadSection = ReloadSection()
    console: ConsoleSection = ConsoleSection()

    @property
    def status_file(self) -> Path:
        return self.health.file or self.store.path.with_name(self.store.path.name + ".status.json")
