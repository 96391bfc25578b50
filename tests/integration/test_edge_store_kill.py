"""kill -9 in the middle of writing: whatever was answered as kept is there, every time, without a hand's help."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.store.store import Store
from protocols.uplink.envelope import Message

_ROOT = Path(__file__).resolve().parents[2]
_KILLS = 15

# The child writes on several links at once and prints, after each answer, what was kept. Messages of two frames: the
# first alone, the second together with its message.
_WRITER = """
import sys
from edge.clock import Clock
from edge.store.rows import NO_CONTENT, Draft
from edge.store.store import Store
from protocols.uplink.envelope import MessageState
from pathlib import Path

store = Store(Path(sys.argv[1]))
clock = Clock()

def first(link, number):
    def done(kept, error):
        assert error is None, error
        print("frame", link, kept.frames[0], number, flush=True)
        second(link, number, kept.frames)
    store.keep(link, [b"first %d" % number], clock.now(), done)

def second(link, number, earlier):
    at = clock.now()
    draft = Draft(at, "none", "", MessageState.DECODED, NO_CONTENT)
    def done(kept, error):
        assert error is None, error
        print("message", link, kept.sequence, number, flush=True)
        first(link, number + 1)
    store.keep(link, [b"second %d" % number], at, done, earlier=earlier, draft=draft)

for link in ("a", "b", "c", "d"):
    first(link, int(sys.argv[2]))
sys.stdin.read()
"""


class Ledger:
    """What the child said was kept, over all its lives."""

    def __init__(self) -> None:
        self.frames: dict[int, bytes] = {}
        self.messages: dict[tuple[str, int], bytes] = {}

    def take(self, printed: bytes) -> None:
        for line in printed.splitlines(keepends=True):
            if line.endswith(b"\n"):
                kind, link, id_, number = line.split()
                text = b"first %d" % int(number)
                if kind == b"frame":
                    self.frames[int(id_)] = text
                else:
                    self.messages[link.decode(), int(id_)] = text + b"second %d" % int(number)


def write_until_killed(store: Path, life: int, after_bytes: int) -> bytes:
    """The child's output; it is killed when it has said so much."""
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(store), str(life * 1_000_000)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert child.stdout is not None
    assert child.stdin is not None
    printed = b""
    while len(printed) < after_bytes:
        piece = child.stdout.read1()
        assert piece, "the writer ended by itself"
        printed += piece
    child.send_signal(signal.SIGKILL)
    printed += child.stdout.read()
    child.stdin.close()
    child.stdout.close()
    child.wait()
    return printed


@pytest.mark.req("GW-9")
def test_nothing_that_was_answered_as_kept_is_missing_after_kill_9(tmp_path: Path) -> None:
    pick = random.Random(20261123)
    said = Ledger()
    open_frames: dict[int, bytes] = {}  # a start finds them, before anything is written
    path = tmp_path / "box.db"
    for life in range(_KILLS):
        said.take(write_until_killed(path, life, pick.randrange(20, 30_000)))
        with Store(path) as store:
            reader = store.reader()
            open_frames |= {each.id: each.raw for frames in reader.open_frames().values() for each in frames}
            stored = {link: reader.undelivered(link, 0, 10**9, 10**12) for link in "abcd"}
            reader.close()
        check(said, open_frames, stored)
    assert len(said.messages) > _KILLS
    assert open_frames, "no kill met a message half written"


def check(said: Ledger, open_frames: dict[int, bytes], stored: dict[str, list[Message]]) -> None:
    in_messages = b"|".join(each.raw for messages in stored.values() for each in messages)
    for id_, raw in said.frames.items():
        assert open_frames.get(id_) == raw or raw in in_messages, f"acknowledged frame {id_} is gone"
    by_sequence = {(link, each.sequence): each.raw for link, messages in stored.items() for each in messages}
    for identity, raw in said.messages.items():
        assert by_sequence[identity] == raw
    for link, messages in stored.items():
        assert [each.sequence for each in messages] == list(range(1, len(messages) + 1)), link
