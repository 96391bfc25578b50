"""What follows a release, an amendment or a recall: printed by rule, printed again in its new version, or stopped."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.catalog.model import Test
from cloud.lis.catalog.words import SECTIONS
from cloud.lis.orders.model import Order, OrderItem, Priority
from cloud.lis.printing import printers, queue
from cloud.lis.printing.copies import held_report
from cloud.lis.printing.model import JobState, Origin, Printer, PrinterKind, PrintJob, PrintRule
from cloud.lis.reports.model import Report, ReportState
from cloud.web.i18n import mark as N_


def released(session: Session, report_id: uuid.UUID, version: int) -> list[PrintJob]:
    """Stop older versions, print this one where they were (or were to be) printed, then where the rules say.

    For a version that is not the one in force any more nothing is done: its successor has its own event.
    """
    report = held_report(session, report_id)
    if report.version != version or report.state == ReportState.RECALLED:
        return []
    queue.cancel_superseded(session, report, queue.SUPERSEDED)
    made = [
        queue.follow(session, report, printer, origin=Origin.AMENDED, by="system")
        for printer in _had_older(session, report)
    ]
    made += [
        queue.follow(session, report, printer, origin=Origin.RULE, by=f"rule:{rule.id}")
        for rule, printer in _fitting(session, report)
    ]
    return [each for each in made if each is not None]


def recalled(session: Session, report_id: uuid.UUID) -> int:
    """Nothing of a recalled report is printed any more; how many jobs waited. An amended version has its own event."""
    report = held_report(session, report_id)
    if report.state != ReportState.RECALLED:
        return 0
    return len(queue.cancel_superseded(session, report, queue.RECALLED))


def _had_older(session: Session, report: Report) -> list[Printer]:
    """Where an older version was printed, lies on its way, or was cancelled because of this one. Kiosks are left out:
    the patient is gone, and scans again.
    """
    jobs = select(PrintJob.printer_id).where(
        PrintJob.report_id == report.id,
        PrintJob.report_version < report.version,
        PrintJob.state.in_((JobState.TAKEN, JobState.PRINTED))
        | PrintJob.trouble.in_((queue.SUPERSEDED, queue.RECALLED)),
    )
    wanted = select(Printer).where(Printer.id.in_(jobs), Printer.kind == PrinterKind.REPORT)
    return list(session.scalars(wanted.order_by(Printer.code)))


def _fitting(session: Session, report: Report) -> list[tuple[PrintRule, Printer]]:
    order = session.get_one(Order, report.order_id)
    sections = set(
        session.scalars(
            select(Test.section)
            .join(OrderItem, OrderItem.test_id == Test.id)
            .where(OrderItem.specimen_id == report.specimen_id)
        )
    )
    rows = session.execute(
        select(PrintRule, Printer)
        .join(Printer, Printer.id == PrintRule.printer_id)
        .where(PrintRule.ended_at.is_(None), Printer.retired_at.is_(None))
        .order_by(PrintRule.created_at, PrintRule.id)
    )
    return [
        (rule, printer)
        for rule, printer in rows
        if rule.department_id in (None, order.department_id)
        and rule.section in ("", *sections)
        and rule.priority in ("", order.priority)
        and (rule.preliminary or report.state != ReportState.PRELIMINARY)
        and (rule.sensitive or not report.sensitive)
    ]


def add_rule(
    session: Session,
    *,
    printer_id: uuid.UUID,
    by: str,
    department_id: uuid.UUID | None = None,
    section: str = "",
    priority: str = "",
    preliminary: bool = False,
    sensitive: bool = False,
) -> PrintRule:
    """From now on; reports released before are not printed by it."""
    printer = printers.by_id(session, printer_id)
    if printer.kind == PrinterKind.KIOSK or printer.retired_at is not None:
        raise Invalid("print_rule.printer", N_("请选择一台在用的报告打印机。"))
    if department_id is not None and session.get(Department, department_id) is None:
        raise Invalid("department_unknown", N_("没有这个科室，请重新选择。"))
    if (section and section not in SECTIONS) or (priority and priority not in set(Priority)):
        raise Invalid("print_rule.scope", N_("请重新选择专业组和优先级。"))
    same = select(PrintRule.id).where(
        PrintRule.ended_at.is_(None),
        PrintRule.printer_id == printer_id,
        PrintRule.department_id.is_not_distinct_from(department_id),
        PrintRule.section == section,
        PrintRule.priority == priority,
    )
    if session.scalar(same.limit(1)) is not None:
        raise Conflict("print_rule.there", N_("已有同样范围的规则。"))
    rule = PrintRule(
        printer_id=printer_id,
        department_id=department_id,
        section=section,
        priority=priority,
        preliminary=preliminary,
        sensitive=sensitive,
        by=by,
    )
    session.add(rule)
    session.flush()
    record(session, actor=by, action="print_rule.add", aggregate=("print_rule", rule.id), after=_words(rule, printer))
    return rule


def end_rule(session: Session, rule_id: uuid.UUID, *, by: str) -> None:
    """From now on nothing is printed by it."""
    ended = session.scalar(
        update(PrintRule)
        .where(PrintRule.id == rule_id, PrintRule.ended_at.is_(None))
        .values(ended_at=clock.now(), ended_by=by)
        .returning(PrintRule.id)
    )
    if ended is None:
        raise Conflict("print_rule.ended", N_("这条规则已经停用。"))
    record(session, actor=by, action="print_rule.end", aggregate=("print_rule", rule_id))


@dataclass(frozen=True, slots=True)
class RuleLine:
    rule: PrintRule
    printer: Printer
    department: Department | None


def rules(session: Session) -> list[RuleLine]:
    """In force, by printer."""
    rows = session.execute(
        select(PrintRule, Printer, Department)
        .join(Printer, Printer.id == PrintRule.printer_id)
        .outerjoin(Department, Department.id == PrintRule.department_id)
        .where(PrintRule.ended_at.is_(None))
        .order_by(Printer.code, PrintRule.created_at)
    )
    return [RuleLine(rule, printer, department) for rule, printer, department in rows]


def _words(rule: PrintRule, printer: Printer) -> dict[str, object]:
    return {
        "printer": printer.code,
        "department": str(rule.department_id) if rule.department_id else None,
        "section": rule.section,
        "priority": rule.priority,
        "preliminary": rule.preliminary,
        "sensitive": rule.sensitive,
    }
