"""A tube on an analyzer before its order, and orders that change: analyzer, box, broker and laboratory, all real.

Nothing is told here by hand but what people do: put a tube on, place an order, scan, cancel.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud.gateways import downlink, ingest
from cloud.kit.db import begin
from cloud.lis.instruments import service as instruments
from cloud.lis.instruments.service import Channel
from cloud.lis.orders import service as orders
from cloud.lis.results.model import Result
from cloud.lis.specimens import service as specimens
from cloud.lis.worklists.model import UnansweredState, UnansweredTube
from tests.support.analyzer import Analyzer, over_tcp
from tests.support.box import Box
from tests.support.broker import Broker
from tests.support.gateways import registered
from tests.support.lab import GATEWAY, Lab, labelled, open_lab, react
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("GW-7")
_ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Site:
    """The laboratory with its ingest worker, and one box that reached it."""

    lab: Lab
    box: Box

    def told(self) -> None:
        """What the job workers do when something happened to a tube: the box hears of it."""
        react()
        downlink.send(begin, GATEWAY, again=False)

    def has_revision(self, revision: int) -> None:
        eventually(
            lambda: self.box.rows("SELECT value FROM box WHERE key = 'worklist_revision'") == [(str(revision),)],
            within_s=20,
            what=f"the box stands at worklist revision {revision}",
        )


@pytest.fixture
def site(database: str, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    from cloud.config import settings

    monkeypatch.setenv("XINGLIN_MQTT_HOST", broker.host)
    monkeypatch.setenv("XINGLIN_MQTT_PORT", str(broker.port))
    monkeypatch.setenv("XINGLIN_PARTITIONS", "1")
    settings.cache_clear()
    lab = open_lab()
    registered((GATEWAY, 0))
    stop = threading.Event()
    worker = threading.Thread(target=ingest.run, args=("w1", 15.0), kwargs={"stop": stop})
    worker.start()
    box = Box(tmp_path, broker.port, gateway=GATEWAY, partition=0)
    yield Site(lab, box)
    box.stop()
    stop.set()
    worker.join(30)


def reached(box: Box) -> None:
    box.start()
    eventually(lambda: (box.status() or {"cloud": {"connected": False}})["cloud"]["connected"], within_s=20)


@pytest.fixture
def xn(site: Site, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A simulated XN on the box; it does not put a tube on again by itself."""
    port = site.box.add_tcp("xn")
    reached(site.box)
    command = [sys.executable, "-m", "simulators", "analyzer", "sysmex_xn", "--connect", f"127.0.0.1:{port}"]
    more = ["--ledger", str(tmp_path / "xn.jsonl"), "--ask-again-seconds", "3600"]
    process = subprocess.Popen([*command, *more], stdin=subprocess.PIPE, cwd=_ROOT)
    yield process
    process.terminate()
    process.communicate(timeout=15)


def put_on(xn: subprocess.Popen[bytes], barcode: str) -> None:
    assert xn.stdin is not None
    xn.stdin.write(f"{barcode}\n".encode())
    xn.stdin.flush()


