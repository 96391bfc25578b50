"""The keys that pages show are keys that the keyboard's script knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cloud

KEY = re.compile(r"""(?:data-key|data-row-key|\bkey)=(?:"|')((?:Ctrl|Alt|Shift|Meta)\+[^"'{]+)(?:"|')""")


@pytest.mark.req("LIS-18")
def test_a_key_held_with_another_is_named_as_the_script_names_it() -> None:
    """`Ctrl+` and a small letter or the key's own name; the browser keeps Alt for itself."""
    named = {
        (path.name, key)
        for path in Path(cloud.__file__).parent.rglob("templates/**/*.html")
        for key in KEY.findall(path.read_text(encoding="utf-8"))
    }
    assert len(named) > 5
    assert [each for each in named if not re.fullmatch(r"Ctrl\+([a-z]|Enter|F\d+)", each[1])] == []
