"""Two people who act at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from cloud.kit.errors import XinglinError


def race(pool: ThreadPoolExecutor, first: Callable[[], object], second: Callable[[], object]) -> tuple[str, str]:
    """Both at the same moment; "done" or the code of the refusal for each."""
    line = threading.Barrier(2)

    def run(act: Callable[[], object]) -> str:
        line.wait(20)
        try:
            act()
        except XinglinError as refusal:
            return refusal.code
        return "done"

    one, two = pool.submit(run, first), pool.submit(run, second)
    return one.result(60), two.result(60)
