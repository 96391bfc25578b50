"""Telling patients: when a report is released and may be read, when what held it back is lifted, when it is recalled.

The message names the hospital, the masked patient and the time, never a test or a finding. One message for each
version and account, whatever runs twice (`dedupe_key`).
"""

from __future__ import annotations

import uuid

import structlog
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import clock
from cloud.kit.events import on
from cloud.kit.jobs import enqueue, job
from cloud.lis.reports import service as reports
from cloud.lis.reports.disclosure import Channel, Reader
from cloud.lis.reports.events import ReportDisclosed, ReportRecalled, ReportReleased
from cloud.lis.reports.view import ReportView
from cloud.patient.identity import reach
from cloud.people.access import display_name

log = structlog.get_logger()

PUSH = "patient.reports.push"


@on(ReportReleased, "patient.reports.released")
def report_released(session: Session, event: ReportReleased) -> None:
    push(session, str(event.aggregate_id), event.report_version)


@on(ReportDisclosed, "patient.reports.disclosed")
def report_disclosed(session: Session, event: ReportDisclosed) -> None:
    push(session, str(event.aggregate_id), event.report_version)


@job(PUSH)
def push(session: Session, report_id: str, version: int) -> None:
    """Tell every account that may read the report, if it may be read by now; if that comes by time alone, come back
    then.
    """
    view = reports.released(session, uuid.UUID(report_id))
    if view.version != version:
        return  # a newer version has its own event
    verdict = reports.disclosable(session, view.report_id, Reader.PATIENT, Channel.PHONE)
    if not verdict.allowed:
        if verdict.until is not None:
            enqueue(session, PUSH, at=verdict.until, report_id=report_id, version=version)
        log.info("report held back", report=report_id, version=version, reason=str(verdict.reason))
        return
    told = _tell(session, view, "report_ready", f"report:{report_id}:v{version}")
    log.info("report announced", report=report_id, version=version, accounts=told)


@on(ReportRecalled, "patient.reports.recalled")
def report_recalled(session: Session, event: ReportRecalled) -> None:
    """Who may read it is told that it must not be used any more, if the version had been disclosed."""
    view = reports.released(session, event.aggregate_id)
    held = view.marks.sensitive and view.marks.disclosed_at is None
    held = held or (view.marks.contains_critical and view.marks.read_back_at is None)
    if view.version == event.report_version and not held:
        _tell(session, view, "report_recalled", f"report:{event.aggregate_id}:v{event.report_version}:recalled")


def _tell(session: Session, view: ReportView, template: str, key: str) -> int:
    """One message to each account that may read this person's reports; how many accounts that were."""
    parameters = {
        "hospital": settings().hospital_name,
        "patient": display_name(view.content.patient_name),
        "released": clock.local(view.released_at).strftime("%Y-%m-%d %H:%M"),
        "link": f"{settings().public_url.rstrip('/')}/p/reports/{view.report_id}",
    }
    return reach.tell(session, view.person_id, "report", template=template, key=key, parameters=parameters)
