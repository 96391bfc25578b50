"""A log that cannot be written is no fault of the task that wanted to say something."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from edge.health import write_snapshot
from edge.logs import Lines


@pytest.mark.req("GW-9")
def test_a_line_that_the_full_disk_refuses_is_counted_and_the_next_ones_are_whole(tmp_path: Path) -> None:
    lines = Lines()
    lines._descriptor = os.open("/dev/full", os.O_WRONLY)
    lines.write('{"event": "cloud.unreachable"}\n')
    assert lines.lost == 1
    os.close(lines._descriptor)
    lines._descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    lines._cut = True  # half of a line was written when the disk became full
    lines.write('{"event": "cloud.connected"}\n')
    os.close(lines._descriptor)
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1]) == {"event": "cloud.connected"}
    lines.write("whoever read the pipe is gone\n")
    assert lines.lost == 2


def test_on_a_full_disk_the_state_is_written_over_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "box.db.status.json"
    write_snapshot(file, {"links": "x" * 3000})
    size = file.stat().st_size

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    write_snapshot(file, {"links": "y" * 3500, "refusing": True})
    assert json.loads(file.read_text())["refusing"]
    assert file.stat().st_size == size, "it takes no block more"
    with pytest.raises(OSError, match="No space"):
        write_snapshot(file, {"links": "z" * 9000})
    assert json.loads(file.read_text())["refusing"], "the old one is whole"
