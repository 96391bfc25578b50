"""Pages of instruments: list, one instrument's channels, registration."""

from __future__ import annotations

import uuid
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid, NotFound
from cloud.lis.catalog import forms, panes, record, words
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog.changes import CatalogChange
from cloud.lis.catalog.edit_routes import Typed as TypedForm
from cloud.lis.catalog.model import ApprovalState, Test
from cloud.lis.instruments import checks, service, versions
from cloud.lis.instruments.model import ChannelKind, Instrument, InstrumentChannel
from cloud.lis.instruments.service import Channel
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from protocols.driver import discover

PAGE = "/staff/lis/instruments"
router = APIRouter(prefix=PAGE)
navigation.add(N_("仪器与通道"), PAGE, permission="catalog.read", group=N_("检验设置"), position=420, key="g i")


def _channels_of(session: Session, test: Test) -> list[tuple[Instrument, InstrumentChannel]]:
    found = session.execute(
        select(Instrument, InstrumentChannel)
        .join(InstrumentChannel, InstrumentChannel.instrument_id == Instrument.id)
        .where(InstrumentChannel.test_id == test.id, InstrumentChannel.state != ApprovalState.RETIRED)
        .order_by(Instrument.code, InstrumentChannel.code)
    )
    return [(instrument, channel) for instrument, channel in found]


panes.add("channels", N_("仪器通道"), "lis/instruments/test_channels.html", _channels_of, position=200)

Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
Editor = Annotated[CurrentStaff, Depends(require("catalog.edit"))]
Typed = Annotated[str, Form(max_length=64)]


@router.get("")
def instrument_list(request: Request, session: Transaction, staff: Reader) -> Response:
    counts = (
        select(InstrumentChannel.instrument_id, func.count())
        .where(InstrumentChannel.state != ApprovalState.RETIRED)
        .group_by(InstrumentChannel.instrument_id)
    )
    context = {
        "instruments": service.instruments(session),
        "channels": {row[0]: row[1] for row in session.execute(counts)},
        "problems": checks.problems(session, clock.today()),
        "presets": [("", "—"), *((each, each) for each in service.presets())],
        "drivers": [(each, each) for each in sorted(discover())],
        "words": words,
    }
    return render(request, "lis/instruments/instruments.html", context)


@router.post("")
def register(
    session: Transaction,
    staff: Editor,
    code: Typed,
    name: Typed,
    gateway: Typed,
    link: Typed,
    driver: Typed,
    section: Typed = "",
    preset: Typed = "",
) -> Response:
    """Register an instrument behind a link of a box, with a channel table to begin with."""
    if not all(each.strip() for each in (code, name, gateway, link, driver)):
        raise Invalid("instrument_incomplete", N_("请填写仪器代码、名称、网关、线路与驱动。"))
    made = service.register(
        session,
        code=code.strip(),
        name=name.strip(),
        gateway=gateway.strip(),
        link=link.strip(),
        driver=driver.strip(),
        section=section,
        preset=preset or None,
        by=staff.actor,
    )
    return RedirectResponse(f"{PAGE}/{made.id}", status_code=303)


@router.get("/{instrument_id}")
def one_instrument(request: Request, session: Transaction, staff: Reader, instrument_id: uuid.UUID) -> Response:
    instrument = _instrument(session, instrument_id)
    channels = service.channels(session, instrument.id)
    uses = Counter(each.test_id for each in channels if each.test_id is not None)
    context = {
        "instrument": instrument,
        "channels": channels,
        "tests": catalog.tests_by_id(session, list(uses)),
        "twice": {test_id for test_id, count in uses.items() if count > 1},
        "words": words,
        "kinds": versions.KINDS,
    }
    return render(request, "lis/instruments/instrument.html", context)


def _instrument(session: Transaction, instrument_id: uuid.UUID) -> Instrument:
    instrument = session.get(Instrument, instrument_id)
    if instrument is None:
        raise NotFound("instrument_unknown", N_("没有这台仪器。"))
    return instrument


