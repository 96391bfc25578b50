"""The paper of a version, set again from the frozen content, its form, its source and its pictures."""

from __future__ import annotations

import hashlib

from sqlalchemy.orm import Session

from cloud.explain.again import Check
from cloud.lis.reports import form_store
from cloud.lis.reports.model import ReportVersion
from cloud.lis.reports.printing import rendered
from cloud.lis.reports.view import ReportContent


def paper(session: Session, row: ReportVersion, content: ReportContent) -> Check:
    """The same bytes with the typesetter that was installed then; with another one it is not compared."""
    form = content.form
    if form is None:
        return Check("paper", "released before forms were kept", None)
    says = f"form {form.code} version {form.version}, source {form.source[:12]}"
    if row.pdf is None:
        return Check("paper", f"{says}, not printed yet", None)
    engine = form_store.engine_of(session, form.source)
    if engine != form_store.engine():
        return Check("paper", f"{says}, set with {engine}, today's is {form_store.engine()}", None)
    again = hashlib.sha256(rendered(content, materials=form_store.materials(session, content))).hexdigest()
    return Check("paper", f"{says}, set again with {engine}", again == row.pdf_sha256)
