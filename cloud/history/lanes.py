"""Lanes of patients: each is drawn from beginning to end with a random of its own, by whichever process has it."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from queue import Empty
from typing import Any

from cloud.gateways.model import LinkCursor
from cloud.history.chronicle import Chronicle
from cloud.history.copying import Sheet
from cloud.history.patients import Visit

BATCH = 500
"""Orders in one round of COPY."""
Batch = tuple[int, list[bytes], dict[str, int]]
"""Number of the lane, the texts for COPY of each sheet, what the lane has written so far."""


def cursor_sheet() -> Sheet:
    """How far each link was read, written when its lane is done."""
    return Sheet(LinkCursor, "gateway epoch link applied_through")


@dataclass(frozen=True, slots=True)
class Lane:
    """A share of the patients with their visits, drawn by one process from beginning to end."""

    number: int
    gateway: str
    chronicle: Chronicle
    visits: list[Visit]

    def batches(self) -> Iterator[Batch]:
        """The texts for COPY of one batch of orders after the other; at the end the links' cursors."""
        for first in range(0, len(self.visits), BATCH):
            for visit in self.visits[first : first + BATCH]:
                self.chronicle.write(visit)
            yield self.number, [each.take() for each in self.chronicle.sheets()], dict(self.chronicle.written)
        cursors = cursor_sheet()
        for link, sequence in self.chronicle.sequences.items():
            cursors.add(self.gateway, self.chronicle.epoch, link, str(sequence))
        yield self.number, [*(b"" for _ in self.chronicle.sheets()), cursors.take()], dict(self.chronicle.written)


def in_turns(streams: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
    """One batch of each, again and again, so that rows lie about in the order of their time."""
    left = list(streams)
    while left:
        for stream in list(left):
            if (batch := next(stream, None)) is None:
                left.remove(stream)
            else:
                yield batch


def beside(lanes: Sequence[Lane], processes: int) -> list[Iterator[Batch]]:
    """The lanes' batches, drawn by so many processes beside this one, a few ahead; verdicts are shared within one."""
    gc.collect()
    gc.freeze()
    context = get_context("fork")  # nothing is sent over: the plan is there already
    streams = []
    for first in range(min(processes, len(lanes))):
        queue: Any = context.Queue(maxsize=3)
        process = context.Process(target=_draw, args=(lanes[first::processes], queue), daemon=True)
        process.start()
        streams.append(_received(queue, process))
    gc.unfreeze()
    return streams


def _received(queue: Any, process: Any) -> Iterator[Batch]:
    """Raises `RuntimeError` with what the process said, or where it is gone without a word (killed, no memory)."""
    while True:
        try:
            batch = queue.get(timeout=10)
        except Empty:
            if process.is_alive():
                continue
            raise RuntimeError("a process that drew the history was killed") from None
        if batch is None:
            return
        if isinstance(batch, str):
            raise RuntimeError(batch)
        yield batch


def _draw(lanes: Sequence[Lane], queue: Any) -> None:
    gc.disable()  # rows are no cycles, and looking through all patients for some again and again takes its time
    try:
        for batch in in_turns([each.batches() for each in lanes]):
            queue.put(batch)
        queue.put(None)
    except Exception:  # outer loop of the process: the one that copies must hear of it
        queue.put(traceback.format_exc())