@router.post("/{instrument_id}/channels")
def map_channel(
    session: Transaction,
    staff: Editor,
    instrument_id: uuid.UUID,
    code: Typed,
    test: Typed = "",
    factor: Typed = "1",
    unit: Typed = "",
    sendable: Typed = "",
    kind: Typed = ChannelKind.TEST,
    method: Typed = "",
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Map one code of the instrument to a test or as a message, or change its mapping."""
    try:
        number = Decimal(factor.strip())
    except InvalidOperation:
        raise Invalid("channel_wrong", N_("请填写仪器通道代码，换算系数须大于 0。")) from None
    channel = Channel(code, test, number, unit, sendable == "yes", method=method)
    if kind == ChannelKind.MESSAGE:
        channel = Channel.message(code)
    service.map_channel(session, instrument_id, channel, by=staff.actor, by_name=staff.name, reason=reason)
    return RedirectResponse(f"{PAGE}/{instrument_id}", status_code=303)


@router.get("/{instrument_id}/channels/{channel_id}")
def one_channel(
    request: Request, session: Transaction, staff: Reader, instrument_id: uuid.UUID, channel_id: uuid.UUID
) -> Response:
    """One mapping as a form, with its change record."""
    return _channel_page(request, session, _channel(session, instrument_id, channel_id))


@router.post("/{instrument_id}/channels/{channel_id}/edit")
def edit_channel(
    request: Request,
    session: Transaction,
    staff: Editor,
    instrument_id: uuid.UUID,
    channel_id: uuid.UUID,
    typed: TypedForm,
) -> Response:
    channel = _channel(session, instrument_id, channel_id)
    form = _channel_form(session, channel)

    def save(values: dict[str, Any], editor: record.Editor) -> None:
        if values["kind"] != ChannelKind.TEST:
            values |= {"test_id": None, "sendable": False}
        record.change(session, versions.CHANNEL, channel.id, values, editor, seen=typed.get("stamp", ""))

    if not forms.submit(session, form, typed, staff, save):
        return _channel_page(request, session, channel, form, 422)
    return RedirectResponse(f"{PAGE}/{instrument_id}", status_code=303)


def _channel(session: Session, instrument_id: uuid.UUID, channel_id: uuid.UUID) -> InstrumentChannel:
    channel = session.get(InstrumentChannel, channel_id)
    if channel is None or channel.instrument_id != instrument_id:
        raise NotFound("channel_unknown", N_("没有这个通道。"))
    return channel


def _channel_form(session: Session, channel: InstrumentChannel) -> forms.Form:
    action = f"{PAGE}/{channel.instrument_id}/channels/{channel.id}/edit"
    return forms.filled(session, versions.CHANNEL, channel, action, N_("修改通道"))


def _channel_page(
    request: Request, session: Session, channel: InstrumentChannel, form: forms.Form | None = None, status: int = 200
) -> Response:
    history = session.scalars(
        select(CatalogChange)
        .where(CatalogChange.kind == "channel", CatalogChange.subject_id == channel.id)
        .order_by(CatalogChange.made_at.desc())
    )
    context = {
        "channel": channel,
        "instrument": session.get_one(Instrument, channel.instrument_id),
        "form": form or _channel_form(session, channel),
        "history": [(each, forms.of_change(session, each)) for each in history],
        "words": words,
    }
    return render(request, "lis/instruments/channel.html", context, status)


@router.post("/{instrument_id}/channels/{channel_id}/remove")
def unmap_channel(session: Transaction, staff: Editor, instrument_id: uuid.UUID, channel_id: uuid.UUID) -> Response:
    service.unmap_channel(session, channel_id, by=staff.actor, by_name=staff.name)
    return RedirectResponse(f"{PAGE}/{instrument_id}", status_code=303)


@router.post("/{instrument_id}/state")
def set_state(session: Transaction, staff: Editor, instrument_id: uuid.UUID, state: Typed) -> Response:
    service.set_state(session, instrument_id, state, by=staff.actor)
    return RedirectResponse(f"{PAGE}/{instrument_id}", status_code=303)