def heard(folder: Path, event: str) -> list[dict[str, object]]:
    """What the analyzer's ledger says."""
    try:
        lines = (folder / "xn.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [each for each in map(json.loads, lines) if each["event"] == event]


def listed(barcode: str) -> tuple[str, str] | None:
    """(state, reason) of a tube on the list of those without an order."""
    with begin() as session:
        found = session.scalars(select(UnansweredTube).where(UnansweredTube.what == barcode)).first()
        return None if found is None else (str(found.state), found.reason)


def results() -> int:
    with begin() as session:
        return len(session.scalars(select(Result.id)).all())


def test_a_tube_that_came_before_its_order_is_put_on_again_when_the_order_is_there(
    site: Site, xn: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    put_on(xn, "PRE9001")
    eventually(lambda: heard(tmp_path, "no_order"), within_s=30, what="the analyzer hears that there is no order")
    eventually(lambda: listed("PRE9001") == (UnansweredState.WAITING, "unknown"), within_s=20, what="the lab sees it")
    accession = labelled(site.lab, ("HGB", "PLT"))
    with begin() as session:
        specimens.collect(session, accession, by="system", preprinted="PRE9001")
        specimens.receive(session, "PRE9001", by="system")
    site.told()
    assert listed("PRE9001") == (UnansweredState.ORDER_CAME, "unknown")
    site.has_revision(1)
    put_on(xn, "PRE9001")
    eventually(lambda: results() == 2, within_s=30, what="both tests are measured")
    assert listed("PRE9001") == (UnansweredState.CLOSED, "unknown")
    assert site.box.rows("SELECT * FROM unanswered") == []


def test_a_tube_scanned_a_moment_ago_is_measured_although_its_worklist_is_still_on_its_way(
    site: Site, xn: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    barcode = labelled(site.lab, ("HGB",))
    with begin() as session:
        specimens.receive(session, barcode, by="system")  # and no worker has made a worklist of it
    put_on(xn, barcode)
    eventually(lambda: results() == 1, within_s=30, what="it is measured")
    assert heard(tmp_path, "no_order") == []
    assert listed(barcode) is None


def test_with_the_broker_away_the_analyzer_waits_for_nobody_and_the_lab_hears_of_the_tube_later(
    site: Site, xn: subprocess.Popen[bytes], broker: Broker, tmp_path: Path
) -> None:
    broker.kill()
    eventually(lambda: not (site.box.status() or {})["cloud"]["connected"], within_s=30)
    barcode = labelled(site.lab, ("HGB",))
    with begin() as session:
        specimens.receive(session, barcode, by="system")
    react()
    put_on(xn, barcode)
    eventually(lambda: heard(tmp_path, "no_order"), within_s=20, what="the analyzer hears that there is no order")
    assert listed(barcode) is None
    broker.start()
    eventually(lambda: listed(barcode) == (UnansweredState.ORDER_CAME, "not_reached"), within_s=60, what="listed")
    put_on(xn, barcode)
    eventually(lambda: results() == 1, within_s=30, what="it is measured")


# ---------------------------------------------------------------------- orders that are pushed, changed, taken back


def law_order(analyzer: Analyzer) -> dict[str, tuple[str, str]]:
    """The next OML^O33: code -> (ORC-1, number), answered as an analyzer that takes everything."""
    segments = analyzer.take_block().decode().split("\r")
    assert "OML^O33" in segments[0], segments
    control, found = "", {}
    for each in segments:
        fields = each.split("|")
        if fields[0] == "ORC":
            control = fields[1]
        elif fields[0] == "OBR":
            found[fields[4].split("^")[0]] = (control, fields[2])
    done = {"NW": "OK", "CA": "CR"}
    steps = [f"ORC|{done[control]}|{number}|||SC" for control, number in found.values()]
    tube = next(each for each in segments if each.startswith("SAC|"))
    answer = [
        "MSH|^~\\&|AN1|Maker|LIS|LAB|20261102083002||ORL^O34^ORL_O42|R-1|P|2.5.1||||||UNICODE UTF-8|||LAB-28^IHE",
        f"MSA|AA|{segments[0].split('|')[9]}",
        "SPM|1|||SER^^HL70487|||||||P^^HL70369",
        tube,
        *steps,
    ]
    analyzer.send(b"\x0b" + "\r".join(answer).encode() + b"\r\x1c\r")
    return found


def test_an_order_is_pushed_changed_and_taken_back_on_an_analyzer_that_is_told(site: Site) -> None:
    with begin() as session:
        law = instruments.register(
            session, code="AN-1", name="AN-1", gateway=GATEWAY, link="an", driver="ihe_law", by="system"
        )
        for code, test in (("TSH", "ALT"), ("FT4", "CREA")):
            instruments.map_channel(session, law.id, Channel(code, test), by="system")
    port = site.box.add_tcp("an", driver="ihe_law")
    site.box.links[-1] += 'orders = "download"\n'
    reached(site.box)
    analyzer = over_tcp("127.0.0.1", port)
    barcode = labelled(site.lab, ("ALT", "CREA"))
    with begin() as session:
        specimens.receive(session, barcode, by="system")
    site.told()
    told = law_order(analyzer)
    assert {code: control for code, (control, _) in told.items()} == {"TSH": "NW", "FT4": "NW"}
    with begin() as session:
        one = specimens.by_barcode(session, barcode)
        _, item = specimens.live_items(session, one.id)
        orders.cancel_order(session, one.order_id, reason="开错", by="system", item_ids=[item.id], after_receipt=True)
        order_id = one.order_id
    site.told()
    [(code, (control, number))] = law_order(analyzer).items()
    assert (control, number) == ("CA", told[code][1])
    with begin() as session:
        orders.cancel_order(session, order_id, reason="开错", by="system", after_receipt=True)
    site.told()
    [(other, (control, number))] = law_order(analyzer).items()
    assert other != code
    assert (control, number) == ("CA", told[other][1])
    analyzer.close()
