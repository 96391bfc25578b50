"""Forms, typesetting sources and signature images as they are stored, and the materials of a released report."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version as installed

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session

from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.lis.reports import typesetting
from cloud.lis.reports.forms import Form, FormSettings, brought_along, checked
from cloud.lis.reports.model import ReportForm, ReportSource, SignatureImage
from cloud.lis.reports.printing import Materials
from cloud.lis.reports.view import FormUsed, ReportContent
from cloud.lis.results.model import ResultAttachment
from cloud.web.i18n import mark as N_

PRODUCT = "system"
LARGEST_SIGNATURE = 300_000
_SIGNATURE_KINDS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def current(session: Session) -> list[Form]:
    """The newest version of every form, in the order in which they are tried; what came with the product where the
    laboratory has none of its own.
    """
    rows = session.scalars(
        select(ReportForm).ext(distinct_on(ReportForm.code)).order_by(ReportForm.code, ReportForm.version.desc())
    )
    found = {**brought_along(), **{row.code: _form(row) for row in rows}}
    return sorted(found.values(), key=lambda each: (each.position, each.code))


def history(session: Session, code: str) -> list[ReportForm]:
    """Every stored version of a form, newest first."""
    return list(session.scalars(select(ReportForm).where(ReportForm.code == code).order_by(ReportForm.version.desc())))


def by_code(session: Session, code: str) -> Form:
    """The version in force. Raises `NotFound`."""
    for form in current(session):
        if form.code == code:
            return form
    raise NotFound("form.unknown", N_("没有这种报告单。"))


def keep(session: Session, form: Form) -> FormUsed:
    """What a report that is released now names: the form's version and the source, both stored from here on."""
    text = typesetting.source()
    digest = typesetting.digest(text)
    if not form.stored:
        _store_brought_along(session, form)
    if session.scalar(select(ReportSource.sha256).where(ReportSource.sha256 == digest)) is None:
        row = insert(ReportSource).values(sha256=digest, source=text, engine=engine())
        session.execute(row.on_conflict_do_nothing())
    return FormUsed(form.code, form.version, digest)


@cache
def engine() -> str:
    """What sets reports today: the bytes are the same only with this typesetter and these fonts."""
    return f"typst {installed('typst')}, pylopdf-fonts-zh-cn {installed('pylopdf-fonts-zh-cn')}"


def engine_of(session: Session, digest: str) -> str:
    """What a source was first used with; "" for one that is not stored."""
    return session.scalar(select(ReportSource.engine).where(ReportSource.sha256 == digest)) or ""


def _store_brought_along(session: Session, form: Form) -> None:
    session.execute(
        insert(ReportForm)
        .values(
            code=form.code, version=1, name=form.name, name_en=form.name_en, position=form.position,
            active=form.active, settings=form.settings.to_json(), set_by=PRODUCT, set_by_name="", reason="",
        )
        .on_conflict_do_nothing()
    )  # fmt: skip


def change(
    session: Session,
    code: str,
    settings: FormSettings,
    *,
    active: bool,
    version: int,
    by: str,
    by_name: str,
    reason: str,
) -> Form:
    """The form from now on, as a further version; `version` is the one the acting page showed. Who may is checked by
    the caller.
    """
    if not reason.strip():
        raise Invalid("settings.reason", N_("请填写更改的原因。"))
    before = by_code(session, code)
    if not active and code == "general":
        raise Invalid("form.general", N_("通用表格不能停用：没有其他格式适合时用它。"))
    checked(settings)
    if not before.stored:
        _store_brought_along(session, before)
    done = session.execute(
        insert(ReportForm)
        .values(
            code=code, version=version + 1, name=before.name, name_en=before.name_en, position=before.position,
            active=active, settings=settings.to_json(), set_by=by, set_by_name=by_name, reason=reason.strip(),
        )
        .on_conflict_do_nothing()
        .returning(ReportForm.id)
    ).first()  # fmt: skip
    if done is None or before.version != version:
        raise Conflict("form.stale", N_("这种报告单刚刚被别人改过，请刷新页面后再改。"))
    record(
        session,
        actor=by,
        action="report.form",
        aggregate=("report_form", code),
        before={"version": before.version, "active": before.active, **_told(before.settings)},
        after={"version": version + 1, "active": active, **_told(settings)},
        reason=reason.strip(),
    )
    return replace(before, version=version + 1, active=active, settings=settings)


