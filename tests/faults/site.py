"""What a fault happens to: a real box, a real broker, the real inbox; and the count that is made afterwards."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge.store.reader import Reader
from protocols.model import Observation
from protocols.uplink.envelope import MessageState
from tests.bench.drain import PlayedCloud, RealCloud, broker_at
from tests.faults.instruments import Instrument, Key
from tests.support.box import Box
from tests.support.broker import Broker, free_port

_DISK = Path(__file__).resolve().parents[2] / ".state"
"""A real disk, ignored by git; /tmp may be memory."""
INBOX = "inbox on PostgreSQL"
STAND_IN = "receipting stand-in"


@dataclass
class Row:
    """One line of the table: messages, and frames where an instrument is acknowledged frame by frame."""

    fault: str
    seed: int
    sent: int = 0
    acknowledged: int = 0
    frames: int = 0
    stored: int = 0
    inbox: int | None = None
    cloud: str = "none"
    lost: int = 0
    """Acknowledged and not there afterwards: messages on the box, frames on the box, messages in the cloud."""
    twice: int = 0
    """Stored more often than the instrument itself sent it."""
    manual: int = 0
    """Times somebody would have had to come."""
    wrong: list[str] = field(default_factory=list)
    """Anything else that must not be."""
    notes: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.lost or self.twice or self.manual or self.wrong)


@dataclass
class Site:
    folder: Path
    row: Row
    quick: bool
    box: Box
    broker: Broker | None = None
    cloud: RealCloud | PlayedCloud | None = None

    def links(self, many: int) -> dict[str, int]:
        return {f"xn{number}": self.box.add_tcp(f"xn{number}") for number in range(many)}

    def inbox(self) -> Counter[Key]:
        """What the cloud has of each message."""
        from sqlalchemy import text

        from cloud.kit.db import begin

        with begin() as session:
            rows = session.execute(text("SELECT items FROM gateway_inbox WHERE state <> 'incomplete'")).scalars()
            return Counter((items[0].get("specimen") or "", items[0].get("value") or "") for items in rows if items)

    def all_arrived(self, instruments: Sequence[Instrument], within_s: float = 180.0) -> None:
        """Everything the box keeps is in the cloud and confirmed, or for `within_s` nothing more has come: then the

        row will say what is missing. How long it takes altogether is the machine's affair.
        """
        want = {key for each in instruments for key in each.finished}
        came, since = -1, time.monotonic()
        while not self._arrived(want):
            count = self.cloud.count() if self.cloud is not None else 0
            if count != came:
                came, since = count, time.monotonic()
            elif time.monotonic() - since > within_s:
                self.row.notes["waited_in_vain_s"] = within_s
                return
            time.sleep(0.2)  # each look costs the database something

    def _arrived(self, want: set[Key]) -> bool:
        if isinstance(self.cloud, PlayedCloud):
            return self.cloud.count() >= self.messages()
        if self.cloud is None or self.cloud.count() < len(want) or want - set(self.inbox()):
            return False
        status = self.box.status()  # not the file: a page of it may be what was spoiled
        return status is not None and all(each["waiting"] == 0 for each in status["links"])

    def messages(self) -> int:
        return int(self.box.rows("SELECT count(*) FROM outbox")[0][0])

    def _in_the_cloud(self) -> tuple[Counter[Key], dict[tuple[str, int], list[bytes]]]:
        """Messages in the inbox, and the frames of each (link, sequence) there."""
        frames: dict[tuple[str, int], list[bytes]] = {}
        if not isinstance(self.cloud, RealCloud):
            return Counter(), frames
        from sqlalchemy import text

        from cloud.kit.db import begin

        with begin() as session:
            for link, sequence, raw in session.execute(text("SELECT link, sequence, raw FROM gateway_inbox")):
                frames[link, sequence] = split(bytes(raw))
        return self.inbox(), frames

    def judge(self, instruments: Sequence[Instrument], *, frames: bool = True) -> None:
        """Count, when the instruments have ended. `frames` off: a frame's only copy may have been what was spoiled."""
        row = self.row
        row.sent += sum(max(each.begun, len(each.finished)) for each in instruments)
        row.acknowledged += sum(len(each.finished) for each in instruments)
        row.frames += sum(each.frames for each in instruments)
        got, there = self._in_the_cloud()
        for each in instruments:
            found, in_order = stored(self.box, each.link)
            row.stored += sum(found.values())
            row.lost += len(set(each.finished) - set(found) - set(got))  # what was delivered may leave a full box
            row.twice += excess(found, each.offered)
            if frames:
                kept = everywhere(self.box, each.link, there)
                gone = each.acknowledged - kept
                row.lost += sum(gone.values())
                if gone:
                    row.wrong.append(
                        f"{each.link}: {sum(gone.values())} frames are nowhere, the first {next(iter(gone))!r}"
                    )
            first = list(dict.fromkeys(in_order))
            known = set(first)
            if [key for key in first if key in set(each.finished)] != [key for key in each.finished if key in known]:
                row.wrong.append(f"{each.link}: not in the order in which the instrument sent")
        if isinstance(self.cloud, PlayedCloud):
            row.cloud, row.inbox = STAND_IN, self.cloud.count()
            row.lost += max(0, self.messages() - row.inbox)
            row.notes["sent_to_the_cloud_again"] = self.cloud.twice()
        elif self.cloud is not None:
            row.cloud, row.inbox = INBOX, sum(got.values())
            offered = sum((each.offered for each in instruments), Counter[Key]())
            row.lost += len({key for each in instruments for key in each.finished} - set(got))
            row.twice += excess(got, offered)


