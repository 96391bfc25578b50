"""The verbs of formulas: which one rules today, check, save a version, approve, retire. They never commit."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from sqlalchemy import event, func, or_, select, update
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.lis.authority.service import require_authority
from cloud.lis.calculation.formula import Definition, Fault, KnownTest, Operand, faults
from cloud.lis.calculation.language import FormulaError
from cloud.lis.calculation.model import Formula
from cloud.lis.catalog.model import ApprovalState, Test, ValueType
from cloud.web.i18n import mark as N_

_KEY = "lis.calculation.current"


class Editor(Protocol):
    """`cloud.staff.access.CurrentStaff` is one."""

    @property
    def id(self) -> uuid.UUID: ...
    @property
    def actor(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def permissions(self) -> Collection[str]: ...


@dataclass(frozen=True, slots=True)
class Current:
    """A formula that holds today."""

    formula: Formula
    definition: Definition
    test: Test

    @property
    def reads(self) -> tuple[Operand, ...]:
        return self.definition.read()


def current(session: Session) -> dict[str, Current]:
    """The formula of every calculated test that holds today, by the test's code; read once in a transaction.

    An approved one before a draft, and no draft at all in production.
    """
    known: dict[str, Current] | None = session.info.get(_KEY)
    if known is None:
        known = session.info[_KEY] = _read_current(session)
        _forget_with(session)
    return known


def _read_current(session: Session) -> dict[str, Current]:
    today = clock.today()
    rows = session.execute(
        select(Formula, Test)
        .join(Test, Test.id == Formula.test_id)
        .where(
            Formula.state != ApprovalState.RETIRED,
            Formula.valid_from <= today,
            or_(Formula.valid_to.is_(None), Formula.valid_to > today),
        )
        .order_by(Formula.state == ApprovalState.APPROVED, Formula.version)
    )
    allowed = {ApprovalState.APPROVED} if settings().environment == "production" else set(ApprovalState)
    return {test.code: Current(row, row.definition(test.code), test) for row, test in rows if row.state in allowed}


def _forget_with(session: Session) -> None:
    """At the end of the transaction, and when this session changes a formula itself."""

    def forget(session: Session, *_: Any) -> None:
        session.info.pop(_KEY, None)

    def flushed(session: Session, _context: object) -> None:
        if any(isinstance(each, Formula) for rows in (session.new, session.dirty, session.deleted) for each in rows):
            forget(session)

    if not session.info.get(f"{_KEY}.watched"):
        session.info[f"{_KEY}.watched"] = True
        event.listen(session, "after_commit", forget)
        event.listen(session, "after_rollback", forget)
        event.listen(session, "after_flush", flushed)


def versions(session: Session, test_id: uuid.UUID) -> list[Formula]:
    """Every version, the newest first."""
    found = select(Formula).where(Formula.test_id == test_id).order_by(Formula.version.desc())
    return list(session.scalars(found))


def known_tests(session: Session) -> dict[str, KnownTest]:
    """What a formula may speak of."""
    rows = session.execute(select(Test.code, Test.unit, Test.value_type).where(Test.state != ApprovalState.RETIRED))
    return {code: KnownTest(code, unit, ValueType(kind).in_numbers) for code, unit, kind in rows}


def reads(session: Session, *, besides: str) -> dict[str, tuple[str, ...]]:
    """What every other calculated test reads: its newest version that is not retired."""
    rows = session.execute(
        select(Formula, Test.code)
        .join(Test, Test.id == Formula.test_id)
        .where(Formula.state != ApprovalState.RETIRED, Test.code != besides)
        .order_by(Formula.version)
    )
    found: dict[str, tuple[str, ...]] = {}
    for row, code in rows:
        try:
            found[code] = tuple(each.test for each in row.definition(code).read())
        except FormulaError:
            found[code] = ()
    return found


def check(session: Session, definition: Definition) -> list[Fault]:
    """Every fault by cell; empty: it may be stored."""
    return faults(definition, known_tests(session), reads(session, besides=definition.test))


def save(
    session: Session,
    definition: Definition,
    *,
    source: str,
    by: Editor,
    reason: str = "",
    adds_itself: bool = False,
    though_measured: bool = False,
) -> Formula:
    """A new draft version; refuses one with faults or without a source. Nothing that was stored changes."""
    _may(by, "catalog.edit")
    require_authority(session, by, "catalog.edit", [definition.test])
    found = check(session, definition)
    if found:
        raise Invalid("formula.faults", N_("公式还有 {count} 处需要改正，请看标红的位置。"), count=len(found))
    if not source.strip():
        raise Invalid("formula.source", N_("请写明公式的来源。"))
    test = session.scalar(select(Test).where(Test.code == definition.test).with_for_update())
    assert test is not None, "the check knows the test"
    row = _row(session, test, definition)
    row.source, row.edited_by, row.edited_by_name = source.strip(), by.actor, by.name
    row.edited_reason, row.adds_itself, row.though_measured = reason.strip(), adds_itself, though_measured
    session.add(row)
    session.flush()
    _record(session, row, test, "formula.edit", by.actor, reason)
    return row


def _row(session: Session, test: Test, definition: Definition) -> Formula:
    last = session.scalar(select(func.max(Formula.version)).where(Formula.test_id == test.id)) or 0
    return Formula(
        test_id=test.id,
        version=last + 1,
        expression=definition.expression.strip(),
        parts=parts_of(definition),
        valid_from=clock.today(),
    )


def parts_of(definition: Definition) -> dict[str, Any]:
    return {
        name: [asdict(each) for each in getattr(definition, name)]
        for name in ("operands", "parameters", "limits", "examples")
    }


def approve(session: Session, formula_id: uuid.UUID, *, by: Editor, reason: str = "") -> Formula:
    """A draft becomes what counts; what was approved before it ends today. Never by who edited it."""
    _may(by, "catalog.approve")
    row = _of(session, formula_id)
    test = session.get_one(Test, row.test_id)
    require_authority(session, by, "catalog.approve", [test.code])
    if row.edited_by == by.actor:
        raise Forbidden("formula.own", N_("编写公式的人不能批准它，请另一位有批准权限的人批准。"))
    if check(session, row.definition(test.code)):
        raise Conflict("formula.faults_now", N_("按现在的项目字典，这个公式有错误；请先改正再批准。"))
    blank = [each.name for each in row.definition(test.code).parameters if not each.value.strip()]
    if blank:
        raise Conflict("formula.blank", N_("参数 {names} 尚未填写，不能批准。"), names="、".join(blank))
    done = session.scalar(
        update(Formula)
        .where(Formula.id == formula_id, Formula.state == ApprovalState.DRAFT)
        .values(
            state=ApprovalState.APPROVED,
            approved_by=by.actor,
            approved_by_name=by.name,
            approved_at=clock.now(),
            valid_from=func.least(Formula.valid_from, clock.today()),
        )
        .returning(Formula)
        .execution_options(populate_existing=True)
    )
    if done is None:
        raise Conflict("formula.not_draft", N_("这一版已不是草案，可能已由他人处理。请刷新页面。"))
    session.execute(
        update(Formula)
        .where(Formula.test_id == row.test_id, Formula.version < row.version, Formula.state != ApprovalState.RETIRED)
        .values(state=ApprovalState.RETIRED, valid_to=func.greatest(clock.today(), Formula.valid_from))
    )
    session.info.pop(_KEY, None)
    _record(session, done, test, "formula.approve", by.actor, reason)
    return done


def retire(session: Session, formula_id: uuid.UUID, *, by: Editor, reason: str) -> Formula:
    """This version calculates nothing any more; what it gave stays as it is."""
    _may(by, "catalog.approve")
    if not reason.strip():
        raise Invalid("formula.reason", N_("请填写停用的原因。"))
    row = _of(session, formula_id)
    done = session.scalar(
        update(Formula)
        .where(Formula.id == formula_id, Formula.state != ApprovalState.RETIRED)
        .values(state=ApprovalState.RETIRED, valid_to=func.greatest(clock.today(), Formula.valid_from))
        .returning(Formula)
        .execution_options(populate_existing=True)
    )
    if done is None:
        raise Conflict("formula.retired", N_("这一版已经停用。"))
    session.info.pop(_KEY, None)
    _record(session, done, session.get_one(Test, row.test_id), "formula.retire", by.actor, reason)
    return done


def in_order(formulas: Iterable[str], reading: dict[str, tuple[str, ...]]) -> list[str]:
    """Calculated tests so that what one reads comes before it; one in a cycle comes where it is met."""
    wanted, done = list(formulas), list[str]()

    def visit(code: str, way: tuple[str, ...]) -> None:
        if code in done or code in way:
            return
        for each in reading.get(code, ()):
            if each in wanted:
                visit(each, (*way, code))
        done.append(code)

    for code in wanted:
        visit(code, ())
    return done


def _of(session: Session, formula_id: uuid.UUID) -> Formula:
    found = session.get(Formula, formula_id, populate_existing=True)
    if found is None:
        raise NotFound("formula.unknown", N_("没有这个公式。"))
    return found


def _may(by: Editor, permission: str) -> None:
    if permission not in by.permissions:
        raise Forbidden("forbidden", N_("您没有这项操作的权限，请联系管理员。"), permission=permission)


def _record(session: Session, row: Formula, test: Test, action: str, by: str, reason: str) -> None:
    audit.record(
        session,
        actor=by,
        action=action,
        aggregate=("formula", str(row.test_id)),
        before=None,
        after={
            "test": test.code,
            "version": row.version,
            "state": row.state,
            "expression": row.expression,
            "parts": row.parts,
            "source": row.source,
        },
        reason=reason.strip() or None,
    )
