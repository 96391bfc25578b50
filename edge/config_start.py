"""With which configuration a start begins: the file's, or the one that the box kept.

The file is a wish: another text than at the last look is tried. The same text changes nothing, so that what came from
the console or the cloud, and what the box took back, stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from edge.clock import boot_id
from edge.config import BoxConfig
from edge.config_file import parse, read_text, store_in
from edge.config_versions import Versions, digest_of
from edge.errors import ConfigError

log = structlog.get_logger()


@dataclass(slots=True)
class Chosen:
    """`config` is to be served; `versions` says so on the disk once `begin` was called with the store's lock held."""

    file: Path
    text: str
    config: BoxConfig
    versions: Versions
    use_file: bool
    """The file's text is new."""
    note: str = ""
    """Why it is not the file's configuration, where it is not."""
    previous: BoxConfig | None = None
    """What is in force again if a trial fails."""

    def begin(self) -> None:
        """Writes what was chosen. A disk that takes nothing is no reason not to serve the bench."""
        versions = self.versions
        try:
            if self.use_file:
                at = datetime.now(UTC).isoformat(timespec="seconds")
                versions.seen_file = digest_of(self.text)
                version = versions.write(self.text, folder=self.file.resolve().parent, source="file", at=at)
                if self.config.reload.window_s:
                    versions.try_out(version, boot_id())
                else:
                    versions.settle(version.number)
            versions.save(self.config.reload.history)
        except OSError as error:
            log.error("config.not_saved", folder=str(versions.folder), reason=error.strerror)
        if versions.trial is not None:
            try:
                self.previous = _kept(versions, versions.trial.previous)
            except (OSError, ConfigError) as error:
                log.error("config.previous_unreadable", reason=str(error))


def choose(file: Path) -> Chosen:
    """Reads only. Raises `ConfigError` where neither the file nor a kept configuration can be used."""
    text = read_text(file)
    folder = file.resolve().parent
    store = store_in(text, folder)
    versions = Versions.open(store) if store is not None else None
    note = versions.begin(boot_id()) if versions is not None else ""
    if versions is not None and versions.in_force and digest_of(text) == versions.seen_file:
        try:
            return Chosen(file, text, _kept(versions, versions.in_force), versions, use_file=False, note=note)
        except (OSError, ConfigError) as error:
            log.error("config.kept_unreadable", number=versions.in_force, reason=str(error))
    try:
        config = parse(text, str(file), folder)
    except ConfigError as error:
        if versions is None or not versions.in_force:
            raise
        note = f"{file} has mistakes, configuration {versions.in_force} goes on: {error.lines()[0]}"
        try:
            return Chosen(file, text, _kept(versions, versions.in_force), versions, use_file=False, note=note)
        except (OSError, ConfigError):
            raise error from None
    return Chosen(file, text, config, versions or Versions.open(config.store.path), use_file=True, note=note)


def _kept(versions: Versions, number: int) -> BoxConfig:
    """Raises `OSError` or `ConfigError`."""
    version = versions.get(number)
    folder = Path(version.folder) if version is not None else versions.folder
    return parse(versions.text_of(number), str(versions.file_of(number)), folder)
