"""What each role may do. Rights are granted by role; a slice asks for a permission, never for a role."""

from __future__ import annotations

from collections.abc import Iterable

from cloud.web.i18n import mark as N_

PERMISSIONS = {
    "order.place": N_("开立申请"),
    "patient.read": N_("查看患者"),
    "patient.bind": N_("窗口绑定患者手机"),
    "specimen.print": N_("打印条码"),
    "specimen.collect": N_("采集标本"),
    "specimen.receive": N_("接收标本"),
    "specimen.hand_over": N_("交接标本"),
    "specimen.store": N_("存取和丢弃标本"),
    "result.read": N_("查看结果"),
    "result.review": N_("技术审核"),
    "result.release": N_("签发报告"),
    "critical.ward": N_("病区接收危急值"),
    "critical.policy": N_("设置危急值时限和上报阶梯"),
    "result.export": N_("导出查询结果"),
    "report.read": N_("查看报告"),
    "report.amend": N_("修正报告"),
    "report.print": N_("打印报告"),
    "printer.configure": N_("设置打印机和自助机"),
    "unmatched.match": N_("匹配无主结果"),
    "infectious.read": N_("查看传染病病例"),
    "infectious.tell": N_("告知传染病阳性"),
    "infectious.decide": N_("处理传染病病例"),
    "turnaround.read": N_("查看周转时间"),
    "turnaround.cause": N_("登记超时原因"),
    "turnaround.target": N_("设置周转时间目标"),
    "environment.read": N_("查看环境监测"),
    "environment.acknowledge": N_("处置环境报警"),
    "schedule.read": N_("查看出诊安排"),
    "schedule.edit": N_("维护排班"),
    "schedule.stop": N_("停诊和替诊"),
    "hospital.read": N_("查看科室和医生"),
    "hospital.edit": N_("维护科室和医生"),
    "catalog.read": N_("查看项目字典"),
    "catalog.edit": N_("维护项目字典"),
    "catalog.approve": N_("批准参考范围"),
    "rule.approve": N_("批准审核规则"),
    "authority.read": N_("查看人员授权"),
    "authority.grant": N_("登记人员授权"),
    "gateway.read": N_("查看网关"),
    "gateway.configure": N_("配置网关"),
    "booking.read": N_("查看挂号记录"),
    "booking.handle": N_("窗口办理挂号"),
    "booking.settle": N_("设置挂号规则"),
    "money.read": N_("查看收费与退费"),
    "money.collect": N_("窗口收费"),
    "money.refund": N_("窗口退费"),
    "money.reconcile": N_("对账与关账"),
    "money.policy": N_("设置收费规则"),
    "charge.make": N_("手工录入账单"),
    "charge.execute": N_("执行登记"),
    "staff.admin": N_("管理账号"),
    "audit.read": N_("查看审计记录"),
}

_BENCH = {
    "order.place",
    "patient.read",
    "specimen.print",
    "specimen.collect",
    "specimen.receive",
    "specimen.hand_over",
    "specimen.store",
    "result.read",
    "result.review",
    "report.read",
    "report.print",
    "unmatched.match",
    "infectious.read",
    "infectious.tell",
    "turnaround.read",
    "turnaround.cause",
    "environment.read",
    "environment.acknowledge",
    "hospital.read",
    "catalog.read",
    "authority.read",
    "gateway.read",
}

ROLES: dict[str, frozenset[str]] = {
    "technician": frozenset(_BENCH),
    "reviewer": frozenset(
        _BENCH | {"result.release", "result.export", "report.amend", "catalog.edit", "infectious.decide"}
    ),
    "section_head": frozenset(
        _BENCH
        | {"result.release", "result.export", "report.amend", "catalog.edit", "infectious.decide", "rule.approve"}
    ),
    "director": frozenset(
        _BENCH
        | {
            "rule.approve",
            "result.release",
            "result.export",
            "report.amend",
            "catalog.edit",
            "catalog.approve",
            "authority.grant",
            "audit.read",
            "infectious.decide",
            "turnaround.target",
            "critical.policy",
            "printer.configure",
        }
    ),
    "field_engineer": frozenset(
        {"gateway.read", "gateway.configure", "environment.read", "catalog.read", "hospital.read", "printer.configure"}
    ),
    "nurse": frozenset({"patient.read", "critical.ward", "specimen.print", "specimen.collect", "specimen.hand_over"}),
    "courier": frozenset({"specimen.hand_over"}),
    "reception": frozenset(
        {
            "patient.read",
            "specimen.print",
            "specimen.collect",
            "specimen.receive",
            "specimen.hand_over",
            "specimen.store",
        }
    ),
    "infection_control": frozenset(
        {"patient.read", "report.read", "infectious.read", "infectious.tell", "infectious.decide"}
    ),
    "clerk": frozenset(
        {"patient.read", "result.read", "result.export", "report.read", "report.print", "turnaround.read"}
    ),
    "outpatient_office": frozenset(
        {
            "hospital.read",
            "hospital.edit",
            "schedule.read",
            "schedule.edit",
            "schedule.stop",
            "patient.read",
            "booking.read",
            "booking.handle",
            "booking.settle",
        }
    ),
    "cashier": frozenset(
        {
            "hospital.read",
            "schedule.read",
            "patient.read",
            "patient.bind",
            "specimen.print",
            "booking.read",
            "booking.handle",
            "money.read",
            "money.collect",
            "money.refund",
            "charge.make",
        }
    ),
    "finance": frozenset({"money.read", "money.reconcile", "money.policy"}),
    "executor": frozenset({"patient.read", "charge.execute"}),
    "admin": frozenset(
        {
            "staff.admin",
            "authority.read",
            "authority.grant",
            "audit.read",
            "catalog.read",
            "hospital.read",
            "gateway.read",
        }
    ),
}

ROLE_NAMES = {
    "technician": N_("检验技师"),
    "reviewer": N_("审核医师"),
    "section_head": N_("专业组长"),
    "director": N_("科室主任"),
    "field_engineer": N_("现场工程师"),
    "nurse": N_("采集护士"),
    "courier": N_("运送员"),
    "reception": N_("标本接收员"),
    "infection_control": N_("感染管理专员"),
    "clerk": N_("检验信息员"),
    "cashier": N_("收费员"),
    "outpatient_office": N_("门诊办公室"),
    "finance": N_("财务人员"),
    "executor": N_("执行科室人员"),
    "admin": N_("系统管理员"),
}


def permissions_of(roles: Iterable[str]) -> frozenset[str]:
    """All that these roles together may do; an unknown role gives nothing."""
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))
