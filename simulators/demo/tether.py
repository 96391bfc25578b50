"""Starts a program tied to who started it: when that process dies, however it dies, this one is told to end.

Run as a file (`python -I -S tether.py PARENT_PID PROGRAM ARGS...`). On Linux the kernel keeps the tie
(PR_SET_PDEATHSIG); a system without it starts the program untied. Nothing is imported but the standard library, so
that this costs 10 ms.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    except (AttributeError, OSError):
        pass  # not Linux
    if os.getppid() != parent:
        sys.exit(1)  # it died before the tie was made
    os.execvp(program[0], program)


main()
