"""Analyzers on serial lines at 115200 baud: the process that paces them, and what it measures.

Each line is a pty; its bytes come as a 16550 hands them over, fourteen at a time, 1.2 ms apart (8N1), and each line
goes on as soon as its frame is acknowledged. The lines are served in four groups, so that not all speak at the same
moment. The time of an ACK runs from a frame's last piece to its arrival, read four times in 1.2 ms. How late the pacing
itself ran is told too: the sender must not be what is measured.

The process obeys lines on its standard input: ``play NAME SECONDS`` plays on and prints what it saw as JSON, ``end``
finishes every message and prints how many frames were acknowledged on each line.
"""

from __future__ import annotations

import json
import os
import pty
import select
import sys
import time
import tty

from tests.bench.edge_process import message_frames
from tests.support.analyzer import ACK, ENQ, EOT

BAUD_RATE = 115_200
_PIECE_BYTES = 14
_BITS_A_CHARACTER = 10
_GROUPS = 4
_TURN_S = _PIECE_BYTES * _BITS_A_CHARACTER / BAUD_RATE / _GROUPS
_LATE_S = 0.0012
_FINISH_WITHIN_S = 20.0


class Line:
    """One instrument at a pty's master end."""

    def __init__(self, frames: list[bytes]) -> None:
        self.fd, self.slave = pty.openpty()
        tty.setraw(self.fd)
        tty.setraw(self.slave)
        os.set_blocking(self.fd, False)
        self.name = os.ttyname(self.slave)
        self._frames = [
            [each[start : start + _PIECE_BYTES] for start in range(0, len(each), _PIECE_BYTES)] for each in frames
        ]
        self._frame = -1
        self._piece = 0
        self._to_send: bytes = ENQ
        self._sent_at = 0.0
        self.times: list[float] = []
        self.acknowledged = 0
        self.refused = 0
        self.over = False

    def turn(self) -> None:
        """Time for the next piece, if there is one."""
        piece = self._to_send
        if not piece:
            return
        os.write(self.fd, piece)
        if self._frame < 0:
            self._to_send = b""
            return
        pieces = self._frames[self._frame]
        self._piece += 1
        if self._piece < len(pieces):
            self._to_send = pieces[self._piece]
        else:
            self._to_send = b""
            self._sent_at = time.perf_counter()

    def heard(self, ending: bool) -> None:
        answer = os.read(self.fd, 64)
        if answer != ACK:
            self.refused += 1
            return
        if self._frame >= 0:
            self.times.append(time.perf_counter() - self._sent_at)
            self.acknowledged += 1
        self._frame += 1
        self._piece = 0
        if self._frame < len(self._frames):
            self._to_send = self._frames[self._frame][0]
            return
        self._frame = -1
        if ending:
            os.write(self.fd, EOT)
            self.over = True
        else:
            self._to_send = EOT + ENQ


def _play(lines: list[Line], poll: select.epoll, until: float, ending: bool) -> tuple[list[float], float]:
    """The delays of the pacing, seconds, and the process's own CPU time."""
    by_fd = {each.fd: each for each in lines}
    groups = [lines[number::_GROUPS] for number in range(_GROUPS)]
    delays: list[float] = []
    began, cpu, turn = time.perf_counter(), time.process_time(), 0
    while (now := time.perf_counter()) < until and not (ending and all(each.over for each in lines)):
        for fd, _ in poll.poll(0):
            by_fd[fd].heard(ending)
        due = began + turn * _TURN_S
        if now < due:
            time.sleep(due - now)
            continue
        delays.append(now - due)
        for line in groups[turn % _GROUPS]:
            line.turn()
        turn += 1
        if now - due > 0.1:  # this process was stopped: take up the pace from here, do not race
            began += now - due
    return delays, time.process_time() - cpu


def main(count: int) -> None:
    lines = [Line(message_frames(f"{number:04}")) for number in range(count)]
    poll = select.epoll()
    for line in lines:
        poll.register(line.fd, select.EPOLLIN)
    print(json.dumps([each.name for each in lines]), flush=True)
    for order in sys.stdin:
        verb, *rest = order.split()
        if verb == "end":
            _play(lines, poll, time.perf_counter() + _FINISH_WITHIN_S, ending=True)
            print(json.dumps([each.acknowledged for each in lines]), flush=True)
            continue
        seconds = float(rest[0])
        for line in lines:
            line.times.clear()
        delays, cpu = _play(lines, poll, time.perf_counter() + seconds, ending=False)
        times = sorted(each for line in lines for each in line.times)
        said = {
            "frames": len(times),
            "seconds": seconds,
            "p50": at(times, 0.5),
            "p99": at(times, 0.99),
            "max": at(times, 1.0),
            "slowest_line_p99": max(at(sorted(each.times), 0.99) for each in lines),
            "refused": sum(each.refused for each in lines),
            "pacing_p99": at(sorted(delays), 0.99),
            "cpu": cpu / seconds,
        }
        print(json.dumps(said), flush=True)


def at(values: list[float], share: float) -> float:
    """Of sorted seconds, as milliseconds."""
    return round(values[min(len(values) - 1, int(len(values) * share))] * 1000, 3) if values else float("inf")


if __name__ == "__main__":
    main(int(sys.argv[1]))
