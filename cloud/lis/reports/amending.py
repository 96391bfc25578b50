"""Amending a released or recalled report: a new version with the reason, the old one kept; readers are told again."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy.orm import Session

from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.lis.critical import service as critical
from cloud.lis.reports.model import Report, ReportState
from cloud.lis.reports.service import announce_release, freeze, report_of
from cloud.lis.results import guards, sheets
from cloud.lis.results.correction import Correction, correct, released_results
from cloud.lis.results.model import ResultSheet
from cloud.lis.results.signatory import Signatory, authorise
from cloud.lis.specimens.model import Specimen
from cloud.web.i18n import mark as N_

__all__ = ["Correction", "amend"]


def amend(
    session: Session,
    report_id: uuid.UUID,
    *,
    by: Signatory,
    reason: str,
    corrections: Sequence[Correction] = (),
    comment: str | None = None,
    confirm_critical: bool = False,
    version: int | None = None,
    recalled: bool | None = None,
) -> Report:
    """Release a further version with `corrections` applied and/or another `comment` (None leaves it, "" takes it away).

    `version` is the report's version that the acting page showed: another one since is a conflict. So is a recall since
    then, where the page showed the report in force (`recalled` False).

    A sensitive report waits for the clinician again, a critical value for its read-back again: the reader of a changed
    report is not the reader of the old one. Refuses without a reason, or when nothing changes on a report in force.
    """
    authorise(by, "report.amend")
    if not reason.strip():
        raise Invalid("amend.reason", N_("请填写修订原因，它会印在修订报告上。"))
    found = session.get(Report, report_id)
    if found is None:
        raise NotFound("report.unknown", N_("没有这份报告。"))
    sheets.touch(session, [found.specimen_id])
    report = report_of(session, found.specimen_id)
    if report is not None and version is not None and report.version != version:
        raise Conflict("amend.stale", N_("这份报告刚刚有了新版本，请核对后再更正。"))
    if report is not None and recalled is not None and recalled != (report.state == ReportState.RECALLED):
        raise Conflict("amend.recalled", N_("这份报告刚刚被召回，请核对原因后再决定是否更正发布。"))
    guards.may(session, by, "report.amend", released_results(session, found.specimen_id))
    specimen = session.get_one(Specimen, found.specimen_id)
    sheet = session.get_one(ResultSheet, specimen.id, populate_existing=True)
    was_recalled = report is not None and report.state == ReportState.RECALLED
    if not corrections and (comment is None or comment.strip() == (sheet.comment or "")) and not was_recalled:
        raise Invalid("amend.unchanged", N_("没有任何更改。"))
    if comment is not None:
        sheet.comment = comment.strip() or None
    done = correct(session, specimen, corrections, by=by, confirm_critical=confirm_critical)
    corrected = {each.after.test_id: each.before.value_text for each in done}
    report = freeze(
        session,
        specimen,
        report,
        kind=ReportState.AMENDED,
        by=by,
        comment=sheet.comment,
        reason=reason.strip(),
        corrected=corrected,
    )
    told_again = [each.after for each in done]
    if was_recalled or any(each.before.critical for each in done):
        # The old case ends whole, so whatever is critical now is told anew, changed or not.
        critical.cancel_open(session, specimen.id, by=by, reason=reason.strip())
        told_again = released_results(session, specimen.id)
    critical.open_case(session, specimen, told_again, report_version=report.version, by=by)
    announce_release(session, report, by, action="report.amend", reason=reason.strip())
    return report
