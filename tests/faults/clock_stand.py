"""``python -m tests.faults.clock_stand run FILE``: the daemon with a wall clock that a file beside the box shifts.

The kernel's word is left out: it would (rightly) be believed against the shifted clock.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

_TOLD = Path(sys.argv[-1]).with_name("clock-offset")
_true_time = time.time


def _shifted() -> float:
    """Seconds since 1970, as a wrong clock has them; never below the epoch itself."""
    return max(1000.0, _true_time() + float(_TOLD.read_text() or 0))


if __name__ == "__main__":
    time.time = _shifted
    from edge import clock

    clock.kernel_synchronised = lambda: False
    from edge.__main__ import app

    sys.argv[0] = "edge"
    app()
