"""The box's TLS on a real mosquitto with mutual certificates: who is refused and why, and a clock that is wrong."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.broker import BrokerConnection
from edge.certificate import read_validity
from edge.config import CloudSection
from edge.errors import BrokerUnreachable
from edge.tls import own_validity
from provisioning.broker import access_list, broker_configuration
from tests.support.analyzer import over_tcp, xn_result
from tests.support.box import Box
from tests.support.broker import Broker, free_port, mosquitto_path
from tests.support.certificates import Authority
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("SEC-1", "GW-10")
DAY = timedelta(days=1)
DOWN = "xinglin/v1/0/gw-a/down/#"


class GuardedBroker(Broker):
    """Configured as `provisioning` does it."""

    def __init__(self, program: str, folder: Path, ca: Path, certificate: Path, *settings: str) -> None:
        super().__init__(program, folder)
        key = certificate.with_suffix(".key")
        text = broker_configuration(
            port=self.port, ca_file=str(ca), certificate_file=str(certificate), key_file=str(key), folder=str(folder)
        )
        (folder / "acl").write_text(access_list(ingest_users=["ingest"], publisher_users=[]), encoding="utf-8")
        more = [*settings, *(["user root"] if folder.owner() == "root" else [])]
        self._configuration.write_text(text + "\n" + "\n".join(more) + "\n", encoding="utf-8")


StartBroker = Callable[..., GuardedBroker]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def start_broker(tmp_path: Path, authority: Authority) -> Iterator[StartBroker]:
    program = mosquitto_path()
    if program is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    running: list[GuardedBroker] = []

    def start(certificate: Path | None = None, *settings: str) -> GuardedBroker:
        folder = tmp_path / "broker"
        folder.mkdir()
        broker = GuardedBroker(program, folder, authority.file, certificate or authority.sign("broker"), *settings)
        running.append(broker)
        broker.start()
        return broker

    yield start
    for each in running:
        each.stop()


def settings(port: int, ca: Path | None, certificate: Path | None, host: str = "127.0.0.1") -> CloudSection:
    key = certificate.with_suffix(".key") if certificate else None
    return CloudSection(host=host, port=port, tls=True, ca_file=ca, certificate_file=certificate, key_file=key)


def outcome(cloud: CloudSection, floor: datetime | None = None) -> str:
    """ "connected", or why not. A broker of TLS 1.3 refuses the box's certificate after the box's handshake."""

    async def connect() -> str:
        connection = BrokerConnection(cloud, "gw-a", lambda _topic, _payload: None)
        try:
            await connection.connect(DOWN, floor)
        except BrokerUnreachable as error:
            return str(error)
        finally:
            connection.close()
        return "connected"

    return asyncio.run(connect())


def test_a_box_with_its_certificate_is_let_in_and_knows_how_long_it_is_good(
    start_broker: StartBroker, authority: Authority
) -> None:
    box = authority.sign("gw-a", ends=30 * DAY + timedelta(hours=1))
    cloud = settings(start_broker().port, authority.file, box)
    assert outcome(cloud) == "connected"
    validity = own_validity(cloud)
    assert validity is not None
    assert (validity.not_after - datetime.now(UTC)).days == 30


def test_a_broker_of_another_authority_is_not_trusted(
    start_broker: StartBroker, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    cloud = settings(start_broker().port, stranger.file, authority.sign("gw-a"))
    assert outcome(cloud) == "the broker's certificate is not signed by an authority of ca_file"


def test_a_broker_with_a_certificate_for_another_name_is_not_trusted(
    start_broker: StartBroker, authority: Authority
) -> None:
    broker = start_broker(authority.sign("broker", host="mqtt.elsewhere"))
    cloud = settings(broker.port, authority.file, authority.sign("gw-a"))
    assert outcome(cloud) == "the broker's certificate is not for 127.0.0.1"


def test_a_broker_whose_certificate_has_expired_is_not_trusted(start_broker: StartBroker, authority: Authority) -> None:
    broker = start_broker(authority.sign("broker", starts=-9 * DAY, ends=-DAY))
    cloud = settings(broker.port, authority.file, authority.sign("gw-a"))
    assert outcome(cloud) == "the broker's certificate has expired (or the box's clock is wrong)"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("expired", "the broker says that the box's certificate has expired"),
        ("revoked", "the broker says that the box's certificate is revoked"),
        ("of_a_stranger", "the broker does not know the authority that signed the box's certificate"),
        ("missing", "the broker wants a certificate of the box: set certificate_file and key_file"),
    ],
)
def test_a_broker_that_refuses_the_boxs_certificate_is_understood(
    start_broker: StartBroker, authority: Authority, tmp_path: Path, name: str, expected: str
) -> None:
    good = authority.sign("gw-a")
    box = {
        "expired": lambda: authority.sign("old", starts=-9 * DAY, ends=-DAY),
        "revoked": lambda: good,
        "of_a_stranger": lambda: Authority(tmp_path, "stranger").sign("gw-b"),
        "missing": lambda: None,
    }[name]()
    crl = [f"crlfile {authority.revoke(good)}"] if name == "revoked" else []
    broker = start_broker(None, *crl)
    assert outcome(settings(broker.port, authority.file, box)) == expected


def test_what_is_wrong_before_tls_is_said_too(authority: Authority, tmp_path: Path) -> None:
    box = authority.sign("gw-a")
    port = free_port()
    assert outcome(settings(port, authority.file, box)) == f"nothing listens at 127.0.0.1:{port}"
    assert "cannot be read" in outcome(settings(port, tmp_path / "none.pem", box))
    box.with_suffix(".key").write_bytes(authority.sign("other").with_suffix(".key").read_bytes())
    assert outcome(settings(port, authority.file, box)) == "certificate_file and key_file do not belong together"


def test_something_that_does_not_speak_tls_is_recognised(broker: Broker, authority: Authority) -> None:
    cloud = settings(broker.port, authority.file, authority.sign("gw-a"))
    reason = outcome(cloud)
    assert "does not speak TLS" in reason or "closed" in reason or "reset" in reason.lower(), reason


@pytest.mark.req("GW-9")
def test_a_box_that_woke_up_before_the_brokers_certificate_began_connects_all_the_same(
    start_broker: StartBroker, authority: Authority
) -> None:
    """The machine's clock is right here; that the certificate begins in the future is the same as a clock of 1970."""
    broker = start_broker(authority.sign("broker", starts=300 * DAY, ends=600 * DAY))
    cloud = settings(broker.port, authority.file, authority.sign("gw-a"))
    assert "not valid yet" in outcome(cloud)
    assert outcome(cloud, floor=datetime.now(UTC) + 10 * DAY) == "connected"


