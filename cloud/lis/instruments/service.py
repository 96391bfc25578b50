"""The verbs of instruments: register, map channels, look up."""

from __future__ import annotations

import csv
import uuid
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import audit
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.lis.catalog import record
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog.kinds import plain
from cloud.lis.catalog.model import ApprovalState
from cloud.lis.catalog.record import Editor
from cloud.lis.instruments.model import ChannelKind, Instrument, InstrumentChannel, InstrumentState
from cloud.lis.instruments.versions import CHANNEL
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
    """The channels of an instrument that are in use, in the order they were mapped."""
    found = select(InstrumentChannel).where(
        InstrumentChannel.instrument_id == instrument_id, InstrumentChannel.state != ApprovalState.RETIRED
    )
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
    method: str = ""

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
            Channel(row["code"], "", sendable=False, kind=row["kind"])
            if row["kind"] != ChannelKind.TEST
            else Channel(row["code"], row["test"], Decimal(row["factor"]), row["unit"], row["sendable"] == "1")
            for row in csv.DictReader(file)
        ]


def map_channel(
    session: Session, instrument_id: uuid.UUID, channel: Channel, *, by: str, by_name: str = "", reason: str = ""
) -> InstrumentChannel:
    """Map one code, or change how it is mapped. An approved mapping stays as it is until the change is approved."""
    if session.get(Instrument, instrument_id) is None:
        raise NotFound("instrument_unknown", N_("没有这台仪器。"))
    test_id = _test_id(session, channel.test.strip()) if channel.kind == ChannelKind.TEST else None
    values = {
        "kind": str(channel.kind),
        "test_id": None if test_id is None else str(test_id),
        "factor": plain(channel.factor),
        "unit": channel.unit.strip(),
        "method": channel.method.strip(),
        "sendable": channel.sendable,
    }
    editor = Editor(by, by_name or by, reason.strip() or "通道对照")
    code = channel.code.strip()
    mapped = channel_of(session, instrument_id, code)
    if mapped is None:
        made: InstrumentChannel = record.create(
            session, CHANNEL, values, editor, instrument_id=instrument_id, code=code
        )
        return made
    if mapped.state == ApprovalState.RETIRED and mapped.approved_by is None:
        mapped.state = ApprovalState.DRAFT
    elif mapped.state == ApprovalState.RETIRED:
        values["state"] = str(ApprovalState.APPROVED)
    record.change(session, CHANNEL, mapped.id, values, editor)
    return mapped


def _test_id(session: Session, code: str) -> uuid.UUID:
    test = catalog.test_by_code(session, code)
    if test is None:
        raise Invalid("test_unknown", N_("没有这些检验项目：{codes}。"), codes=code)
    return test.id


def unmap_channel(session: Session, channel_id: uuid.UUID, *, by: str, by_name: str = "", reason: str = "") -> None:
    """Take a mapping away; results with that code then wait as unmatched. An approved one goes when it is approved."""
    mapped = session.get(InstrumentChannel, channel_id)
    if mapped is None:
        return
    editor = Editor(by, by_name or by, reason.strip() or "移除通道对照")
    record.change(session, CHANNEL, channel_id, {"state": str(ApprovalState.RETIRED)}, editor)
    session.flush()


def set_state(session: Session, instrument_id: uuid.UUID, state: str, *, by: str) -> None:
    """Take an instrument out of service or back: an inactive one gets no worklist."""
    instrument = session.get(Instrument, instrument_id)
    if instrument is None or state not in set(InstrumentState):
        raise NotFound("instrument_unknown", N_("没有这台仪器。"))
    if instrument.state != state:
        _record(session, instrument.id, "instrument.state", by, {"state": instrument.state}, {"state": state})
        instrument.state = state


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
