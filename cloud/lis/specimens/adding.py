"""Add-on tests (加做) on a tube that is in the laboratory: fit, room and age are checked, then the items join it.

Where no limit is known the person is asked to confirm; nothing is assumed (ISO 15189:2022 7.2.7.3).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog.model import Test
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import OrderItem
from cloud.lis.specimens import charging, lookup, record, tubing
from cloud.lis.specimens.model import Specimen, SpecimenState, TestCollection, Whereabouts
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Doubt:
    """One thing about a test on this tube. `refuses`: no confirmation helps."""

    code: str
    sentence: str
    refuses: bool = False
    hours: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One wanted test: what speaks against it."""

    test: Test
    doubts: tuple[Doubt, ...]

    @property
    def refused(self) -> bool:
        return any(each.refuses for each in self.doubts)


ON_IT = Doubt("on_tube", N_("该标本已有此项目"), refuses=True)
WRONG_TYPE = Doubt("wrong_type", N_("标本类型不符，不能在此管加做"), refuses=True)
WRONG_TUBE = Doubt("wrong_tube", N_("试管（添加剂）与项目要求不同，请确认可用"))
NO_ROOM = Doubt("no_room", N_("剩余标本量可能不足，请核对后确认"))
NO_VOLUME = Doubt("volume_unknown", N_("项目用量未设置，请目测标本量后确认"))
NO_LIMIT = Doubt("limit_unknown", N_("未设置稳定时限，请确认可加做"))
NO_TIME = Doubt("time_unknown", N_("采集时间未知，无法核对稳定时限，请确认"))


def check(session: Session, specimen: Specimen, codes: Sequence[str]) -> list[Check]:
    """What speaks against doing these tests (or panels) on this tube, test by test."""
    wanted = orders.wanted_tests(session, codes)
    tests = catalog.tests_by_id(session, [each.test_id for each in wanted])
    asked = {each.test_id: session.get(TestCollection, each.test_id) for each in wanted}
    items = lookup.live_items(session, specimen.id)
    room = _room_ul(session, specimen, items)
    present = {each.test_id for each in items}
    in_order = {each.test_id for each in orders.items_of(session, specimen.order_id) if each.state != "cancelled"}
    found = []
    for each in wanted:
        test, needs = tests[each.test_id], asked[each.test_id]
        doubts = []
        if test.id in present or test.id in in_order:
            doubts.append(ON_IT)
        if test.specimen_type != specimen.specimen_type:
            doubts.append(WRONG_TYPE)
        elif test.tube_id != specimen.tube_id:
            doubts.append(WRONG_TUBE)
        volume = needs.volume_ul if needs else None
        if room is not None and volume is not None:
            room -= volume
            if room < 0:
                doubts.append(NO_ROOM)
        else:
            doubts.append(NO_VOLUME)
        doubts.extend(_stability(specimen, needs))
        found.append(Check(test, tuple(doubts)))
    return found


def _room_ul(session: Session, specimen: Specimen, items: Sequence[OrderItem]) -> int | None:
    """What should be left in the tube, microlitres; None where its fill or a test's volume is not known."""
    fill = tubing.usable_volumes(session).get(specimen.tube_id)
    if specimen.volume_ml is not None:
        fill = int(specimen.volume_ml * 1000)
    asked = [session.get(TestCollection, each.test_id) for each in items]
    if fill is None or any(each is None or each.volume_ul is None for each in asked):
        return None
    return fill - sum(each.volume_ul for each in asked if each is not None and each.volume_ul is not None)


def _stability(specimen: Specimen, needs: TestCollection | None) -> list[Doubt]:
    """Beyond the longest limit known: refused; beyond the shortest: how it was kept decides; none known: asked."""
    limits = [needs.stable_room_h, needs.stable_cold_h, needs.stable_frozen_h] if needs else []
    known = sorted(each for each in limits if each is not None)
    if not known:
        return [NO_LIMIT]
    since = specimen.collected_at
    if since is None:
        return [NO_TIME]
    age = clock.now() - since
    hours = int(age / timedelta(hours=1))
    if age > timedelta(hours=known[-1]):
        said = N_("采集已 {hours} 小时，超过稳定时限 {limit} 小时")
        return [Doubt("too_old", said, refuses=True, hours=hours, limit=known[-1])]
    if age > timedelta(hours=known[0]):
        said = N_("采集已 {hours} 小时，超过室温（最短）时限 {limit} 小时，请确认保存条件")
        return [Doubt("kept_how", said, hours=hours, limit=known[0])]
    return []


def add_on(
    session: Session,
    barcode: str,
    codes: Sequence[str],
    *,
    by: str,
    confirmed: Collection[str] = (),
    reason: str = "",
) -> list[OrderItem]:
    """Put tests on a tube. `confirmed`: codes of the doubts that the person saw and answered for.

    A tube whose work was done is open again. Raises `Conflict` for a tube that is not in the laboratory any more, a
    test that cannot be done on it, or a doubt that nobody confirmed.
    """
    found = lookup.by_barcode(session, barcode)
    order = orders.locked(session, found.order_id)
    specimen = record.locked(session, found.id)
    if specimen.state not in (SpecimenState.RECEIVED, SpecimenState.DONE):
        raise record.why_not(session, specimen)
    if specimen.whereabouts in (Whereabouts.DISCARDED, Whereabouts.LOST):
        raise record.not_there(specimen)
    checks = check(session, specimen, codes)
    refused = [each for each in checks if each.refused]
    if refused:
        names = "、".join(each.test.short_name for each in refused)
        raise Conflict("add_on_refused", N_("不能在此标本加做：{tests}。"), tests=names)
    asked = {doubt.code for each in checks for doubt in each.doubts}
    if asked - set(confirmed):
        raise Invalid("add_on_unconfirmed", N_("请逐项核对提示后勾选确认。"))
    items = orders.add_tests(session, order.id, codes, by=by)
    if specimen.state == SpecimenState.DONE:
        specimen = record.claim_back(session, specimen, SpecimenState.RECEIVED)
        record.append(session, specimen.id, "reopened", by=by, reason=reason.strip() or "add_on")
    tubing.join(session, specimen, [each.id for each in items], by=by, new=False)
    for each in items:
        session.refresh(each)
    charging.received(session, specimen, [each.id for each in items], by=by)
    record.tell_pages(session, specimen)
    audit.record(
        session,
        actor=by,
        action="specimen.add_on",
        aggregate=("specimen", str(specimen.id)),
        after={"items": list(codes), "confirmed": sorted(asked)},
        reason=reason.strip() or None,
    )
    return items
