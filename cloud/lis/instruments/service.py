"""The verbs of instruments: register, map channels, look up."""

from __future__ import annotations

import csv
import uuid
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.kit import audit
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog.model import Test
from cloud.lis.catalog.rules import Problem
from cloud.lis.instruments.model import ChannelKind, Instrument, InstrumentChannel, InstrumentState
from cloud.web.i18n import mark as N_


def instrument_of(session: Session, gateway: str, link: str) -> Instrument | None:
    """The instrument behind this link of this box."""
    return session.scalar(select(Instrument).where(Instrument.gateway == gateway, Instrument.link == link))


def channel_of(session: Session, instrument_id: uuid.UUID, code: str) -> InstrumentChannel | None:
    """What this instrument calls `code`."""
    return session.scalar(
        select(InstrumentChannel).where(
            InstrumentChannel.instrument_id == instrument_id, InstrumentChannel.code == code
        )
    )


def channels(session: Session, instrument_id: uuid.UUID) -> list[InstrumentChannel]:
    """All channels of an instrument, in the order they were mapped."""
    found = select(InstrumentChannel).where(InstrumentChannel.instrument_id == instrument_id)
    return list(session.scalars(found.order_by(InstrumentChannel.id)))


def instruments(session: Session) -> list[Instrument]:
    return list(session.scalars(select(Instrument).order_by(Instrument.code)))


def register(
    session: Session,
    *,
    code: str,
    name: str,
    gateway: str,
    link: str,
    driver: str,
    section: str = "",
    preset: str | None = None,
    by: str,
) -> Instrument:
    """The instrument with this code; made when it is not there, with the channels of `preset` ("sysmex_xn" ...).

    Raises `Conflict` when another instrument hangs on that link already.
    """
    found = session.scalar(select(Instrument).where(Instrument.code == code))
    if found is not None:
        return found
    if instrument_of(session, gateway, link) is not None:
        raise Conflict("link_taken", N_("网关 {gateway} 的线路 {link} 已登记其他仪器。"), gateway=gateway, link=link)
    instrument = Instrument(code=code, name=name, gateway=gateway, link=link, driver=driver, section=section)
    session.add(instrument)
    session.flush()
    for channel in preset_channels(preset) if preset else []:
        map_channel(session, instrument.id, channel, by=by)
    _record(session, instrument.id, "instrument.register", by, None, {"code": code, "gateway": gateway, "link": link})
    return instrument


@dataclass(frozen=True, slots=True)
class Channel:
    """A mapping as it is typed or read from a file."""

    code: str
    test: str
    """Code of our test; "" of a message."""
    factor: Decimal = Decimal(1)
    unit: str = ""
    sendable: bool = True
    kind: str = ChannelKind.TEST

    @classmethod
    def message(cls, code: str) -> Channel:
        """A code that is no test."""
        return cls(code, "", sendable=False, kind=ChannelKind.MESSAGE)


def presets() -> list[str]:
    """Names of the channel tables that come with the product."""
    folder = resources.files(__package__).joinpath("data")
    return sorted(each.name.removesuffix(".csv") for each in folder.iterdir() if each.name.endswith(".csv"))


def preset_channels(name: str) -> list[Channel]:
    if name not in presets():
        raise NotFound("preset_unknown", N_("没有名为 {name} 的通道预设。"), name=name)
    with resources.files(__package__).joinpath("data", f"{name}.csv").open(encoding="utf-8") as file:
        return [
            Channel.message(row["code"])
            if row["kind"] == ChannelKind.MESSAGE
            else Channel(row["code"], row["test"], Decimal(row["factor"]), row["unit"], row["sendable"] == "1")
            for row in csv.DictReader(file)
        ]


def map_channel(session: Session, instrument_id: uuid.UUID, channel: Channel, *, by: str) -> InstrumentChannel:
    """Map one code, or change how it is mapped; recorded with what it was."""
    if session.get(Instrument, instrument_id) is None:
        raise NotFound("instrument_unknown", N_("没有这台仪器。"))
    test_id = None if channel.kind == ChannelKind.MESSAGE else _test_id(session, channel.test.strip())
    if not channel.code.strip() or channel.factor <= 0:
        raise Invalid("channel_wrong", N_("请填写仪器通道代码，换算系数须大于 0。"))
    if channel.factor != 1 and not channel.unit.strip():
        # Without it the factor would convert whatever unit the instrument sends, also after somebody changes it there.
        raise Invalid("channel_unit_missing", N_("换算系数不为 1 时，请填写仪器发送的单位。"))
    mapped = channel_of(session, instrument_id, channel.code.strip())
    before = _content(mapped) if mapped is not None else None
    if mapped is None:
        mapped = InstrumentChannel(instrument_id=instrument_id, code=channel.code.strip())
        session.add(mapped)
    mapped.kind, mapped.test_id = channel.kind, test_id
    mapped.factor, mapped.unit, mapped.sendable = channel.factor, channel.unit.strip(), channel.sendable
    session.flush()
    if before != _content(mapped):
        _record(session, instrument_id, "instrument.map", by, before, _content(mapped))
    return mapped


def _test_id(session: Session, code: str) -> uuid.UUID:
    test = catalog.test_by_code(session, code)
    if test is None:
        raise Invalid("test_unknown", N_("没有这些检验项目：{codes}。"), codes=code)
    return test.id


def unmap_channel(session: Session, channel_id: uuid.UUID, *, by: str) -> None:
    """Take a mapping away; results with that code then wait as unmatched."""
    mapped = session.get(InstrumentChannel, channel_id)
    if mapped is None:
        return
    _record(session, mapped.instrument_id, "instrument.unmap", by, _content(mapped), None)
    session.delete(mapped)
    session.flush()


def set_state(session: Session, instrument_id: uuid.UUID, state: str, *, by: str) -> None:
    """Take an instrument out of service or back: an inactive one gets no worklist."""
    instrument = session.get(Instrument, instrument_id)
    if instrument is None or state not in set(InstrumentState):
        raise NotFound("instrument_unknown", N_("没有这台仪器。"))
    if instrument.state != state:
        _record(session, instrument.id, "instrument.state", by, {"state": instrument.state}, {"state": state})
        instrument.state = state


def problems(session: Session) -> list[Problem]:
    """Channels mapped twice (two codes of one instrument for one test) and tests that are mapped but retired."""
    twice = session.execute(
        select(Instrument.code, Test.code, func.string_agg(InstrumentChannel.code, ", "))
        .join(InstrumentChannel, InstrumentChannel.instrument_id == Instrument.id)
        .join(Test, Test.id == InstrumentChannel.test_id)
        .group_by(Instrument.code, Test.code)
        .having(func.count() > 1)
        .order_by(Instrument.code, Test.code)
    )
    return [Problem(code, "channel_mapped_twice", f"{test}: {codes}") for code, test, codes in twice]


def _content(channel: InstrumentChannel) -> dict[str, object]:
    return {
        "code": channel.code,
        "kind": str(channel.kind),
        "test": None if channel.test_id is None else str(channel.test_id),
        "factor": format(channel.factor.normalize(), "f"),
        "unit": channel.unit,
        "sendable": channel.sendable,
    }


def _record(
    session: Session,
    instrument_id: uuid.UUID,
    action: str,
    by: str,
    before: dict[str, object] | None,
    after: dict[str, object] | None,
) -> None:
    audit.record(
        session, actor=by, action=action, aggregate=("instrument", str(instrument_id)), before=before, after=after
    )
