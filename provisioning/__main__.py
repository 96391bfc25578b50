"""`xinglin-provision`: the first files of a gateway and of its broker."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from provisioning.box import box_configuration, parse_broker, parse_console, parse_link
from provisioning.broker import access_list, broker_configuration
from provisioning.console_key import hash_of, new_key
from provisioning.errors import ProvisioningError
from provisioning.service import RULES_NAME, UNIT_NAME, parse_adapter, udev_rules, unit

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


def _write(path: Path, text: str) -> None:
    if path.exists():
        raise ProvisioningError(f"{path} exists already; remove it first or give another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    typer.echo(f"written: {path}")


@app.command()
def box(
    gateway: Annotated[str, typer.Option(help="Name of the box, as registered in the cloud")],
    campus: Annotated[str, typer.Option(help="Code of the campus where the box stands")],
    output: Annotated[Path, typer.Option(help="Where edge.toml is written")],
    broker: Annotated[str, typer.Option(help="HOST:PORT of the broker")],
    link: Annotated[list[str], typer.Option(help="LINK:DRIVER:PORT, once per analyzer")],
    partition: Annotated[int, typer.Option(min=0)] = 0,
    store: Annotated[str, typer.Option(help="The box's database")] = "/var/lib/xinglin/edge.sqlite3",
    ca_file: Annotated[str | None, typer.Option(help="Whom the box trusts as broker")] = None,
    certificate_file: Annotated[str | None, typer.Option(help="The box's certificate")] = None,
    key_file: Annotated[str | None, typer.Option(help="The box's key")] = None,
    console: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the box serves its own page, with a key drawn here")
    ] = None,
) -> None:
    """Write a gateway's configuration."""
    key = new_key()
    text = box_configuration(
        gateway=gateway,
        campus=campus,
        partition=partition,
        broker=parse_broker(broker, ca_file, certificate_file, key_file),
        store=store,
        links=[parse_link(each) for each in link],
        console=parse_console(console, hash_of(key)) if console else None,
    )
    _write(output, text)
    if console:
        typer.echo(f"The key of the box's page, for its label (it is kept nowhere): {key}")


@app.command()
def service(
    config: Annotated[Path, typer.Option(help="The box's configuration, as `box` wrote it")],
    folder: Annotated[Path, typer.Option(help="Where the unit and the rules are written")],
    config_path: Annotated[
        str, typer.Option(help="Where the configuration lies on the box")
    ] = "/etc/xinglin/edge.toml",
    python: Annotated[str, typer.Option(help="The interpreter on the box")] = "/opt/xinglin/venv/bin/python",
    serial: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:path|serial:VALUE", help="A serial adapter that becomes /dev/xinglin/NAME"),
    ] = None,
) -> None:
    """Write the systemd unit and the udev rules of a box."""
    try:
        configuration = config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProvisioningError(f"{config}: {error}") from error
    rules = udev_rules([parse_adapter(each) for each in serial or []])
    text = unit(config=PurePosixPath(config_path), configuration=configuration, python=PurePosixPath(python))
    _write(folder / UNIT_NAME, text)
    _write(folder / RULES_NAME, rules)
    typer.echo(
        "On the box, as root:\n"
        "  useradd --system --home-dir /var/lib/xinglin --groups dialout xinglin\n"
        f"  install -D -m 640 -g xinglin {config.name} {config_path}\n"
        f"  install -m 644 {UNIT_NAME} /etc/systemd/system/\n"
        f"  install -m 644 {RULES_NAME} /etc/udev/rules.d/\n"
        "  udevadm control --reload && udevadm trigger --subsystem-match=tty\n"
        f"  systemctl daemon-reload && systemctl enable --now {UNIT_NAME}"
    )


@app.command()
def broker(
    folder: Annotated[Path, typer.Option(help="Where mosquitto.conf and acl are written")],
    ca_file: Annotated[str, typer.Option()],
    certificate_file: Annotated[str, typer.Option()],
    key_file: Annotated[str, typer.Option()],
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8883,
    ingest: Annotated[list[str] | None, typer.Option(help="Certificate name of each ingest worker")] = None,
    publisher: Annotated[list[str] | None, typer.Option(help="Certificate name of each job worker")] = None,
) -> None:
    """Write the broker's configuration and access list."""
    acl = access_list(ingest_users=ingest or ["ingest"], publisher_users=publisher or ["jobs"])
    _write(folder / "acl", acl)
    _write(
        folder / "mosquitto.conf",
        broker_configuration(
            port=port, ca_file=ca_file, certificate_file=certificate_file, key_file=key_file, folder=str(folder)
        ),
    )


def main() -> None:
    try:
        app(standalone_mode=True)
    except ProvisioningError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
