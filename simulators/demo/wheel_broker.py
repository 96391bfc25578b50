"""Runs the broker of the `iotcore` wheel in this process: `python -m simulators.demo.wheel_broker CONFIG`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    from iotcore import Broker

    # The broker runs in native code that never looks at Python's handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Broker(config_path=sys.argv[1]).run_forever()


if __name__ == "__main__":
    main()
