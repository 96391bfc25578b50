"""Testing a tube that is not as it should be (让步检验, ISO 15189:2022 7.2.6.2), and what the report says."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.specimens import lookup, record
from cloud.lis.specimens.model import Handling, Specimen, SpecimenDefect, SpecimenState
from cloud.lis.specimens.refusal import checked_reason
from cloud.lis.specimens.rules import REASON_NAMES, RejectionReason
from cloud.web.i18n import mark as N_


def concede(
    session: Session, barcode: str, *, by: str, reason_code: str, agreed_with: str, note: str = ""
) -> SpecimenDefect:
    """Test this tube all the same: its defect, and who on the ward wanted it so. The report says both.

    Only a tube that is in the laboratory; the same defect is conceded once.
    """
    checked_reason(reason_code, note)
    if not agreed_with.strip():
        raise Invalid("agreed_with_missing", N_("让步检验须写明与临床何人沟通。"))
    specimen = record.locked(session, lookup.by_barcode(session, barcode).id)
    if specimen.state not in (SpecimenState.RECEIVED, SpecimenState.DONE):
        raise record.why_not(session, specimen)
    if any(each.reason_code == reason_code for each in _standing(session, [specimen.id])):
        raise Conflict("conceded_already", N_("该缺陷已登记让步检验。"))
    defect = SpecimenDefect(
        specimen_id=specimen.id,
        handling=Handling.CONCESSION,
        reason_code=reason_code,
        note=note.strip(),
        by=by,
        agreed_with=agreed_with.strip(),
    )
    session.add(defect)
    session.flush()
    detail = {"note": defect.note, "agreed_with": defect.agreed_with}
    record.append(session, specimen.id, "concession", by=by, reason_code=reason_code, detail=detail)
    record.tell_pages(session, specimen)
    audit.record(
        session,
        actor=by,
        action="specimen.concession",
        aggregate=("specimen", str(specimen.id)),
        after={"reason": reason_code, **detail},
    )
    return defect


def withdraw(session: Session, defect_id: uuid.UUID, *, by: str, reason: str) -> SpecimenDefect:
    """The concession was written by mistake; the reports printed meanwhile keep it."""
    because = record.needs_reason(reason)
    undone = session.scalar(
        update(SpecimenDefect)
        .where(
            SpecimenDefect.id == defect_id,
            SpecimenDefect.handling == Handling.CONCESSION,
            SpecimenDefect.undone_at.is_(None),
        )
        .values(undone_at=clock.now(), undone_by=by, undo_reason=because)
        .returning(SpecimenDefect)
        .execution_options(populate_existing=True)
    )
    if undone is None:
        raise Conflict("not_conceded", N_("没有可撤销的让步检验记录，请刷新页面。"))
    record.append(
        session, undone.specimen_id, "concession_withdrawn", by=by, reason_code=undone.reason_code, reason=because
    )
    audit.record(
        session,
        actor=by,
        action="specimen.concession_withdrawn",
        aggregate=("specimen", str(undone.specimen_id)),
        before={"reason": undone.reason_code},
        reason=because,
    )
    return undone


def standing(session: Session, specimen: Specimen) -> list[SpecimenDefect]:
    """Concessions that hold for this tube: its own, and those of the tubes it was poured from."""
    ids, above = [specimen.id], specimen.parent_id
    while above is not None:
        ids.append(above)
        above = session.get_one(Specimen, above).parent_id
    return _standing(session, ids)


def remarks(session: Session, specimen: Specimen) -> list[str]:
    """What the report must print of this tube, always in Chinese as the report is; empty for a tube as it should be."""
    return [remark(each.reason_code, each.note, each.agreed_with) for each in standing(session, specimen)]


def remark(reason_code: str, note: str, agreed_with: str) -> str:
    """One sentence: the defect in the laboratory's words, what was noted, and who on the ward agreed."""
    name = REASON_NAMES[RejectionReason(reason_code)]
    words = note if reason_code == RejectionReason.OTHER else "，".join(filter(None, (name, note)))
    return f"让步检验：{words}；已与临床沟通（{agreed_with}），结果仅供参考。"


def _standing(session: Session, specimen_ids: Sequence[uuid.UUID]) -> list[SpecimenDefect]:
    found = select(SpecimenDefect).where(
        SpecimenDefect.specimen_id.in_(tuple(specimen_ids)),
        SpecimenDefect.handling == Handling.CONCESSION,
        SpecimenDefect.undone_at.is_(None),
    )
    return list(session.scalars(found.order_by(SpecimenDefect.id)))
