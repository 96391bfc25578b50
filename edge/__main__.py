"""``python -m edge``: run the box, check a configuration, decode a capture, name an unknown line, ask a running box."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from edge import start

if __name__ == "__main__" and start.is_plain_run(sys.argv[1:]):  # the daemon does without what follows
    sys.exit(start.run(Path(sys.argv[2])))

import typer

if TYPE_CHECKING:
    from edge.config import BoxConfig

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The daemon on the box beside the analyzers.")

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="the box's TOML file")]


@app.command()
def run(config: ConfigFile) -> None:
    """Serve the bench until SIGTERM or Ctrl-C. Exit 1: the configuration is wrong; 2: the store cannot be opened."""
    raise typer.Exit(start.run(config))


@app.command()
def check(config: ConfigFile) -> None:
    """Name every mistake of a configuration as `file:line: what — cure`; exit 1 if there is one."""
    from edge.config import place_of
    from edge.config_file import load, missing_files
    from edge.errors import ConfigError

    try:
        box = load(config)
        mistakes = missing_files(box, config)
        if mistakes:
            raise ConfigError(str(config), mistakes)
    except ConfigError as error:
        for line in error.lines():
            typer.echo(line)
        raise typer.Exit(1) from None
    typer.echo(f"{config}: good. Box {box.gateway.id}, campus {box.gateway.campus}, partition {box.gateway.partition}")
    for link in box.links:
        typer.echo(f"  {link.id}: driver {link.driver}, {place_of(link.port)}")


@app.command()
def decode(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="captured bytes; a folder for all in it, - for standard input"),
    ],
    driver: Annotated[str | None, typer.Option(help="the instrument's driver; default: recognised")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="beside each item the bytes that it was read from")] = False,
    table: Annotated[bool, typer.Option("--table/--json", help="a table for people; default: JSON lines")] = False,
) -> None:
    """Print what captured files hold, one JSON object a line."""
    from edge.decode import main as decode_files

    raise typer.Exit(decode_files(files, driver, raw=raw, table=table))


@app.command()
def identify(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE...]", help="captured bytes; a name like x.9600-8N1.bin says the setting"),
    ] = None,
    tty: Annotated[Path | None, typer.Option(metavar="DEVICE", help="listen to a serial line at every rate")] = None,
    listen: Annotated[int | None, typer.Option(metavar="PORT", help="wait for an instrument that connects")] = None,
    dial: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="connect to the instrument")] = None,
    seconds: Annotated[float, typer.Option(help="how long to listen (at each setting of a serial line)")] = 20.0,
    answer: Annotated[
        bool, typer.Option("--answer", help="answer an ENQ with one ACK; a frame is never acknowledged")
    ] = False,
    save: Annotated[Path | None, typer.Option(metavar="FOLDER", help="keep the bytes that were heard")] = None,
    json_: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Propose what an unknown line is: rate, parity, protocol, vendor, driver. Sends nothing unless --answer."""
    from edge import identify as identification

    ways = [each for each in (files, tty, listen, dial) if each]
    if len(ways) != 1:
        _fail("give files, or one of --tty, --listen, --dial", 2)
    if files:
        raise typer.Exit(identification.identify_files(files, as_json=json_))
    if tty is not None:
        code = identification.identify_tty(tty, seconds, answers=answer, save=save, as_json=json_)
        raise typer.Exit(code)
    host, _, port = (dial or "").rpartition(":")
    if dial and not (host and port.isdigit()):
        _fail(f"--dial {dial}: write HOST:PORT", 2)
    place = (
        identification.Place(dial, dial_host=host, dial_port=int(port))
        if dial
        else identification.Place(f"TCP port {listen}", listen_port=listen)
    )
    code = identification.identify_tcp(place, seconds, answers=answer, save=save, as_json=json_)
    raise typer.Exit(code)


@app.command()
def status(config: ConfigFile) -> None:
    """Print what the running box says of itself as JSON; exit 1 if it does not run."""
    from edge.config_file import load
    from edge.errors import ConfigError
    from edge.health import read_snapshot

    try:
        box = load(config)
    except ConfigError as error:
        _fail("\n".join(error.lines()), 1)
    snapshot, complaint = read_snapshot(box)
    if snapshot is not None:
        typer.echo(json.dumps(snapshot, ensure_ascii=False, indent=2))
    if complaint:
        _fail(complaint, 1)


Force = Annotated[bool, typer.Option("--force", help="also where it is worse than before, or was taken back once")]


@app.command()
def reload(
    config: ConfigFile,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what it would do, and change nothing")] = False,
) -> None:
    """Give the running box another configuration: only the links that it changes notice. Exit 1: it was refused."""
    from edge.config_file import load, read_text
    from edge.errors import ConfigError
    from edge.reload_desk import NotRunning, ask

    try:
        box, text = load(config), read_text(config)
        folder = str(config.resolve().parent)
        verb = "check" if dry_run else "apply"
        name = str(config.resolve())
        accepted, lines = ask(box, verb, text=text, name=name, folder=folder, source="command", force=force)
    except (ConfigError, NotRunning) as error:
        _fail(str(error), 1)
    typer.echo("\n".join(lines))
    raise typer.Exit(0 if accepted else 1)