@pytest.mark.req("GW-9")
def test_a_box_ten_years_ahead_takes_a_certificate_that_was_good_when_it_last_knew_the_time(
    start_broker: StartBroker, authority: Authority
) -> None:
    broker = start_broker(authority.sign("broker", starts=-90 * DAY, ends=-DAY))
    cloud = settings(broker.port, authority.file, authority.sign("gw-a"))
    assert outcome(cloud, floor=datetime.now(UTC) - 30 * DAY) == "connected"


@pytest.mark.req("GW-9")
def test_without_a_clock_everything_but_the_present_is_still_checked(
    start_broker: StartBroker, authority: Authority, tmp_path: Path
) -> None:
    floor = datetime.now(UTC) - 30 * DAY
    box = authority.sign("gw-a")
    broker = start_broker(authority.sign("broker", starts=-90 * DAY, ends=-60 * DAY))
    assert "it is later than that whatever the clock says" in outcome(settings(broker.port, authority.file, box), floor)
    stranger = Authority(tmp_path, "stranger").file
    assert "ca_file" in outcome(settings(broker.port, stranger, box), floor)
    named = settings(broker.port, authority.file, box, host="localhost")
    assert outcome(named, floor) == "the broker's certificate is not for localhost"


@pytest.mark.req("GW-9")
def test_a_box_whose_certificate_has_expired_goes_on_receiving_says_so_and_takes_a_new_one_without_a_restart(
    start_broker: StartBroker, authority: Authority, tmp_path: Path
) -> None:
    broker = start_broker()
    own = authority.sign("gw-test", starts=-9 * DAY, ends=-2 * DAY)
    files = (("ca_file", authority.file), ("certificate_file", own), ("key_file", own.with_suffix(".key")))
    box = Box(tmp_path, broker.port)
    box.more = "".join(f'{name} = "{file}"\n' for name, file in files)
    port = box.add_tcp("xn")
    try:
        box.start()
        analyzer = over_tcp("127.0.0.1", port)
        analyzer.report(xn_result("26010001"))

        def cloud() -> dict[str, Any]:
            found: dict[str, Any] = (box.status() or {})["cloud"]
            return found

        eventually(lambda: "certificate has expired" in cloud()["reason"], what="the reason is told")
        assert cloud()["certificate_days"] < 0
        assert box.waiting("xn") == 1
        authority.sign("gw-test", ends=60 * DAY)
        eventually(lambda: cloud()["connected"], what="the new certificate is used")
        assert cloud()["certificate_days"] == 59
        analyzer.close()
    finally:
        box.stop()


def test_the_dates_of_a_certificate_are_read_as_openssl_reads_them(authority: Authority) -> None:
    from cryptography import x509

    for ends in (DAY, 365 * DAY, 40 * 365 * DAY):  # beyond 2049 dates are written with four digits
        file = authority.sign("gw-a", ends=ends)
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        expected = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
        assert tuple(read_validity(file)) == expected


def test_a_file_that_is_no_certificate_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "box.pem"
    for text in ("", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"."):
            read_validity(file)


def test_a_connection_that_goes_silent_is_given_up(broker: Broker) -> None:
    """Half open: the other side is gone and nobody says so."""
    quiet = threading.Event()
    front = socket.create_server(("127.0.0.1", 0))
    between = threading.Thread(target=_forward_until, args=(front, broker.port, quiet))
    between.start()

    async def connected() -> str:
        cloud = CloudSection(host="127.0.0.1", port=front.getsockname()[1])
        connection = BrokerConnection(cloud, "gw-a", lambda _topic, _payload: None, keep_alive_s=1)
        await connection.connect(DOWN)
        quiet.set()
        reason = await asyncio.wait_for(connection.ended, 30)
        connection.close()
        return reason

    assert asyncio.run(connected())
    between.join()
    front.close()


def _forward_until(front: socket.socket, port: int, quiet: threading.Event) -> None:
    """Between one client and the broker; then it swallows everything."""
    client, _ = front.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as broker:
        ways = {client: broker, broker: client}
        while True:
            for source in select.select(list(ways), [], [])[0]:
                data = source.recv(65536)
                if source is client and not data:
                    return
                if not quiet.is_set():
                    ways[source].sendall(data)
                elif not data:
                    del ways[source]