def _told(settings: FormSettings) -> dict[str, object]:
    return {key: value for key, value in settings.to_json().items() if value not in ("", [], (), 0, False)}


def _form(row: ReportForm) -> Form:
    settings = FormSettings.from_json(row.settings)
    return Form(row.code, row.name, row.name_en, row.position, row.active, row.version, settings, stored=True)


def materials(session: Session, content: ReportContent) -> Materials:
    """All that a released report is set with, as it was stored at its release."""
    if content.form is None:
        return Materials()
    used = content.form
    row = session.scalar(select(ReportForm).where(ReportForm.code == used.code, ReportForm.version == used.version))
    text = session.scalar(select(ReportSource.source).where(ReportSource.sha256 == used.source))
    if row is None or text is None:
        raise NotFound("form.unknown", N_("没有这种报告单。"))
    form = _form(row)
    return Materials(
        settings=form.settings,
        form=f"{form.name} v{form.version}",
        source=text,
        pictures=_pictures(session, content, form.settings.pictures),
        signatures=_signatures(session, {each.sha256 for each in content.signatures}),
    )


def _pictures(session: Session, content: ReportContent, most: int) -> dict[str, bytes]:
    wanted = {uuid.UUID(each.attachment_id): each.sha256 for each in content.images[:most]}
    if not wanted:
        return {}
    rows = session.execute(
        select(ResultAttachment.id, ResultAttachment.data).where(ResultAttachment.id.in_(list(wanted)))
    )
    return {str(each): data for each, data in rows if hashlib.sha256(data).hexdigest() == wanted[each]}


def _signatures(session: Session, digests: set[str]) -> dict[str, tuple[str, bytes]]:
    if not digests:
        return {}
    rows = session.execute(
        select(SignatureImage.sha256, SignatureImage.media_type, SignatureImage.data).where(
            SignatureImage.sha256.in_(digests)
        )
    )
    return {digest: (kind, data) for digest, kind, data in rows if digest and kind and data}


def signatures_of(session: Session, staff_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The hash of the signature in force of each person who has one."""
    rows = session.execute(
        select(SignatureImage.staff_id, SignatureImage.sha256)
        .ext(distinct_on(SignatureImage.staff_id))
        .where(SignatureImage.staff_id.in_(staff_ids))
        .order_by(SignatureImage.staff_id, SignatureImage.at.desc())
    )
    return {staff_id: digest for staff_id, digest in rows if digest}


def set_signature(
    session: Session, staff_id: uuid.UUID, image: bytes | None, *, by: str, reason: str
) -> SignatureImage:
    """The signature of a person from now on; None withdraws it. Reports released before keep what they had."""
    if not reason.strip():
        raise Invalid("settings.reason", N_("请填写更改的原因。"))
    kind = None
    if image is not None:
        kind = next((kind for head, kind in _SIGNATURE_KINDS.items() if image.startswith(head)), None)
        if kind is None or len(image) > LARGEST_SIGNATURE or not typesetting.shows(image, f"s.{kind[6:]}"):
            raise Invalid("signature.image", N_("签名须是 300 KB 以内、可以打开的 PNG 或 JPEG 图片。"))
    row = SignatureImage(
        staff_id=staff_id,
        sha256=None if image is None else hashlib.sha256(image).hexdigest(),
        media_type=kind,
        data=image,
        set_by=by,
        reason=reason.strip(),
    )
    session.add(row)
    session.flush()
    record(
        session,
        actor=by,
        action="report.signature",
        aggregate=("staff", staff_id),
        after={"sha256": row.sha256},
        reason=row.reason,
    )
    return row