@app.command()
def rollback(
    config: ConfigFile,
    number: Annotated[int | None, typer.Option("--to", help="number of a kept configuration; default: before")] = None,
) -> None:
    """Put an earlier configuration in force on the running box."""
    from edge.config_file import load
    from edge.errors import ConfigError
    from edge.reload_desk import NotRunning, ask

    try:
        accepted, lines = ask(load(config), "rollback", number=number)
    except (ConfigError, NotRunning) as error:
        _fail(str(error), 1)
    typer.echo("\n".join(lines))
    raise typer.Exit(0 if accepted else 1)


@app.command()
def history(config: ConfigFile, json_: Annotated[bool, typer.Option("--json", help="as JSON")] = False) -> None:
    """The configurations that the box has had, and which one is in force."""
    from edge.config_file import load
    from edge.config_versions import Versions
    from edge.errors import ConfigError

    try:
        versions = Versions.open(load(config).store.path)
    except ConfigError as error:
        _fail(str(error), 1)
    if json_:
        typer.echo(json.dumps(versions.shown(), ensure_ascii=False, indent=2))
        return
    for each in versions.versions:
        mark = "*" if each.number == versions.in_force else " "
        typer.echo(
            f"{mark} {each.number:4}  {each.at}  {each.digest}  {each.source:8}  {each.fate}  {each.note}".rstrip()
        )


@app.command()
def monitor(
    config: ConfigFile,
    link: Annotated[str, typer.Argument(metavar="LINK", help="the link's id")],
    hex_: Annotated[bool, typer.Option("--hex", help="bytes in hexadecimal digits")] = False,
) -> None:
    """Show the bytes of a running box's line as they pass, both directions, until Ctrl-C."""
    from edge.console import client

    raise typer.Exit(_asked(lambda: client.monitor(_box(config), link, as_hex=hex_)))


@app.command()
def capture(
    config: ConfigFile,
    link: Annotated[str, typer.Argument(metavar="LINK", help="the link's id")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a new file")],
    seconds: Annotated[float, typer.Option(help="at most for so long")] = 3600.0,
    megabytes: Annotated[float, typer.Option(help="at most so much")] = 64.0,
) -> None:
    """Write the bytes of a running box's line to a file, both directions with their times, until Ctrl-C."""
    from edge.console import client

    if file.exists():
        _fail(f"{file} exists already", 2)
    raise typer.Exit(_asked(lambda: client.capture(_box(config), link, file, seconds, int(megabytes * 1024 * 1024))))


@app.command()
def replay(
    source: Annotated[Path, typer.Argument(metavar="CONFIG|FILE", help="a box's TOML file, or captured bytes")],
    driver: Annotated[str | None, typer.Option(help="the driver that reads; default: recognised")] = None,
    link: Annotated[str | None, typer.Option(help="one link of the box; default: all")] = None,
    first: Annotated[int, typer.Option("--from", metavar="SEQ", help="first sequence")] = 1,
    last: Annotated[int, typer.Option("--to", metavar="SEQ", help="last sequence")] = 2**62,
    changed: Annotated[bool, typer.Option("--changed", help="only what is read differently now")] = False,
) -> None:
    """Read a box's raw archive, or a capture, again with a driver. Nothing is stored or sent.

    Exit 1: something of the archive is read differently than the box reads it; 2: it cannot be read.
    """
    from edge.console import replay_command

    if source.suffix != ".toml":
        raise typer.Exit(replay_command.replay_file(source, driver))
    box = _box(source)
    links = [each.id for each in box.links] if link is None else [link]
    raise typer.Exit(replay_command.replay_store(box.store.path, links, driver, first, last, changed=changed))


@app.command()
def selftest(
    config: ConfigFile, lang: Annotated[str, typer.Option(help="en or zh", metavar="LANGUAGE")] = "en"
) -> None:
    """Check store, disk, decoding, links, cloud, clock and certificate of the running box; exit 1 if one is bad."""
    from edge.console import client

    raise typer.Exit(_asked(lambda: client.selftest(_box(config), lang)))


@app.command()
def console_key() -> None:
    """Draw a key for the box's page: the key for the label, and its hash for `[console] key_hash`."""
    from provisioning.console_key import hash_of, new_key

    key = new_key()
    typer.echo(f'key: {key}\nkey_hash = "{hash_of(key)}"')


def _box(config: Path) -> BoxConfig:
    from edge.config_file import load
    from edge.errors import ConfigError

    try:
        return load(config)
    except ConfigError as error:
        _fail("\n".join(error.lines()), 2)


def _asked(ask: Callable[[], int]) -> int:
    """What is asked of the running box; 2 where it does not answer."""
    from edge.console.client import NotRunning

    try:
        return ask()
    except NotRunning as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        return 0


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
