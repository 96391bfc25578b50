"""The page of the audit trail: who did what to which thing, for those who answer for it."""

from __future__ import annotations

import uuid
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit.audit import AuditEntry
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.staff import trail
from cloud.staff.access import CurrentStaff, require
from cloud.staff.trail_words import ACTIONS, KINDS
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/audit"
router = APIRouter(prefix=PAGE)
Reader = Annotated[CurrentStaff, Depends(require("audit.read"))]
Typed = Annotated[str, Query(max_length=200)]

navigation.add(N_("审计记录"), PAGE, permission="audit.read", group=N_("系统"), position=920, key="g a")


@router.get("")
def audit_page(
    request: Request,
    session: Transaction,
    reader: Reader,
    kind: Typed = "",
    id: Typed = "",
    actor: Typed = "",
    action: Typed = "",
    since: Typed = "",
    until: Typed = "",
    before: Typed = "",
) -> Response:
    wanted = trail.Wanted(kind, id, actor, action, since, until, before)
    filters = {"kind": kind, "id": id, "actor": actor, "action": action, "since": since, "until": until}
    found, following = trail.page(session, wanted, reader)
    context = {
        "found": found,
        "wanted": wanted,
        "kinds": trail.kinds(session),
        "kind_names": KINDS,
        "action_names": ACTIONS,
        "first": f"{PAGE}?{urlencode(filters)}",
        "following": following and f"{PAGE}?{urlencode({**filters, 'before': following})}",
    }
    return render(request, "staff/audit.html", context)


@router.get("/{entry_id}")
def entry_page(request: Request, session: Transaction, reader: Reader, entry_id: uuid.UUID) -> Response:
    """One entry with what changed, as far as the reader may see it."""
    entry = session.get(AuditEntry, entry_id)
    if entry is None:
        raise NotFound("audit.unknown", N_("没有这条审计记录。"))
    (line,) = trail.lines(session, [entry], reader)
    context = {
        "line": line,
        "entry": entry,
        "changes": trail.changes(entry, reader),
        "may": trail.open_to(reader, entry.kind),
        "is_sealed": trail.is_sealed(session, entry),
        "kind_names": KINDS,
        "action_names": ACTIONS,
    }
    return render(request, "staff/audit_entry.html", context)
