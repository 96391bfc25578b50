"""Debian packages that tests and CI want: installed as root, or named with the command that installs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    package: str
    used_for: str
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def present(self) -> bool:
        if any(shutil.which(each) or Path("/usr/sbin", each).exists() for each in self.programs):
            return True
        return any(any(Path("/").glob(each.lstrip("/"))) for each in self.files)


PARTS = (
    Part("mosquitto", "the broker of the tests and of production", programs=("mosquitto",)),
    Part("chromium", "the browser tests", programs=("chromium",)),
    Part(
        "libatomic1",
        "the driver of the browser tests",
        files=("/usr/lib/*/libatomic.so.1*", "/lib/*/libatomic.so.1*", "/usr/lib64/libatomic.so.1*"),
    ),
    Part(
        "fonts-noto-cjk",
        "Chinese text in the browser tests' pictures",
        files=("/usr/share/fonts/**/NotoSansCJK*", "/usr/share/fonts/**/NotoSansSC*"),
    ),
    Part("poppler-utils", "reading the barcodes of printed PDFs back (pdftoppm)", programs=("pdftoppm",)),
)


def missing() -> list[Part]:
    return [part for part in PARTS if not part.present()]


def ensure() -> list[Part]:
    """Install what is missing when we may; returns what is still missing, each said by name."""
    wanted = missing()
    if not wanted:
        return []
    may = os.geteuid() == 0 and shutil.which("apt-get") and not os.environ.get("XINGLIN_NO_INSTALL")
    if may:
        names = [part.package for part in wanted]
        print(f"installing {' '.join(names)} ...", file=sys.stderr)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=False, env=environment, stdout=subprocess.DEVNULL)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names],
            check=False,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
    still = missing()
    for part in still:
        print(
            f"missing: {part.package} ({part.used_for}); its tests are skipped."
            f" Run as root: apt-get install {part.package}",
            file=sys.stderr,
        )
    return still
