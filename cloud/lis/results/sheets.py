"""The sheet of a specimen: the lock that every change of its results takes, and the version that guards stale pages."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit.errors import Conflict, NotFound
from cloud.lis.results.model import ResultSheet
from cloud.web.i18n import mark as N_

STALE = N_("这份标本刚刚有变化（新结果到达或他人已处理），请核对更新后的页面再操作。")


def touch(session: Session, specimen_ids: Iterable[uuid.UUID]) -> None:
    """Lock the sheets of these specimens (made where missing) and move their versions on. Ordered, so none wait in a
    ring.
    """
    rows = [{"specimen_id": each, "version": 1} for each in sorted(set(specimen_ids))]
    if rows:
        new = insert(ResultSheet).values(rows)
        session.execute(
            new.on_conflict_do_update(
                index_elements=[ResultSheet.specimen_id], set_={"version": ResultSheet.version + 1}
            )
        )


def claim(session: Session, specimen_id: uuid.UUID, version: int) -> ResultSheet:
    """Lock the sheet if the page that acts was made from its present version; else 409 with what to do.

    One conditional statement: of two reviewers acting at once the second is told.
    """
    found = session.execute(
        update(ResultSheet)
        .where(ResultSheet.specimen_id == specimen_id, ResultSheet.version == version)
        .values(version=ResultSheet.version + 1)
        .returning(ResultSheet.specimen_id)
    ).first()
    if found is None:
        if session.get(ResultSheet, specimen_id, populate_existing=True) is None:
            raise NotFound("specimen.no_results", N_("这份标本还没有结果。"))
        raise Conflict("sheet.stale", STALE)
    return session.get_one(ResultSheet, specimen_id, populate_existing=True)


def version_of(session: Session, specimen_id: uuid.UUID) -> int:
    """The present version; 0 while the specimen has no results."""
    found = session.scalar(select(ResultSheet.version).where(ResultSheet.specimen_id == specimen_id))
    return found or 0
