"""An analyzer whose older driver read wrongly, for tests of reading stored messages anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from cloud.gateways import leases
from cloud.gateways.apply import apply_link
from cloud.gateways.arrivals import Arrival
from cloud.gateways.inbox import Inbox
from cloud.gateways.model import InboxMessage
from cloud.kit.db import begin
from cloud.lis.reports import service as reports
from cloud.lis.results import review, sheets
from cloud.lis.results import service as results
from protocols.model import Item, Observation
from protocols.uplink.envelope import up_topic
from tests.support.bench import GATEWAY, LINK, pathologist, set_up, technician
from tests.support.gateways import EPOCH, MORNING, envelope, message, registered

KEY = (GATEWAY, EPOCH, LINK)
ASKER, APPROVER = technician(), pathologist()
NOW = "2026-11-23T09:00:00"


def record(text: str) -> bytes:
    """One ASTM frame with its checksum, as it stands on the wire."""
    body = b"1" + text.replace("\n", "\r").encode() + b"\x03"
    return b"\x02%b%02X\r\n" % (body, sum(body) % 256)


def raw_of(barcode: str, **values: str) -> bytes:
    """What an XN-550 sends of a tube."""
    lines = [
        f"R|{n}|^^^^{code}^1|{value}|10*3/uL||N||F||||20261123090000"
        for n, (code, value) in enumerate(values.items(), 1)
    ]
    head = "H|\\^&|||    XN-550^00-24^22723^^^^BD600001||||||||E1394-97\nP|1\n"
    order = f"O|1||2^7^{barcode:>22}^B|^^^^WBC|||||||N||||||||||||||F\n"
    return record(head + order + "\n".join(lines) + "\nL|1|N\n")


def misread(barcode: str, **values: str) -> tuple[Item, ...]:
    """What an older driver made of it; the time is what tells a run from a resend."""
    return tuple(
        Observation(
            specimen=barcode,
            code=code,
            value=value,
            unit="10*3/uL",
            flags=("N",),
            observed_at=NOW,
            status="F",
            dilution="1",
            rack="2",
            position="7",
        )
        for code, value in values.items()
    )


class Laboratory:
    """One analyzer; every message goes the whole way through the inbox and the apply step."""

    def __init__(self) -> None:
        registered((GATEWAY, 0))
        with begin() as session:
            self._bench = set_up(session)
            leases.make(session, 1)
            self.lease = leases.beat(session, "worker", seconds=600, partitions=1)[0][0]
        self._sequence = 0

    def tube(self, *codes: str) -> tuple[str, Any]:
        """Accession and id of a received specimen."""
        with begin() as session:
            self._bench.session = session
            specimen = self._bench.specimen(*codes)
            return specimen.accession, specimen.id

    def hears(self, raw: bytes, items: Sequence[Item], **more: Any) -> InboxMessage:
        """A message as a box with an older driver sends it, applied."""
        self._sequence += 1
        at = more.pop("received_at", MORNING)
        sent = replace(
            message(self._sequence, raw=raw, items=tuple(items), **more), driver_version="older", received_at=at
        )
        Inbox(begin, 0).store([Arrival(up_topic(0, GATEWAY, LINK), envelope(GATEWAY, LINK, [sent]).to_bytes())])
        self.applies()
        with begin() as session:
            return session.scalars(select(InboxMessage).where(InboxMessage.sequence == self._sequence)).one()

    def applies(self) -> None:
        while apply_link(begin, self.lease, KEY, results.ingest).more:
            pass


def released(specimen_id: Any) -> Any:
    with begin() as session:
        review.mark_reviewed(session, specimen_id, by=ASKER, version=sheets.version_of(session, specimen_id))
    with begin() as session:
        report = reports.release(
            session,
            specimen_id,
            by=APPROVER,
            version=sheets.version_of(session, specimen_id),
            confirm_critical=True,
            partial=True,
        )
        return report.id
