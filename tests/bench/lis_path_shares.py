"""The ingest worker with a watch on its steps: how much of storing and applying is waiting for the database, reading
envelopes and items, judging, and the rest (rows and statements made ready, matching, choosing).

Wall-clock time of the two working threads, each step measured where it is called; the watch itself costs a little.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

_spent: Counter[str] = Counter()
_lock = threading.Lock()


def _add(name: str, seconds: float) -> None:
    with _lock:
        _spent[name] += seconds


def _timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **more: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **more)
        finally:
            _add(name, time.perf_counter() - started)

    return call


def _watch() -> None:
    from sqlalchemy import event

    from cloud.gateways import apply, consumer, inbox
    from cloud.kit import db
    from cloud.lis.results import storing

    engine = db.engine()

    @event.listens_for(engine, "before_cursor_execute")
    def before(_c: Any, _cursor: Any, _sql: str, _values: Any, context: Any, _many: bool) -> None:
        context.watch_started = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def after(_c: Any, _cursor: Any, _sql: str, _values: Any, context: Any, _many: bool) -> None:
        if threading.current_thread().name.startswith(("apply-", "store-")):
            _add("database", time.perf_counter() - context.watch_started)

    engine.dialect.do_commit = _timed("database", engine.dialect.do_commit)  # type: ignore[method-assign]
    inbox.read_envelope = _timed("decoding", inbox.read_envelope)  # type: ignore[attr-defined]
    apply.item_from_json = _timed("decoding", apply.item_from_json)  # type: ignore[attr-defined]
    storing.judge_entries = _timed("rules", storing.judge_entries)  # type: ignore[attr-defined]
    inbox.Inbox.store = _timed("whole", inbox.Inbox.store)  # type: ignore[method-assign]
    consumer.apply_link = _timed("whole", consumer.apply_link)  # type: ignore[attr-defined]


def _tell() -> None:
    whole = _spent.pop("whole", 0.0) or 1.0
    sys.stderr.write("== shares ==\n")
    for name, seconds in _spent.most_common():
        sys.stderr.write(f"{name}: {100 * seconds / whole:.0f} % of storing and applying\n")
    rest = whole - sum(_spent.values())
    sys.stderr.write(f"the rest (matching, rows, statements): {100 * rest / whole:.0f} %\n")


if __name__ == "__main__":
    from cloud.__main__ import main
    from cloud.app import load_slices

    load_slices()
    _watch()
    atexit.register(_tell)
    main()
