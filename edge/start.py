"""``python -m edge run CONFIG`` without what only the other commands need: the daemon stays in memory for months.

The command line's library and the traceback printer that the logger would load take 6 MB and a fifth of a second.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def is_plain_run(arguments: Sequence[str]) -> bool:
    """``run CONFIG`` and nothing else; help and mistakes are the command line's."""
    return len(arguments) == 2 and arguments[0] == "run" and not arguments[1].startswith("-")


def run(config: Path) -> int:
    """Serve the bench until SIGTERM or Ctrl-C. 1: the configuration is wrong; 2: the store cannot be opened."""
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # the logger looks for it; JSON lines need none

    import asyncio
    import signal

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a wish for another configuration that comes before we can listen

    from edge.config_start import choose
    from edge.daemon import Daemon
    from edge.errors import ConfigError, StoreError
    from edge.logs import set_up

    set_up()
    try:
        asyncio.run(Daemon(choose(config)).run())
    except ConfigError as error:
        sys.stderr.write("\n".join(error.lines()) + "\n")
        return 1
    except StoreError as error:
        sys.stderr.write(f"the store cannot be opened: {error}\n")
        return 2
    return 0
