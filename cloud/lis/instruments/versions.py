"""Channels in the catalogue's change record: a new mapping is a draft, an approved one changes by approval."""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.errors import Invalid
from cloud.lis.catalog import kinds, sheets
from cloud.lis.catalog.columns import choice, flag, number, reference, text
from cloud.lis.catalog.kinds import Kind
from cloud.lis.catalog.model import Test
from cloud.lis.catalog.sheets import Sheet
from cloud.lis.catalog.writing import COLUMNS
from cloud.lis.instruments.model import ChannelKind, Instrument, InstrumentChannel
from cloud.web.i18n import mark as N_


def _label(session: Session, channel: InstrumentChannel) -> str:
    return f"{session.get_one(Instrument, channel.instrument_id).code} · {channel.code}"


def check(session: Session, channel: InstrumentChannel) -> None:
    """What every mapping obeys."""
    if not channel.code.strip() or channel.factor <= 0:
        raise Invalid("channel_wrong", N_("请填写仪器通道代码，换算系数须大于 0。"))
    if channel.factor != 1 and not channel.unit.strip():
        # Without it the factor would convert whatever unit the instrument sends, also after somebody changes it there.
        raise Invalid("channel_unit_missing", N_("换算系数不为 1 时，请填写仪器发送的单位。"))
    if channel.kind not in set(ChannelKind) or (channel.kind == ChannelKind.TEST) != (channel.test_id is not None):
        raise Invalid("channel_kind", N_("请选择检验项目，或登记为仪器提示。"))
    if channel.test_id is not None and session.get(Test, channel.test_id) is None:
        raise Invalid("channel_test", N_("没有这个检验项目。"))


def _its_test(channel: InstrumentChannel) -> uuid.UUID | None:
    return channel.test_id


KINDS = {
    "test": N_("检验项目"),
    "message": N_("仪器提示"),
    "index_h": N_("血清指数 H（溶血）"),
    "index_i": N_("血清指数 I（黄疸）"),
    "index_l": N_("血清指数 L（脂血）"),
}
CHANNEL = kinds.add(
    Kind(
        "channel",
        InstrumentChannel,
        ("kind", "test_id", "factor", "unit", "also_units", "method", "sendable"),
        _label,
        _its_test,
        check,
    )
)

COLUMNS["channel"] = (
    choice("kind", N_("类别"), KINDS, required=True),
    reference("test_id", N_("检验项目代码"), Test, N_("没有代码为“{typed}”的检验项目。")),
    text("unit", N_("仪器单位")),
    number("factor", N_("换算系数"), required=True, hint=N_("本室数值 = 仪器数值 × 系数")),
    text("also_units", N_("也可能发送的单位"), hint=N_("用逗号分开，按单位表换算；没有列出的单位一律挂起")),
    text("method", N_("方法"), hint=N_("留空则按项目的方法")),
    flag("sendable", N_("可下发")),
)


def _named(session: Session, channel: InstrumentChannel) -> sheets.Identity:
    return session.get_one(Instrument, channel.instrument_id).code, channel.code


def _new(session: Session, identity: sheets.Identity) -> dict[str, object]:
    found = session.scalar(select(Instrument.id).where(Instrument.code == identity[0]))
    if found is None:
        raise Invalid("sheet.instrument", N_("没有代码为“{typed}”的仪器，请先登记。"), typed=identity[0])
    return {"instrument_id": found, "code": identity[1]}


sheets.add(
    Sheet(
        CHANNEL,
        "仪器通道",
        ("仪器代码", "通道代码"),
        _named,
        _new,
        (InstrumentChannel.instrument_id, InstrumentChannel.id),
    )
)
