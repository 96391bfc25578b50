"""thingsboard-gateway's storage as a process: ``python peers_edge_store.py FOLDER put|read``, in a venv of its own.

`put` reads lines, puts each into the storage and answers `+` when the storage said that it took it, `-` when not: that
is the moment at which a connector believes it kept. `read` prints every message that the storage gives back.
"""

from __future__ import annotations

import logging
import sys
import threading
import time


def main() -> None:
    from thingsboard_gateway.storage.sqlite.sqlite_event_storage import SQLiteEventStorage

    logger = logging.getLogger("storage")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    logger.trace = logger.debug  # type: ignore[attr-defined]  # the gateway adds this level
    settings = {"data_file_path": sys.argv[1].rstrip("/") + "/", "size_limit": 1024, "max_read_records_count": 1000}
    storage = SQLiteEventStorage(settings, logger, threading.Event())
    if sys.argv[2] == "put":
        print("ready", flush=True)
        for line in sys.stdin:
            print("+" if storage.put(line.rstrip("\n")) else "-", flush=True)
        time.sleep(2)
    else:
        until = time.monotonic() + 6
        at_most = time.monotonic() + 60  # what it cannot delete it gives again and again
        while time.monotonic() < min(until, at_most):
            pack = storage.get_event_pack()
            for each in pack or ():
                print(each)
            if pack:
                storage.event_pack_processing_done()
                until = time.monotonic() + 3
            else:
                time.sleep(0.05)
    storage.stop()


if __name__ == "__main__":
    main()
