"""The ingest worker with somebody who looks at its threads every few milliseconds: where the time goes.

A thread that waits for another in this process is not counted; one that waits for the database is, as "database".
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections import Counter
from types import FrameType

EVERY_S = 0.004
PARTS = (
    ("database", ("psycopg/connection.py", "psycopg/cursor.py", "psycopg/_cursor_base.py", "psycopg/copy.py")),
    ("rules", ("lis/verification/", "lis/results/judging.py", "lis/results/entry.py", "lis/catalog/choice.py")),
    ("decoding", ("protocols/", "json/", "gateways/arrivals.py", "kit/storable.py")),
    ("tables and statements", ("sqlalchemy/", "kit/bulk.py")),
    ("the rest of the laboratory", ("cloud/lis/", "cloud/people/", "cloud/kit/", "cloud/gateways/")),
)
"""What the innermost known file of a stack says the thread is doing."""
_seen: Counter[str] = Counter()


def _part(frame: FrameType | None) -> str | None:
    while frame is not None:
        path = frame.f_code.co_filename
        if path.endswith(("threading.py", "queue.py", "gateways/consumer.py")):
            return None
        for name, files in PARTS:
            if any(each in path for each in files):
                return name
        frame = frame.f_back
    return None


def _look() -> None:
    while True:
        time.sleep(EVERY_S)
        names = {each.ident: each.name for each in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if names.get(ident, "").startswith(("apply-", "store-")):
                part = _part(frame)
                if part is not None:
                    _seen[part] += 1


def _tell() -> None:
    whole = sum(_seen.values()) or 1
    sys.stderr.write("== shares ==\n")
    for name, count in _seen.most_common():
        sys.stderr.write(f"{name}: {100 * count / whole:.0f} %\n")


if __name__ == "__main__":
    from cloud.__main__ import main

    threading.Thread(target=_look, daemon=True).start()
    atexit.register(_tell)
    main()
