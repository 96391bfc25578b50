"""The payment channels as programs: each hands out its papers, and a cloud that follows them can be paid."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from cloud.config import settings
from simulators.demo.waiting import free_ports
from tests.support import paying
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("PAY-1")


@contextmanager
def program(name: str, port: int, keys: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "simulators", name, "--port", str(port), "--keys", str(keys)]
    running = subprocess.Popen([*command, "--chaos", '{"notice_lost": 1.0}'])
    try:
        yield
    finally:
        running.terminate()
        assert running.wait(10) == 0


def test_their_papers_are_all_that_a_merchant_needs(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = dict(zip(("wechat-pay", "alipay"), free_ports(2), strict=True))
    with ExitStack() as stack:
        for name, port in ports.items():
            stack.enter_context(program(name, port, tmp_path))
        for name in ports:
            paper = tmp_path / f"{name}.json"
            eventually(paper.exists, what=f"the papers of {name}", within_s=20)
            assert paper.stat().st_mode & 0o077 == 0
            for setting, value in json.loads(paper.read_text(encoding="utf-8")).items():
                monkeypatch.setenv(setting, value)
        monkeypatch.setenv("XINGLIN_WECHAT_APP_ID", "wx0000simulated01")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        settings.cache_clear()
        for channel, port in (("wechat", ports["wechat-pay"]), ("alipay", ports["alipay"])):
            found = paying.payment(paying.prepared(50_00, channel))
            assert found.state == "prepared"
            base = f"http://127.0.0.1:{port}"
            assert (
                httpx.post(f"{base}/simulator/pay", json={"number": found.number}, trust_env=False).status_code == 200
            )
            page = httpx.get(f"{base}/", trust_env=False).text
            assert found.number in page
            assert "已支付" in page
            paying.sweep(1)  # the notice is lost, as its chaos says
            assert paying.payment(found.id).state == "paid"
    settings.cache_clear()
