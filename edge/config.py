"""The configuration of one box: frozen, typed, closed. Read once from a TOML file and handed down as values.

`config_file.load` makes it. Whether the files it names exist is asked by `edge check` only: a box whose certificate is
gone still serves the bench.
"""

from __future__ import annotations

import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from protocols.uplink.envelope import UplinkError, check_name

AUTO = "auto"


def _name(value: str) -> str:
    try:
        return check_name(value)
    except UplinkError as error:
        raise ValueError(str(error)) from None


def _zone(value: str) -> str:
    if value not in zoneinfo.available_timezones():
        raise ValueError(f"{value!r} is no time zone; take one like Asia/Shanghai")
    return value


def _given(value: str) -> str:
    if not value.strip():
        raise ValueError("it is empty")
    return value


Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, AfterValidator(_given)]
TimeZone = Annotated[str, AfterValidator(_zone)]
FilePath = Annotated[Path, Field(strict=False)]
TcpPort = Annotated[int, Field(ge=1, le=65535)]


class Closed(BaseModel):
    """Every section: no unknown key, no silent conversion, no change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class GatewaySection(Closed):
    id: Name = Field(description="the box's name as the cloud registered it")
    campus: Name = Field(description="code of the campus the box stands in")
    partition: int = Field(ge=0, le=255, description="the partition the cloud gave this box")


class StoreSection(Closed):
    path: FilePath = Field(description="the store's file, on a disk that honours fsync")
    keep_delivered_days: int = Field(30, ge=0, le=3650)
    """How long raw bytes and messages stay on the box after the cloud's receipt."""
    max_megabytes: int = Field(4096, ge=1)
    """Bound of the store's file. Near it delivered messages go early; undelivered never: then the bench is refused."""


class CloudSection(Closed):
    host: Text = Field(description="name or address of the broker")
    port: TcpPort = 8883
    username: Text | None = None
    password_file: FilePath | None = None
    tls: bool | None = None
    """Default: with TLS when one of the files below is given."""
    ca_file: FilePath | None = None
    certificate_file: FilePath | None = None
    key_file: FilePath | None = None
    window: int = Field(200, ge=1, le=10_000)
    """Messages sent and not yet covered by a receipt, at most."""
    batch: int = Field(20, ge=1, le=1000)
    """Messages in one publish, at most."""
    receipt_timeout_s: float = Field(300.0, gt=0, strict=False)
    """A message without a receipt is sent again after this long (and after every reconnect)."""
    reconnect_longest_s: float = Field(300.0, gt=0, strict=False)
    """Bound of the wait between two attempts to connect; the wait itself is drawn between 0 and the bound."""

    @model_validator(mode="after")
    def _certificate_with_key(self) -> CloudSection:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        return self

    @property
    def uses_tls(self) -> bool:
        return bool(self.ca_file or self.certificate_file) if self.tls is None else self.tls


class TcpListen(Closed):
    """The instrument connects to us; a new connection replaces the old one."""

    kind: Literal["tcp_listen"]
    host: Text = "0.0.0.0"  # noqa: S104 - instruments are on the bench's own network
    port: TcpPort = Field(description="the TCP port that the instrument connects to")
    peers: tuple[str, ...] = Field((), strict=False)
    """Addresses that may connect; empty: any."""


class TcpDial(Closed):
    """We connect to the instrument or to its serial server."""

    kind: Literal["tcp_dial"]
    host: Text = Field(description="address of the instrument")
    port: TcpPort = Field(description="the TCP port of the instrument")


class SerialLine(Closed):
    """A tty, or a pty that stands in for one."""

    kind: Literal["serial"]
    device: FilePath = Field(description="the line's device, such as /dev/ttyUSB0")
    baud_rate: int = Field(9600, ge=50, le=4_000_000)
    data_bits: Literal[5, 6, 7, 8] = 8
    parity: Literal["none", "even", "odd", "mark", "space"] = "none"
    stop_bits: Literal[1, 2] = 1
    flow_control: Literal["none", "rtscts", "xonxoff"] = "none"


class FileDrop(Closed):
    """A folder into which the instrument's program writes its results.

    A file is taken when it is complete: it stopped changing, or what `end_mark` or `end_text` waits for is there. It is
    moved into `taken/` below the folder when it is durable, never before, and never deleted.
    """

    kind: Literal["file_drop"]
    folder: FilePath = Field(description="the folder that the instrument's program writes into")
    pattern: Text = "*"
    """Names of result files, such as "*.csv"; files that begin with a dot never count."""
    encoding: Text | None = None
    """The files' character set, such as "gb18030"; without it each file is looked at."""
    settle_s: float = Field(2.0, ge=0, le=3600, strict=False)
    """A file that did not change for so long has been written to its end. 0: it is renamed into place when complete."""
    end_mark: Text | None = None
    """A suffix such as ".ok": x.csv is complete when x.csv.ok lies beside it."""
    end_text: Text | None = None
    """What the last line of a complete file holds."""
    max_kilobytes: int = Field(16 * 1024, ge=1, le=64 * 1024)
    """A larger file stays where it is, and the link says so."""
    look_every_s: float = Field(1.0, gt=0, le=3600, strict=False)

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            "".encode(value or "utf-8")
        except LookupError:
            raise ValueError(f"{value!r} is no character set that is known; take one like gb18030 or utf-8") from None
        return value


PortSection = Annotated[TcpListen | TcpDial | SerialLine | FileDrop, Field(discriminator="kind")]


class LinkSection(Closed):
    """One instrument's line."""

    id: Name = Field(description="the line's name in the cloud, unique on this box")
    driver: str = Field(description=f'the instrument\'s driver, or "{AUTO}" to recognise each message')
    port: PortSection = Field(description='such as { kind = "tcp_listen", port = 5001 }')
    timezone: TimeZone = "Asia/Shanghai"
    """The instrument's wall clock: the times in our answers are given in it."""
    options: dict[str, Any] = Field({}, description="what this instrument's driver wants to know of this instrument")
    """Settings of one instrument that its driver reads (`Driver.configured`), such as the columns of a table."""


class HealthSection(Closed):
    file: FilePath | None = None
    """Where the daemon writes its state for `edge status`; default: beside the store."""


class BoxConfig(Closed):
    """Everything one box needs to know."""

    gateway: GatewaySection = Field(description="who this box is")
    store: StoreSection = Field(description="where it keeps what it received")
    cloud: CloudSection = Field(description="where it sends what it received")
    links: tuple[LinkSection, ...] = Field(strict=False, description="one [[links]] for each instrument")
    health: HealthSection = HealthSection()

    @property
    def status_file(self) -> Path:
        return self.health.file or self.store.path.with_name(self.store.path.name + ".status.json")
