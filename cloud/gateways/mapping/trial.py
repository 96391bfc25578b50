"""What the channels of an instrument would make of a message. Nothing is stored and no specimen is looked up."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.gateways.model import InboxMessage
from cloud.gateways.redecode.reading import AUTO, driver_of
from cloud.lis.catalog.model import ApprovalState, Test
from cloud.lis.instruments import service as instruments
from cloud.lis.instruments.model import ChannelKind, Instrument, InstrumentChannel
from cloud.lis.results.conversion import conversion_of
from cloud.lis.verification.values import convert
from protocols.capture import read_capture
from protocols.model import Item, Observation, Undecoded
from protocols.uplink.items import item_from_json

MAPPED, NOTICE, UNKNOWN, UNIT_DIFFERS, NO_NUMBER, RETIRED = "mapped", "notice", "unknown", "unit", "number", "retired"
LARGEST = 2 << 20
MOST_LINES = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """One code of the message and what becomes of it."""

    code: str
    name: str
    value: str
    unit: str
    verdict: str
    """mapped, notice (a message of the instrument), unknown (nobody maps it), unit (it sends another unit than the
    channel's: held, not converted), number (no number for a numeric test) or retired (the test is out of use)."""
    test: Test | None = None
    expected: str = ""
    """The unit the channel expects."""
    becomes: str = ""
    qc: bool = False


@dataclass(slots=True)
class Trial:
    """A message under the channels of today."""

    driver: str
    specimens: list[str] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    undecoded: list[str] = field(default_factory=list)
    """Why a piece could not be read, and how it begins."""
    silent: list[tuple[InstrumentChannel, Test]] = field(default_factory=list)
    """Channels of tests that the message says nothing of."""
    cut: bool = False

    @property
    def counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in self.seen:
            found[each.verdict] = found.get(each.verdict, 0) + 1
        return found


def stored_messages(session: Session, instrument: Instrument, *, limit: int = 30) -> list[InboxMessage]:
    """The newest messages of the instrument's link, by the time they were stored."""
    found = (
        select(InboxMessage)
        .where(InboxMessage.gateway == instrument.gateway, InboxMessage.link == instrument.link)
        .order_by(InboxMessage.id.desc())
        .limit(limit)
    )
    return list(session.scalars(found))


def of_message(session: Session, instrument: Instrument, message: InboxMessage) -> Trial:
    """A stored message as the box decoded it."""
    items = [item_from_json(each) for each in message.items]
    return _tried(session, instrument, message.driver, items)


def of_capture(session: Session, instrument: Instrument, data: bytes, driver_id: str) -> Trial:
    """An uploaded capture, read by a driver ("auto": whichever claims it)."""
    driver = driver_of(driver_id or AUTO, {})
    found = list(read_capture(data, driver))
    readers = dict.fromkeys(each.driver for each in found if each.driver is not None)
    return _tried(session, instrument, ", ".join(readers) or driver_id, [each.item for each in found])


def _tried(session: Session, instrument: Instrument, driver: str, items: Sequence[Item]) -> Trial:
    channels = {each.code: each for each in instruments.channels(session, instrument.id)}
    wanted = {each.test_id for each in channels.values() if each.test_id is not None}
    tests = {each.id: each for each in session.scalars(select(Test).where(Test.id.in_(wanted)))}
    observations = [each for each in items if isinstance(each, Observation)]
    trial = Trial(driver, cut=len(observations) > MOST_LINES)
    trial.specimens = list(dict.fromkeys(each.specimen or "" for each in observations))[:20]
    trial.seen = [_seen(each, channels, tests) for each in observations[:MOST_LINES]]
    trial.undecoded = [f"{each.reason}: {each.text or ''}"[:300] for each in items if isinstance(each, Undecoded)]
    trial.silent = _silent(channels.values(), tests, {each.code for each in observations})
    return trial


def _silent(
    channels: Iterable[InstrumentChannel], tests: Mapping[uuid.UUID, Test], said: set[str]
) -> list[tuple[InstrumentChannel, Test]]:
    found = ((each, tests.get(each.test_id)) for each in channels if each.test_id is not None)
    return [(each, test) for each, test in found if test is not None and each.code not in said]


def _seen(observation: Observation, channels: Mapping[str, InstrumentChannel], tests: Mapping[uuid.UUID, Test]) -> Seen:
    value, unit = observation.value or "", observation.unit or ""
    qc = observation.qc is not None
    channel = channels.get(observation.code)
    name = observation.name or ""
    if channel is None:
        return Seen(observation.code, name, value, unit, UNKNOWN, qc=qc)
    test = tests.get(channel.test_id) if channel.test_id is not None else None
    if channel.kind != ChannelKind.TEST or test is None:
        return Seen(observation.code, name, value, unit, NOTICE, expected=channel.unit, qc=qc)
    conversion = conversion_of(channel, unit, test)
    if not conversion.expected:
        return Seen(observation.code, name, value, unit, UNIT_DIFFERS, test, conversion.wanted, qc=qc)
    text, quantity = convert(value, conversion.factor, test.decimals)
    becomes = f"{text} {test.unit}".strip()
    verdict = MAPPED
    if test.state == ApprovalState.RETIRED:
        verdict = RETIRED
    elif test.value_type in ("numeric", "ratio") and quantity is None:
        verdict = NO_NUMBER
    return Seen(observation.code, name, value, unit, verdict, test, channel.unit, becomes, qc)
