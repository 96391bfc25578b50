"""What tests and tubes ask: volumes, lines, fasting, stability. Data with a source, drafts until somebody approves."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.lis.catalog.model import ApprovalState, Test, Tube
from cloud.lis.orders import timing
from cloud.lis.specimens.model import TestCollection, TubeFill
from cloud.web.i18n import mark as N_

TEST_NUMBERS = ("volume_ul", "stable_room_h", "stable_cold_h", "stable_frozen_h")
TUBE_NUMBERS = ("max_fill_ul", "dead_volume_ul", "yield_percent")
LARGEST = 1_000_000
T = TypeVar("T", TestCollection, TubeFill)
Row = TestCollection | TubeFill


def set_test(session: Session, test_id: uuid.UUID, values: Mapping[str, Any], *, by: str) -> TestCollection:
    """Numbers need a source. A change makes it a draft again."""
    if session.get(Test, test_id) is None:
        raise NotFound("test_unknown", N_("没有这个检验项目。"))
    numbers = _numbers(values, TEST_NUMBERS)
    fasting = values.get("fasting")
    source = str(values.get("source", "")).strip()
    if (any(each is not None for each in numbers.values()) or fasting is not None) and not source:
        raise Invalid("source_missing", N_("填写数值时请注明来源。"))
    row = session.get(TestCollection, test_id, with_for_update=True) or TestCollection(test_id=test_id)
    when = str(values.get("timing", "")).strip()
    times = timing.typed(when, clock.local(clock.now()))
    if len(times) > 1 or any("T" in each for each in times):
        raise Invalid("timing_one", N_("项目固定的时点只能有一个，且不带日期，如 餐后 120。"))
    if times and not source:
        raise Invalid("source_missing", N_("填写数值时请注明来源。"))
    texts = {
        "timing": times[0] if times else "",
        "line": str(values.get("line", "")).strip()[:32],
        "note": str(values.get("note", "")).strip(),
    }
    return _write(session, row, {**numbers, **texts, "fasting": fasting, "source": source}, by, ("test", test_id))


def set_tube(session: Session, tube_id: uuid.UUID, values: Mapping[str, Any], *, by: str) -> TubeFill:
    """As `set_test`, for a container."""
    if session.get(Tube, tube_id) is None:
        raise NotFound("tube_unknown", N_("没有这种试管。"))
    numbers = _numbers(values, TUBE_NUMBERS)
    if numbers["yield_percent"] is not None and not 1 <= numbers["yield_percent"] <= 100:
        raise Invalid("yield_wrong", N_("得率须在 1 至 100 之间。"))
    source = str(values.get("source", "")).strip()
    if any(each is not None for each in numbers.values()) and not source:
        raise Invalid("source_missing", N_("填写数值时请注明来源。"))
    row = session.get(TubeFill, tube_id, with_for_update=True) or TubeFill(tube_id=tube_id)
    more = {
        "anticoagulated": values.get("anticoagulated"),
        "preprinted_prefix": str(values.get("preprinted_prefix", "")).strip()[:16],
        "source": source,
    }
    return _write(session, row, {**numbers, **more}, by, ("tube", tube_id))


def approve(session: Session, kind: str, key: uuid.UUID, *, by: str) -> None:
    """The director stands for the row as it is; not who changed it last."""
    row: Row | None
    if kind == "test":
        row = session.get(TestCollection, key, with_for_update=True)
    else:
        row = session.get(TubeFill, key, with_for_update=True)
    if row is None or row.state != ApprovalState.DRAFT:
        raise Conflict("not_a_draft", N_("没有待批准的草案，请刷新页面。"))
    if row.changed_by == by:
        raise Conflict("own_change", N_("不能批准自己修改的内容。"))
    row.state = ApprovalState.APPROVED
    session.flush()
    audit.record(session, actor=by, action="collection.approve", aggregate=("collection", f"{kind}:{key}"))


def asked_of_tests(session: Session, text: str = "", *, limit: int = 60) -> list[tuple[Test, TestCollection | None]]:
    """Tests with what they ask, those found by code, name or pinyin."""
    found = select(Test, TestCollection).outerjoin(TestCollection, TestCollection.test_id == Test.id)
    if text.strip():
        wanted = text.strip()
        found = found.where(
            Test.code.startswith(wanted.upper(), autoescape=True)
            | Test.pinyin.startswith(wanted.lower(), autoescape=True)
            | Test.name.contains(wanted, autoescape=True)
        )
    else:
        found = found.order_by(TestCollection.changed_at.desc().nulls_last())
    rows = session.execute(found.order_by(Test.section, Test.position).limit(limit))
    return [(row[0], row[1]) for row in rows]


def containers(session: Session) -> list[tuple[Tube, TubeFill | None]]:
    rows = session.execute(
        select(Tube, TubeFill).outerjoin(TubeFill, TubeFill.tube_id == Tube.id).order_by(Tube.position)
    )
    return [(row[0], row[1]) for row in rows]


def _numbers(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for name in names:
        text = str(values.get(name) or "").strip()
        if text and not (text.isascii() and text.isdigit() and int(text) <= LARGEST):
            raise Invalid("number_wrong", N_("请填写整数，不知道的留空。"))
        found[name] = int(text) if text else None
    return found


def _write(session: Session, row: T, values: dict[str, Any], by: str, what: tuple[str, uuid.UUID]) -> T:
    before = {name: getattr(row, name) for name in values} if row.changed_by else None
    for name, value in values.items():
        setattr(row, name, value)
    row.state, row.changed_by, row.changed_at = ApprovalState.DRAFT, by, clock.now()
    session.add(row)
    session.flush()
    audit.record(
        session,
        actor=by,
        action="collection.change",
        aggregate=("collection", f"{what[0]}:{what[1]}"),
        before=before,
        after=values,
    )
    return row
