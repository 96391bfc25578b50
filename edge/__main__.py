"""``python -m edge``: run the box, check a configuration, decode a capture, ask a running box how it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The daemon on the box beside the analyzers.")

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="the box's TOML file")]


@app.command()
def run(config: ConfigFile) -> None:
    """Serve the bench until SIGTERM or Ctrl-C. Exit 1: the configuration is wrong; 2: the store cannot be opened."""
    import asyncio

    from edge.config_file import load
    from edge.daemon import Daemon
    from edge.errors import ConfigError, StoreError
    from edge.logs import set_up

    set_up()
    try:
        asyncio.run(Daemon(load(config)).run())
    except ConfigError as error:
        _fail("\n".join(error.lines()), 1)
    except StoreError as error:
        _fail(f"the store cannot be opened: {error}", 2)


@app.command()
def check(config: ConfigFile) -> None:
    """Name every mistake of a configuration as `file:line: what — cure`; exit 1 if there is one."""
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
        settings = link.port.model_dump(mode="json", exclude_defaults=True)
        place = ", ".join(f"{key} {value}" for key, value in settings.items())
        typer.echo(f"  {link.id}: driver {link.driver}, {place}")


@app.command()
def decode(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="captured bytes of an instrument")],
    driver: Annotated[str | None, typer.Option(help="the instrument's driver; default: recognised")] = None,
) -> None:
    """Print what captured files hold, one JSON object a line."""
    from edge.decode import main as decode_files

    raise typer.Exit(decode_files(files, driver))


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


def _fail(message: str, code: int) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
