"""The verbs of ./xinglin that are about the project itself: test, check, bench, new, setup, stop."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tools import system

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("protocols", "edge", "cloud", "provisioning", "simulators", "tools")
BENCHES = {
    "audit": "tests.bench.audit",
    "autoverify": "tests.bench.autoverify",
    "drain": "tests.bench.drain",
    "edge": "tests.bench.edge",
    "faults": "tests.bench.faults",
    "fuzz": "tests.bench.fuzz",
    "ingest": "tests.bench.ingest",
    "links": "tests.bench.links",
    "lis": "tests.bench.lis",
    "lis-path": "tests.bench.lis_path",
    "peers-edge": "tests.bench.peers_edge",
    "powercut": "tests.bench.powercut",
    "soak": "tests.bench.soak",
    "store-start": "tests.bench.store_start",
    "captures": "tests.bench.captures",
    "protocols": "tests.bench.protocols",
}


def say(text: str) -> None:
    print(text, flush=True)


def run(*arguments: str) -> int:
    return subprocess.run(arguments, cwd=ROOT, check=False).returncode


def test(arguments: list[str]) -> int:
    """The tests, four workers (half of what they do is waiting for processes and pages, so two leave two cores idle);
    with arguments of your own, just those (no workers unless you say -n)."""
    system.ensure()
    chosen = arguments or ["-n", "4", "--dist", "loadfile", "--no-loadscope-reorder", "-m", "not slow"]
    return run(sys.executable, "-m", "pytest", *chosen)


def check(arguments: list[str]) -> int:
    """Lint, types, import contracts, tests, demo --smoke 50; stops at the first that fails."""
    if arguments:
        say("check takes no arguments")
        return 2
    steps: list[tuple[str, list[str]]] = [
        ("lint", [sys.executable, "-m", "ruff", "check", "."]),
        ("format", [sys.executable, "-m", "ruff", "format", "--check", "."]),
        ("types", [sys.executable, "-m", "mypy", *[each for name in PACKAGES for each in ("-p", name)]]),
        ("import contracts", [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]),
    ]
    for name, command in steps:
        say(f"== {name}")
        started = time.monotonic()
        if code := run(*command):
            say(f"{name}: failed")
            return code
        say(f"{name}: {time.monotonic() - started:.0f} s")
    say("== tests")
    if code := test([]):
        return code
    say("== demo --smoke 50")
    return run(sys.executable, "-m", "simulators", "demo", "--smoke", "50")


def bench(arguments: list[str]) -> int:
    """One measurement by name, or all of them; each prints its figures."""
    names = arguments[:1] or list(BENCHES)
    for name in names:
        if name not in BENCHES:
            say(f"no bench called {name}; there are: {', '.join(BENCHES)}")
            return 2
        say(f"== bench {name}")
        if code := run(sys.executable, "-m", BENCHES[name], *arguments[1:]):
            return code
    return 0


def new(arguments: list[str]) -> int:
    from tools import scaffold

    return scaffold.main(arguments)


def setup(arguments: list[str]) -> int:
    """The set-up itself has run already when this is reached."""
    if "--system" in arguments:
        return 1 if system.ensure() else 0
    return 0


def stop(arguments: list[str]) -> int:
    from tools import leftover

    return leftover.stop_embedded(ROOT / ".state")


VERBS = {"test": test, "check": check, "bench": bench, "new": new, "setup": setup, "stop": stop}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in VERBS:
        say(f"one of: {', '.join(VERBS)}")
        return 2
    os.chdir(ROOT)
    return VERBS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    raise SystemExit(main())
