"""What a wheel must carry beside the code: a template or table that is left out is found here, not at the customer."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("protocols", "edge", "cloud", "provisioning", "simulators")


def test_every_data_file_of_the_packages_is_shipped() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["*"]
    shipped = {pattern.rpartition(".")[2] for pattern in patterns if pattern.startswith("**/*.")}
    left_out = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc", ".md")
        and "vendor" not in path.parts
        and path.suffix[1:] not in shipped
    ]
    assert left_out == []


def test_every_program_of_the_wheel_exists() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for target in settings["project"]["scripts"].values():
        module, _, function = target.partition(":")
        loaded = __import__(module, fromlist=[function])
        assert callable(getattr(loaded, function))
