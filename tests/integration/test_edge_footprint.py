"""What the daemon carries in its memory for months: what its own links need, and nothing of the other commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_LOADED = """
import sys
from pathlib import Path
import edge.start
sys.modules["rich"] = None  # as `edge run` does
import edge.daemon
from edge.config_start import choose
from edge.interpreter import Interpreter
for link in choose(Path(sys.argv[1])).config.links:
    Interpreter(link.driver, link.options)
print(*sys.modules)
"""


@pytest.mark.req("GW-1")
def test_the_daemon_reads_its_own_drivers_and_nothing_that_others_need(tmp_path: Path) -> None:
    config = tmp_path / "box.toml"
    config.write_text(
        '[gateway]\nid = "gw-1"\ncampus = "main"\npartition = 0\n[store]\npath = "box.db"\n[cloud]\nhost = "broker"\n'
        '[[links]]\nid = "xn"\ndriver = "sysmex_xn"\nport = { kind = "tcp_listen", port = 5001 }\n'
        '[[links]]\nid = "bs"\ndriver = "mindray_bs"\nport = { kind = "tcp_listen", port = 5002 }\n',
        encoding="utf-8",
    )
    loaded = subprocess.run(
        [sys.executable, "-c", _LOADED, str(config)], cwd=_ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    drivers = {each.rsplit(".", 1)[1] for each in loaded if each.startswith("protocols.instruments.")}
    assert drivers == {"sysmex_xn", "mindray_bs"}
    assert {"pydantic", "typer", "cryptography", "prometheus_client", "attr"}.isdisjoint(loaded)
