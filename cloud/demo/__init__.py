"""The demonstration's accounts, departments, box and analyzers (`xinglin cloud seed-demo`). Refuses in production.

May run again: what is there stays as it is. Patients and orders come from the simulated HIS, not from here.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.gateways import service as gateways
from cloud.hospital import service as hospital
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.lis.authority import service as authority
from cloud.lis.authority.model import AuthorityGrant
from cloud.lis.authority.words import ACTS
from cloud.lis.autoverify import starting as starting_rules
from cloud.lis.instruments import service as instruments
from cloud.lis.turnaround import targets
from cloud.staff import service as staff
from cloud.staff.roles import ROLES

PASSWORD = "apricot-grove-demo"  # noqa: S105 - printed on the demo's first page; refused in production
BOX = "demo-box"
PARTITION = 0

ACCOUNTS = (
    # login, name, roles
    ("technician", "陈技师", ("technician",)),
    ("reviewer", "林审核", ("reviewer",)),
    ("head", "何组长", ("section_head",)),
    ("director", "周主任", ("director",)),
    ("engineer", "高工程师", ("field_engineer",)),
    ("nurse", "郑护士", ("nurse",)),
    ("courier", "冯运送", ("courier",)),
    ("reception", "陈接收", ("reception",)),
    ("infection", "褚感控", ("infection_control",)),
    ("clerk", "卫信息", ("clerk",)),
    ("cashier", "孙收费", ("cashier",)),
    ("outpatient", "秦门办", ("outpatient_office",)),
    ("finance", "尤财务", ("finance",)),
    ("executor", "许超声", ("executor",)),
    ("admin", "系统管理员", ("admin",)),
    ("robot-technician", "机器人技师", ("technician",)),
    ("robot-reviewer", "机器人审核", ("reviewer",)),
)
ANALYZERS = (
    # code, name, link of the box, driver (also the name of its channel table), section
    ("XN1", "Sysmex XN-1000 一号", "xn1", "sysmex_xn", "hematology"),
    ("XN2", "Sysmex XN-1000 二号（串口）", "xn2", "sysmex_xn", "hematology"),
    ("BS1", "Mindray BS-480", "bs1", "mindray_bs", "chemistry"),
)

AUTHORITY_REASON = "演示数据：上岗考核合格"


class NotInProduction(RuntimeError):
    """Known passwords must never reach a hospital's database."""


def run() -> None:
    if settings().environment == "production":
        raise NotInProduction(
            "seed-demo makes accounts with a printed password; XINGLIN_ENVIRONMENT=production refuses it"
        )
    with begin() as session:
        _seed(session)


def _seed(session: Session) -> None:
    campus = hospital.main_campus(session)
    for login, name, roles in ACCOUNTS:
        if staff.account_by_login(session, login) is None:
            staff.create_account(session, login=login, name=name, password=PASSWORD, roles=roles)
    targets.ensure_drafts(session)
    starting_rules.load(session)
    gateways.register_gateway(session, id=BOX, name="检验科演示网关", campus_id=campus.id, partition=PARTITION)
    for code, name, link, driver, section in ANALYZERS:
        instruments.register(
            session,
            code=code,
            name=name,
            gateway=BOX,
            link=link,
            driver=driver,
            section=section,
            preset=driver,
            by="system",
        )
    _authorise(session)


def _authorise(session: Session) -> None:
    """Every laboratory account may do for a year what its role allows, to all tests; from then on grants are needed.

    Only where nobody has granted anything yet.
    """
    if session.scalar(select(AuthorityGrant.id).limit(1)) is not None:
        return
    today = clock.today()
    for login, _name, roles in ACCOUNTS:
        person = staff.account_by_login(session, login)
        allowed = frozenset().union(*(ROLES[each] for each in roles))
        acts = [act for act, (_label, permission) in ACTS.items() if permission in allowed]
        if person is None or not acts or "result.review" not in allowed:
            continue
        authority.give(
            session,
            staff_id=person.id,
            acts=acts,
            scope="all",
            valid_from=today,
            valid_to=today.replace(year=today.year + 1, day=min(today.day, 28)),
            reason=AUTHORITY_REASON,
            by=None,
        )
    authority.set_enforced(session, act="", value=True, by=None, reason="演示数据：逐项授权已启用")
