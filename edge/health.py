"""What the box says of itself: to the cloud (`GatewayState`), and in a small file that `edge status` reads.

Health is not connectivity: nothing restarts or drops because the cloud is away.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge import logs, supervise
from edge.clock import Clock
from edge.config import BoxConfig
from edge.interpreter import software_version
from edge.links import Served as Served
from edge.store.reader import Reader
from edge.store.rows import LinkPosition
from edge.store.store import Store, is_open
from protocols.uplink.envelope import GatewayState, LinkState

WRITE_EVERY_S = 2.0
STALE_AFTER_S = 15.0
_BLOCK_BYTES, _SPARE_BYTES = 4096, 1024
"""The file takes whole blocks, with room for a longer state."""
_TRIES, _AGAIN_S = 5, 0.02


class Health:
    """Reads the sessions, ports and the store; holds nothing of its own. `configuration` tells of `edge.reload`."""

    def __init__(
        self, config: BoxConfig, store: Store, reader: Reader, clock: Clock, served: Mapping[str, Served]
    ) -> None:
        self._config = config
        self._store = store
        self._reader = reader
        self._clock = clock
        self._served = served
        self.configuration: Callable[[], Mapping[str, Any]] = dict
        self._started_at = clock.now().at

    def gateway_state(self) -> GatewayState:
        now = self._clock.now()
        positions = {each.link: each for each in self._reader.positions()}
        configuration = self.configuration()
        return GatewayState(
            gateway=self._config.gateway.id,
            epoch=self._store.epoch,
            at=now.at,
            clock_sure=now.sure,
            software=software_version(),
            worklist_revision=self._reader.worklist_revision(),
            links=tuple(self._link_state(link, served, positions.get(link)) for link, served in self._served.items()),
            bytes_free=self._store.bytes_free(),
            configuration=configuration.get("number", 0),
            configuration_digest=configuration.get("digest", ""),
            configuration_trial=configuration.get("trial") is not None,
            configuration_note=configuration.get("note", ""),
            store=self._store.condition(),
        )

    def _link_state(self, link: str, served: Served, position: LinkPosition | None) -> LinkState:
        counts = served.session.counts
        return LinkState(
            link=link,
            state=str(served.port.state),
            driver=served.session.interpreter.driver_id,
            last_received_at=position.last_received_at if position else None,
            last_sequence=position.last_sequence if position else 0,
            waiting=position.waiting if position else 0,
            refused_frames=counts.refused_frames,
            answered_queries=counts.answered_queries,
            reason=str(served.port.reason or ""),
            options=served.section.options,
        )

    def snapshot(self, cloud: Mapping[str, Any]) -> dict[str, Any]:
        """Everything `edge status` shows; `cloud` is what the forwarder says."""
        state = json.loads(self.gateway_state().to_bytes())
        for each in state["links"]:
            served = self._served[each["link"]]
            each["reason"] = served.port.reason
            each["counts"] = asdict(served.session.counts)
        writer = self._store.writer
        return {
            "pid": os.getpid(),
            "written_at": datetime.now(UTC).isoformat(),
            "started_at": self._started_at.isoformat(),
            **state,
            "configuration": dict(self.configuration()),
            "tasks": supervise.report(),
            "log_lines_lost": logs.lines.lost,
            "cloud": dict(cloud),
            "store": {
                "path": str(self._store.path),
                "groups": writer.groups,
                "pieces": writer.pieces,
                "failures": writer.failures,
                **self._store.condition(),
            },
        }


def write_snapshot(file: Path, snapshot: Mapping[str, Any]) -> None:
    """Whole or not at all, and not synced: after a power cut nobody asks for it.

    On a full disk over the old one, in its blocks: just then somebody will look. Raises `OSError` where it has none.
    """
    text = json.dumps(snapshot, ensure_ascii=False).encode()
    data = text.ljust(-(-(len(text) + _SPARE_BYTES) // _BLOCK_BYTES) * _BLOCK_BYTES)
    temporary = file.with_name(file.name + ".new")
    try:
        temporary.write_bytes(data)
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)
        if len(text) > file.stat().st_size:
            raise
        with file.open("r+b") as old:
            old.write(text.ljust(file.stat().st_size))


def read_snapshot(config: BoxConfig, now: Callable[[], float] = time.time) -> tuple[dict[str, Any] | None, str]:
    """What the box last said, and why it is not to be believed ("" when it is)."""
    file = config.status_file
    try:
        age_s = now() - file.stat().st_mtime
        snapshot = _read_whole(file)
    except OSError:
        return None, f"there is no state at {file}: the daemon has not run with this configuration"
    if not is_open(config.store.path):
        return snapshot, f"the daemon does not run; this is its state of {age_s:.0f} s ago"
    if age_s > STALE_AFTER_S:
        return snapshot, f"the daemon hangs: its state is {age_s:.0f} s old"
    return snapshot, ""


def _read_whole(file: Path) -> dict[str, Any]:
    """Once more where it is just being written over."""
    for _ in range(_TRIES):
        with suppress(ValueError):
            found: dict[str, Any] = json.loads(file.read_bytes())
            return found
        time.sleep(_AGAIN_S)
    raise OSError(f"{file} is cut off")
