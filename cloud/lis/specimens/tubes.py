"""What the pages and labels say about tubes: read together, in few queries."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog.model import Test, Tube
from cloud.lis.orders import lookup, timing
from cloud.lis.orders.asked import asked_for
from cloud.lis.orders.model import ItemState, Order, OrderItem
from cloud.lis.specimens.labels import Label
from cloud.lis.specimens.model import Specimen
from cloud.lis.specimens.timed import NOTHING, Due, due_of
from cloud.people import service as people
from cloud.people.model import Person
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

SEXES = {"M": "男", "F": "女", "U": "未知"}


@dataclass(frozen=True, slots=True)
class TubeView:
    """One specimen with everything shown beside it."""

    specimen: Specimen
    order: Order
    person: Person
    record_number: str
    """The hospital's number of the patient (病历号), empty when there is none."""
    department: Department
    tube: Tube
    tests: list[Test]
    """Those not cancelled, in the order's order."""
    asked: list[str]
    """The same in the words they were ordered with: panels, then single tests."""
    due: Due
    """When it is to be drawn, where it has a time."""


def views(session: Session, specimens: Sequence[Specimen]) -> list[TubeView]:
    """In the order given."""
    tubes = catalog.tubes_by_id(session)
    ids = [each.id for each in specimens]
    tests: dict[uuid.UUID | None, list[Test]] = {}
    rows = session.execute(
        select(OrderItem.specimen_id, Test)
        .join(Test, Test.id == OrderItem.test_id)
        .where(OrderItem.specimen_id.in_(ids), OrderItem.state != ItemState.CANCELLED)
        .order_by(OrderItem.position)
    )
    for specimen_id, test in rows:
        tests.setdefault(specimen_id, []).append(test)
    asked = asked_for(session, OrderItem.specimen_id, ids)
    order_ids = {each.order_id for each in specimens}
    orders = {each.id: each for each in session.scalars(select(Order).where(Order.id.in_(order_ids)))}
    wanted = {each.department_id for each in orders.values()}
    departments = {each.id: each for each in session.scalars(select(Department).where(Department.id.in_(wanted)))}
    persons = {person_id: people.get(session, person_id) for person_id in {each.person_id for each in specimens}}
    numbers = lookup.numbers_of(session, list(persons))
    due = due_of(session, specimens)
    return [
        TubeView(
            specimen=each,
            order=orders[each.order_id],
            person=persons[each.person_id],
            record_number=numbers.get(each.person_id, ""),
            department=departments[orders[each.order_id].department_id],
            tube=tubes[each.tube_id],
            tests=tests.get(each.id, []),
            asked=asked.get(each.id, []),
            due=due.get(each.id, NOTHING),
        )
        for each in specimens
    ]


def label_of(view: TubeView) -> Label:
    """The label's texts; always Chinese, as the ward reads it."""
    today = clock.today()
    return Label(
        barcode=view.specimen.barcode,
        name=view.person.name or "（未知）",
        who=" ".join(filter(None, (SEXES.get(view.person.sex, ""), age_text(view.person.birth_date, today)))),
        number=view.record_number,
        tube=f"{view.tube.name} {view.tube.volume_ml.normalize():f} mL",
        tests=" ".join(filter(None, (_when(view.due), *view.asked))),
        place=f"{view.department.name} {clock.local(clock.now()):%m-%d %H:%M}",
        urgent="急" if view.specimen.priority == "S" else "",
    )


def _when(due: Due) -> str:
    """The tube's time as its label says it."""
    if due.timing:
        return f"【{timing.said(due.timing, str)}】"
    return f"【{clock.local(due.at):%m-%d %H:%M}】" if due.at else ""


def age_text(birth_date: date | None, on: date) -> str:
    """Age as it is said on a ward: days below a month, months below two years, then years."""
    if birth_date is None or birth_date > on:
        return ""
    months = (on.year - birth_date.year) * 12 + on.month - birth_date.month - (on.day < birth_date.day)
    if months < 1:
        return f"{(on - birth_date).days}天"
    return f"{months}月" if months < 24 else f"{months // 12}岁"