def excess(found: Counter[Key], offered: Counter[Key]) -> int:
    return sum(max(0, many - offered[key]) for key, many in found.items() if key in offered)


def split(raw: bytes) -> list[bytes]:
    return [b"\x02" + each for each in raw.split(b"\x02")[1:]]


def everywhere(box: Box, link: str, there: Mapping[tuple[str, int], Sequence[bytes]]) -> Counter[bytes]:
    """The frames of a link that the cloud or the box has: each message once, and what belongs to none yet.

    What was delivered may leave a full box, and what never ended is closed some seconds later.
    """
    kept = Counter(each for (name, _), frames in there.items() if name == link for each in frames)
    for message in box.read(link):
        if (link, message.sequence) not in there:
            kept.update(split(message.raw))
    reader = Reader(box.store)
    try:
        kept.update(each.raw for each in reader.open_frames().get(link, ()))
    finally:
        reader.close()
    return kept


def stored(box: Box, link: str) -> tuple[Counter[Key], list[Key]]:
    """Whole messages of a link as the cloud would get them: counted, and in their order."""
    keys = [
        (item.specimen or "", item.value or "")
        for each in box.read(link)
        if each.state is MessageState.DECODED
        for item in each.items[:1]
        if isinstance(item, Observation)
    ]
    return Counter(keys), keys


@contextmanager
def site(row: Row, *, quick: bool, uplink: bool = False, folder: Path | None = None, **box: Any) -> Iterator[Site]:
    """A box that is not yet started; `uplink`: with a broker, the cloud is added by `with_cloud` or `with_stand_in`."""
    began = time.monotonic()
    _DISK.mkdir(exist_ok=True)
    with ExitStack() as stack:
        made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-", dir=_DISK)))
        broker = None
        if uplink:
            (made / "broker").mkdir()
            broker = stack.enter_context(broker_at(made / "broker"))
        settings = {"receipt_timeout_s": 3.0, "max_megabytes": 4096, **box}
        at = Box(folder or made, broker.port if broker else free_port(), **settings)
        here = Site(made, row, quick, at, broker)
        try:
            yield here
        finally:
            at.stop()
            if here.cloud is not None:
                here.cloud.close()
            row.seconds = round(time.monotonic() - began, 1)


def with_cloud(here: Site) -> None:
    """The cloud's own ingest worker on a database of its own. After the links were added."""
    here.cloud = RealCloud(here.folder, here.box, [])


def with_stand_in(here: Site) -> None:
    here.cloud = PlayedCloud(here.folder, here.box, [])


def show_head() -> None:
    print(
        f"{'fault':<11}{'sent':>9}{'acked':>9}{'frames':>9}{'stored':>9}{'in cloud':>9}"
        f"{'lost':>6}{'twice':>6}{'manual':>7}{'s':>7}  notes"
    )


def show(row: Row) -> None:
    cloud = "-" if row.inbox is None else f"{row.inbox:,}"
    notes = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in row.notes.items())
    where = "" if row.inbox is None else f"{row.cloud}; "
    print(
        f"{row.fault:<11}{row.sent:>9,}{row.acknowledged:>9,}{row.frames:>9,}{row.stored:>9,}{cloud:>9}"
        f"{row.lost:>6}{row.twice:>6}{row.manual:>7}{row.seconds:>7}  {where}{notes}",
        flush=True,
    )
    for each in row.wrong[:5]:
        print(f"           WRONG: {each}", flush=True)


def as_json(row: Row) -> str:
    return json.dumps({"bench": "faults", **asdict(row)}, ensure_ascii=False)


def is_root() -> bool:
    return os.geteuid() == 0