STEP_NAMES = {
    "printed": N_("已打印条码"),
    "reprinted": N_("补打条码"),
    "bound": N_("绑定预制条码"),
    "split": N_("分出项目到新管"),
    "merged": N_("并入另一管的项目"),
    "merged_away": N_("已并入另一管"),
    "packed": N_("放入交接批次"),
    "unpacked": N_("从交接批次取出"),
    "sent": N_("已送出"),
    "sending_undone": N_("撤销送出"),
    "collection_undone": N_("撤销采集"),
    "reception_undone": N_("撤销接收"),
    "rejection_undone": N_("撤销拒收"),
    "ward_told": N_("已通知病区"),
    "concession": N_("让步检验"),
    "concession_withdrawn": N_("撤销让步检验"),
    "aliquoted": N_("已分杯"),
    "aliquot_made": N_("分杯生成"),
    "on_instrument": N_("已上机"),
    "reopened": N_("重新检验"),
    "stored": N_("已入库"),
    "retrieved": N_("已取出"),
    "discarded": N_("已丢弃"),
    "lost": N_("登记丢失"),
    "found": N_("已找回"),
    "tests_added": N_("加做项目"),
    "collected": N_("已采集"),
    "received": N_("已接收"),
    "rejected": N_("已拒收"),
    "cancelled": N_("已取消"),
    "done": N_("检验完成"),
    "line_arrived": N_("流水线：到达"),
    "line_routed": N_("流水线：转送"),
    "line_centrifuged": N_("流水线：离心"),
    "line_decapped": N_("流水线：开盖"),
    "line_aliquoted": N_("流水线：分杯"),
    "line_loaded": N_("流水线：上机"),
    "line_measured": N_("流水线：检测完成"),
    "line_recapped": N_("流水线：加盖"),
    "line_stored": N_("流水线：入库存放"),
    "line_retrieved": N_("流水线：出库"),
    "line_disposed": N_("流水线：丢弃"),
    "line_failed": N_("流水线：异常退出"),
    "line_other": N_("流水线：其他"),
}
LINE_DETAILS = {
    "rack": N_("架"),
    "position": N_("位置"),
    "destination": N_("去向"),
    "parent": N_("原管"),
    "aliquot": N_("子管"),
    "volume_ul": N_("体积（µL）"),
    "detail": N_("说明"),
}
"""What a line says of a step, in the order it is shown."""
STATE_NAMES = {
    "printed": (N_("待采集"), "neutral"),
    "collected": (N_("已采集"), "info"),
    "in_transit": (N_("运送中"), "info"),
    "received": (N_("已接收"), "good"),
    "rejected": (N_("已拒收"), "bad"),
    "cancelled": (N_("已取消"), "neutral"),
    "done": (N_("已完成"), "good"),
}


WHEREABOUTS_NAMES = {
    "stored": (N_("在库"), "info"),
    "retrieved": (N_("已取出"), "info"),
    "discarded": (N_("已丢弃"), "neutral"),
    "lost": (N_("丢失"), "bad"),
}
"""A tube at hand says nothing."""
CLOCK_NAMES = {
    "server": N_("服务器时钟"),
    "device": N_("终端时钟（离线保存）"),
    "typed": N_("人工填写"),
    "line": N_("仪器时钟"),
    "his": N_("HIS 时钟"),
}
DETAIL_NAMES = {
    "rack": N_("架"),
    "position": N_("位置"),
    "batch": N_("批次"),
    "parent": N_("原管"),
    "aliquot": N_("子管"),
    "other": N_("相关标本"),
    "volume_ml": N_("体积（mL）"),
    "count": N_("第几次打印"),
    "whom": N_("被通知人"),
    "agreed_with": N_("沟通人"),
    "discard": N_("丢弃批次"),
    "how": N_("方式"),
}
TOLD_HOW_NAMES = {"phone": N_("电话"), "screen": N_("工作站"), "person": N_("当面")}
"""What a person's step says beside who and when, in the order it is shown."""


def details(detail: Mapping[str, Any]) -> str:
    """What a step says beside who, where and when, in one line."""
    said = [
        f"{_(name)} {_(TOLD_HOW_NAMES.get(str(detail[key]), str(detail[key])))}"
        for key, name in DETAIL_NAMES.items()
        if detail.get(key)
    ]
    if detail.get("off_minutes") is not None:
        late = int(detail["off_minutes"])
        sentence = _("比要求时间晚 {minutes} 分钟") if late > 0 else _("比要求时间早 {minutes} 分钟")
        said.append(sentence.format(minutes=abs(late)))
    elif "off_minutes" in detail:
        said.append(_("采集时未登记开始时间"))
    if detail.get("unexpected"):
        said.append(_("清单外标本"))
    return " · ".join(said)


def line_details(detail: Mapping[str, Any]) -> str:
    """Where a tube stood and what else the line said, in one line."""
    return " · ".join(f"{_(name)} {detail[key]}" for key, name in LINE_DETAILS.items() if detail.get(key))


def step_name(type_: str) -> str:
    return _(STEP_NAMES.get(type_, type_))
