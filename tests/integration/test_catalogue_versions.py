"""The catalogue by versions: drafts, changes that wait, two persons, dates ahead; and how ranges reach a result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.app import load_slices
from cloud.his import acting
from cloud.hospital.service import ensure_department
from cloud.kit import clock
from cloud.kit.db import begin, new_session
from cloud.kit.errors import Conflict, Forbidden, Invalid
from cloud.lis.catalog import approving, checking, content, record, service
from cloud.lis.catalog.changes import CatalogChange
from cloud.lis.catalog.kinds import Kind
from cloud.lis.catalog.model import CriticalLimit, Panel, ReferenceRange, Test
from cloud.lis.catalog.record import Editor
from cloud.lis.instruments import service as instruments
from cloud.lis.instruments.model import InstrumentChannel
from cloud.lis.instruments.service import Channel
from cloud.lis.instruments.versions import CHANNEL
from cloud.lis.orders.model import Order, OrderItem
from cloud.lis.orders.service import place_order
from cloud.lis.results.model import Result
from cloud.lis.results.service import ingest
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from cloud.people.rules import PersonDetails
from cloud.people.service import register
from protocols.messages.hl7 import read_messages
from tests.support import his
from tests.support.bench import Bench, observed, set_up
from tests.support.databases import DatabaseServer, cloud_on

WRITER, DIRECTOR = Editor("staff:writer", "钱组长", "按说明书修订"), "staff:director"
SOURCE = "本室验证报告 2026-11"


@pytest.fixture(scope="module")
def laboratory(database_server: DatabaseServer) -> Iterator[None]:
    """One database for the module; each test works in a transaction that is taken back."""
    with pytest.MonkeyPatch.context() as patched, database_server.clone() as url, cloud_on(url, patched):
        load_slices()
        with begin() as session:
            set_up(session)
        yield


@pytest.fixture
def bench(laboratory: None) -> Iterator[Bench]:
    with new_session() as session:
        born = date(clock.today().year - 30, 1, 1)
        woman = register(session, PersonDetails(name="王小梅", sex="F", birth_date=born, identifiers=()), by="system")
        yield Bench(session, woman.id, {each.code: each for each in session.scalars(select(Test))})
        session.rollback()


@pytest.fixture
def session(bench: Bench) -> Session:
    return bench.session


def approved(session: Session, kind: Kind, row: Any) -> Any:
    return approving.approve(session, kind, row.id, by=DIRECTOR, name="孙主任")


def new_range(bench: Bench, code: str, **values: Any) -> ReferenceRange:
    given = {"low": "1", "high": "2", "source": SOURCE, "valid_from": str(clock.today())} | values
    row: ReferenceRange = record.create(bench.session, content.RANGE, given, WRITER, test_id=bench.tests[code].id)
    return row


def changes(session: Session, row: Any) -> list[tuple[str, Any, Any]]:
    found = select(CatalogChange).where(CatalogChange.subject_id == row.id).order_by(CatalogChange.id)
    return [(each.state, each.before, each.after) for each in session.scalars(found)]


@pytest.mark.req("LIS-16", "LIS-0")
def test_a_draft_test_is_changed_in_place_and_an_approved_one_only_when_somebody_else_approves(bench: Bench) -> None:
    session, test = bench.session, bench.tests["FERR"]
    record.change(session, content.TEST, test.id, {"decimals": 0}, WRITER)
    assert (test.decimals, test.version) == (0, 1)
    approved(session, content.TEST, test)
    change = record.change(session, content.TEST, test.id, {"decimals": 2, "method": "化学发光"}, WRITER)
    assert change is not None
    assert (test.decimals, test.method) == (0, ""), "what was approved holds until the change is"
    assert (change.before, change.after) == ({"decimals": 0, "method": ""}, {"decimals": 2, "method": "化学发光"})
    approved(session, content.TEST, test)
    assert (test.decimals, test.method, test.version) == (2, "化学发光", 2)
    assert (change.state, change.made_by, change.decided_by) == ("applied", "staff:writer", DIRECTOR)


@pytest.mark.req("LIS-16", "SEC-1")
def test_whoever_wrote_a_change_does_not_approve_it_nor_the_draft_they_touched(bench: Bench) -> None:
    session, test = bench.session, bench.tests["FERR"]
    record.change(session, content.TEST, test.id, {"decimals": 0}, WRITER)
    with pytest.raises(Forbidden):
        approving.approve(session, content.TEST, test.id, by=WRITER.by)
    approved(session, content.TEST, test)
    record.change(session, content.TEST, test.id, {"decimals": 1}, WRITER)
    with pytest.raises(Forbidden):
        approving.approve(session, content.TEST, test.id, by=WRITER.by)
    row = new_range(bench, "FERR")
    with pytest.raises(Forbidden):
        approving.approve(session, content.RANGE, row.id, by=WRITER.by)
    with pytest.raises(Forbidden):
        approving.refuse(session, content.RANGE, row.id, by="staff:other", reason="x", only_own=True)


@pytest.mark.req("LIS-16", "LIS-0")
def test_an_approved_range_gets_a_new_version_that_ends_it_on_the_day_it_begins_to_hold(bench: Bench) -> None:
    session = bench.session
    first = approved(session, content.RANGE, new_range(bench, "FERR"))
    later = clock.today() + timedelta(days=40)
    record.change(session, content.RANGE, first.id, {"high": "3", "valid_from": str(later)}, WRITER)
    versions = service.ranges(session, bench.tests["FERR"].id)
    assert [(each.version, each.state, each.high) for each in versions] == [(2, "draft", 3), (1, "approved", 2)]
    assert (first.high, first.valid_to) == (2, None)
    approved(session, content.RANGE, versions[0])
    session.refresh(first)
    assert (versions[0].state, first.valid_to) == ("approved", later)
    facts = {"sex": "F", "age_days": 9000}
    assert service.range_for(session, first.test_id, **facts, on=clock.today()) is first
    assert service.range_for(session, first.test_id, **facts, on=later) is versions[0]


@pytest.mark.req("LIS-16")
def test_a_change_dated_ahead_is_applied_on_its_day_and_not_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, channel = bench.session, bench.session.scalars(select(InstrumentChannel)).first()
    assert channel is not None
    approved(session, CHANNEL, channel)
    tomorrow = clock.today() + timedelta(days=1)
    change = record.change(session, CHANNEL, channel.id, {"method": "酶法"}, replace(WRITER, valid_from=tomorrow))
    assert change is not None
    approved(session, CHANNEL, channel)
    assert (change.state, channel.method) == ("approved", "")
    with pytest.raises(Conflict, match=r"catalog\.change_due"):
        record.change(session, CHANNEL, channel.id, {"method": "比色法"}, WRITER)
    assert approving.apply_due(session) == 0
    monkeypatch.setattr(clock, "today", lambda: tomorrow)
    assert approving.apply_due(session) == 1
    assert (change.state, channel.method, channel.version) == ("applied", "酶法", 2)
    assert approving.apply_due(session) == 0


@pytest.mark.req("LIS-16")
def test_what_was_seen_is_what_is_approved(bench: Bench) -> None:
    session, test = bench.session, approved(bench.session, content.TEST, bench.tests["FERR"])
    record.change(session, content.TEST, test.id, {"decimals": 0}, WRITER)
    (seen,) = [each for each in approving.waiting(session, content.TEST) if each.row_id == test.id]
    record.change(session, content.TEST, test.id, {"decimals": 3}, WRITER)
    with pytest.raises(Conflict, match=r"catalog\.newer"):
        approving.approve(session, content.TEST, test.id, by=DIRECTOR, seen=seen.stamp)
    with pytest.raises(Conflict, match=r"catalog\.newer"):
        record.change(session, content.TEST, test.id, {"decimals": 1}, WRITER, seen=seen.stamp)
    assert [state for state, *_ in changes(session, test)] == ["superseded", "waiting"]


@pytest.mark.req("LIS-16")
def test_a_change_sent_back_leaves_what_was_there_and_a_new_draft_goes_out_of_use(bench: Bench) -> None:
    session, test = bench.session, bench.tests["FERR"]
    before = test.decimals
    record.change(session, content.TEST, test.id, {"decimals": 5}, WRITER)
    with pytest.raises(Invalid):
        approving.refuse(session, content.TEST, test.id, by=DIRECTOR, reason=" ")
    approving.refuse(session, content.TEST, test.id, by=DIRECTOR, reason="位数太多")
    assert (test.decimals, test.state) == (before, "draft")
    row = new_range(bench, "FERR")
    approving.refuse(session, content.RANGE, row.id, by=DIRECTOR, reason="来源不足")
    assert row.state == "retired"
    with pytest.raises(Conflict):
        approving.refuse(session, content.RANGE, row.id, by=DIRECTOR, reason="再次")
    assert [state for state, *_ in changes(session, row)] == ["refused"]


@pytest.mark.req("LIS-16")
@pytest.mark.parametrize(
    ("kind", "values", "refusal"),
    [
        (content.RANGE, {"low": "5", "high": "4"}, "catalog.bounds"),
        (content.RANGE, {"source": " "}, "catalog.source"),
        (content.RANGE, {"low": None, "high": None}, "catalog.says_nothing"),
        (content.RANGE, {"sex": "M", "phase": "luteal"}, "catalog.phase_of_men"),
        (content.RANGE, {"gestation_min_weeks": 20, "gestation_max_weeks": 20}, "catalog.weeks"),
        (content.RANGE, {"age_min_days": 100, "age_max_days": 100}, "catalog.ages"),
        (content.LIMIT, {"low": None, "high": None}, "catalog.limit_says_nothing"),
        (content.LIMIT, {"repeat_after_hours": 0}, "catalog.repeat"),
        (content.GOAL, {"low": None}, "catalog.goal"),
    ],
)
def test_what_may_not_stand_so_is_refused_with_its_reason(
    bench: Bench, kind: Kind, values: dict[str, Any], refusal: str
) -> None:
    given = {"low": "1", "high": "2", "source": SOURCE, "valid_from": "2026-11-01"} | values
    with pytest.raises(Invalid, match=refusal):
        record.create(bench.session, kind, given, WRITER, test_id=bench.tests["FERR"].id)
    with pytest.raises(Invalid, match=r"catalog\.reason"):
        record.create(bench.session, kind, given, Editor("a", "b", " "), test_id=bench.tests["FERR"].id)


@pytest.mark.req("LIS-16")
def test_a_panel_takes_other_tests_when_the_change_is_approved_and_unknown_ones_are_named(bench: Bench) -> None:
    session = bench.session
    panel = approved(session, content.PANEL, session.scalars(select(Panel).where(Panel.code == "ELEC")).one())
    had = [each.code for each in service.panel_tests(session, panel.id)]
    record.change(session, content.PANEL, panel.id, {"tests": ["K", "NA"]}, WRITER)
    assert [each.code for each in service.panel_tests(session, panel.id)] == had
    approved(session, content.PANEL, panel)
    assert [each.code for each in service.panel_tests(session, panel.id)] == ["K", "NA"]
    with pytest.raises(Invalid, match=r"catalog\.tests_unknown"):
        record.change(session, content.PANEL, panel.id, {"tests": ["K", "NOPE"]}, WRITER)


@pytest.mark.req("LIS-16")
def test_a_mapping_taken_away_stops_matching_and_one_that_is_approved_stays_until_that_is(bench: Bench) -> None:
    session = bench.session
    channel = session.scalars(select(InstrumentChannel).where(InstrumentChannel.code == "WBC")).one()
    instruments.unmap_channel(session, channel.id, by="staff:writer")
    session.flush()
    tube = bench.specimen("WBC")
    ingest(session, bench.source(), [observed(tube, "WBC", "5.0")])
    assert session.scalar(select(Result).where(Result.specimen_id == tube.id)) is None
    instruments.map_channel(session, channel.instrument_id, Channel("WBC", "WBC"), by="staff:writer")
    approved(session, CHANNEL, channel)
    instruments.unmap_channel(session, channel.id, by="staff:writer")
    assert channel.state == "approved"
    other = bench.specimen("WBC")
    ingest(session, bench.source(), [observed(other, "WBC", "5.0")])
    assert session.scalar(select(Result).where(Result.specimen_id == other.id)) is not None
    approved(session, CHANNEL, channel)
    assert channel.state == "retired"


PHASES = {"follicular": ("3.85", "8.78"), "midcycle": ("4.54", "22.51"), "luteal": ("1.79", "5.12")}


def measured_fsh(bench: Bench, **told: Any) -> Result:
    """FSH of a woman of thirty, measured on the bench's analyzer, 4.0 IU/L."""
    session = bench.session
    for phase, (low, high) in PHASES.items():
        exists = select(ReferenceRange).where(ReferenceRange.phase == phase, ReferenceRange.method == "")
        if session.scalar(exists) is None:
            new_range(bench, "FSH", sex="F", phase=phase, low=low, high=high)
    instrument = session.scalars(select(InstrumentChannel)).first()
    assert instrument is not None
    instruments.map_channel(session, instrument.instrument_id, Channel("FSH", "FSH"), by="system")
    department = ensure_department(session, code="RESP", name="呼吸内科门诊")
    order = place_order(
        session,
        person_id=bench.person_id,
        department_id=department.id,
        items=["FSH"],
        source="manual",
        ordered_by="李医生",
        **told,
    )
    tube: Specimen = specimens.print_labels(session, order.id, by="staff:nurse")[0]
    specimens.receive(session, tube.accession, by="staff:desk")
    ingest(session, bench.source(), [observed(tube, "FSH", "4.0")])
    return session.scalars(select(Result).where(Result.specimen_id == tube.id)).one()


@pytest.mark.req("LIS-3", "LIS-0")
def test_the_phase_told_with_the_order_judges_the_value_and_stays_with_it(bench: Bench) -> None:
    luteal = measured_fsh(bench, cycle_phase="luteal")
    assert (luteal.flag, luteal.range_text) == ("N", "1.79-5.12")
    midcycle = measured_fsh(bench, cycle_phase="midcycle")
    assert (midcycle.flag, midcycle.range_text) == ("L", "4.54-22.51")
    kept = midcycle.decision["versions"]
    assert kept["facts"]["phase"] == "midcycle"
    assert kept["facts"]["instrument"]
    assert kept["range"] == {"id": str(midcycle.range_id), "version": 1, "state": "draft"}
    row = bench.session.get_one(ReferenceRange, midcycle.range_id)
    record.change(bench.session, content.RANGE, row.id, {"low": "3"}, WRITER)
    assert (midcycle.range_low, midcycle.range_text) == (Decimal("4.54"), "4.54-22.51"), "the snapshot does not move"


@pytest.mark.req("LIS-3")
def test_without_the_phase_the_report_shows_all_of_them_and_the_value_has_no_flag(bench: Bench) -> None:
    result = measured_fsh(bench)
    assert result.range_text == "卵泡期 3.85-8.78；排卵期 4.54-22.51；黄体期 1.79-5.12"
    assert (result.flag, result.draft, result.range_low) == ("", True, None)
    assert [each["code"] for each in result.decision["reasons"]] == ["phase_unknown"]
    assert not result.held


@pytest.mark.req("LIS-3")
def test_a_range_of_the_method_of_the_channel_goes_before_the_general_one(bench: Bench) -> None:
    session = bench.session
    new_range(bench, "FERR", low="10", high="20")
    new_range(bench, "FERR", low="30", high="40", method="化学发光")
    channel = session.scalars(select(InstrumentChannel)).first()
    assert channel is not None
    instruments.map_channel(session, channel.instrument_id, Channel("FERR", "FERR", method="化学发光"), by="system")
    tube = bench.specimen("FERR")
    ingest(session, bench.source(), [observed(tube, "FERR", "15")])
    result = session.scalars(select(Result).where(Result.specimen_id == tube.id)).one()
    assert (result.flag, result.range_text) == ("L", "30-40")
    assert result.decision["versions"]["facts"]["method"] == "化学发光"


@pytest.mark.req("LIS-1", "LIS-3")
@pytest.mark.parametrize(
    ("told", "phase", "weeks"),
    [
        (["OBX|1|ST|CYCLE_PHASE^月经周期^L||黄体期"], "luteal", None),
        (["OBX|1|NM|11884-4^Gestational age^LN||24"], "pregnant", 24),
        (["OBX|1|ST|GESTATION_WEEKS^孕周^L||12+3"], "pregnant", 12),
        (["OBX|1|ST|CYCLE_PHASE^月经周期^L||不详", "OBX|2|NM|GESTATION_WEEKS||99"], "", None),
        ([], "", None),
    ],
)
def test_phase_and_week_come_with_the_order_of_the_his_and_what_cannot_be_read_is_left_out(
    session: Session, told: list[str], phase: str, weeks: int | None
) -> None:
    payload = his.oml(f"M{len(told)}{phase}{weeks}", *his.order_line(f"F{phase}{weeks}{len(told)}", "FSH"), *told)
    outcome = acting.act(session, read_messages(payload)[0])
    order = session.scalars(select(Order).where(Order.number == outcome["orders"][0]["number"])).one()
    assert (order.cycle_phase, order.gestation_weeks) == (phase, weeks)
    assert session.scalars(select(OrderItem).where(OrderItem.order_id == order.id)).one()


@pytest.mark.req("LIS-1")
@pytest.mark.parametrize(
    "told",
    [{"cycle_phase": "full moon"}, {"gestation_weeks": 46}, {"cycle_phase": "luteal", "gestation_weeks": 3}],
)
def test_a_phase_that_cannot_be_is_refused_with_the_order(bench: Bench, told: dict[str, Any]) -> None:
    department = ensure_department(bench.session, code="RESP", name="呼吸内科门诊")
    common = {"department_id": department.id, "items": ["FSH"], "source": "manual", "ordered_by": "李医生"}
    with pytest.raises(Invalid):
        place_order(bench.session, person_id=bench.person_id, **common, **told)
    man = register(bench.session, PersonDetails(name="李", sex="M", birth_date=None, identifiers=()), by="system")
    with pytest.raises(Invalid):
        place_order(bench.session, person_id=man.id, **common, cycle_phase="luteal")


@pytest.mark.req("LIS-16")
def test_the_delivered_catalogue_has_no_errors_and_each_fault_put_in_is_named(bench: Bench) -> None:
    session, today = bench.session, clock.today()
    assert [each for each in checking.problems(session, on=today) if each.serious] == []
    new_range(bench, "FERR", age_max_days=100)
    new_range(bench, "FERR", age_min_days=120, age_max_days=300)
    new_range(bench, "FERR", age_min_days=250)
    limit = {"low": "1.5", "source": SOURCE, "valid_from": str(today)}
    record.create(session, content.LIMIT, limit, WRITER, test_id=bench.tests["FERR"].id)
    weeks = [(0, 13), (14, 20), (19, 45)]
    for low, high in weeks:
        new_range(bench, "TSH", sex="F", gestation_min_weeks=low, gestation_max_weeks=high)
    channel = session.scalars(select(InstrumentChannel).where(InstrumentChannel.code == "WBC")).one()
    instruments.map_channel(session, channel.instrument_id, Channel("WBC2", "WBC"), by="system")
    of_test = {
        bench.tests[code].id: channel
        for code in ("CREA", "GLU", "K", "INR")
        for channel in session.scalars(select(InstrumentChannel).where(InstrumentChannel.code == code))
    }
    crea, glu, potassium, inr = of_test.values()
    crea.unit, crea.factor = "mg/dL", Decimal("88.4")  # as manuals print it: no finding
    glu.unit, glu.factor, glu.also_units = "mg/dL", Decimal("0.55"), "mg/L，IU/L"
    potassium.unit = "U/L"
    inr.unit = "INR"  # a label beside a number without a unit
    bench.tests["UACR"].unit = "mg/L"
    new_range(bench, "CRP", low=None, high=None, text="<0.8 mg/dL")
    bench.tests["ALT"].decimals = None
    record.change(session, content.TEST, bench.tests["AST"].id, {"state": "retired"}, WRITER)
    found = {(each.subject, each.code) for each in checking.problems(session, on=today) if each.serious}
    assert found == {
        ("FERR", "age_gap"),
        ("FERR", "age_overlap"),
        ("FERR", "critical_inside_normal"),
        ("TSH", "weeks_gap"),
        ("TSH", "weeks_overlap"),
        ("ALT", "decimals_missing"),
        ("XN1", "channel_mapped_twice"),
        ("XN1", "channel_of_retired_test"),
        ("XN1", "channel_factor_differs"),
        ("XN1", "channel_unit_differs"),
        ("UACR", "ratio_unit"),
        ("CRP", "range_unit_differs"),
    }
    details = {each.detail for each in checking.problems(session, on=today) if each.code.startswith("channel_")}
    assert {"GLU mg/dL → GLU mmol/L: ×0.55 ≠ ×0.0555074", "GLU IU/L → GLU mmol/L"} <= details
    assert "K U/L → K mmol/L" in details
    assert not any("CREA" in each or "INR" in each for each in details)
    hints = {each.code for each in checking.problems(session, on=today) if not each.serious}
    assert {"tea_unset", "range_missing"} <= hints


@pytest.mark.req("LIS-11")
def test_critical_limits_keep_department_repeat_rule_and_each_side_of_the_limit(bench: Bench) -> None:
    values = {"low": "3.0", "low_inclusive": True, "high": "6.5", "texts": ["阳性"], "first_only": True}
    values |= {"source": SOURCE, "valid_from": "2026-11-01", "repeat_after_hours": 24, "age_max_days": 28}
    row: CriticalLimit = record.create(bench.session, content.LIMIT, values, WRITER, test_id=bench.tests["FERR"].id)
    assert (row.low_inclusive, row.high_inclusive, row.texts, row.first_only) == (True, False, ["阳性"], True)


def at_once(*acts: Callable[[Session], object]) -> list[str]:
    """What became of acts that begin at the same moment, each in a transaction of its own."""
    gate = threading.Barrier(len(acts))

    def run(act: Callable[[Session], object]) -> str:
        gate.wait()
        try:
            with begin() as session:
                act(session)
        except (Conflict, Forbidden) as refusal:
            return refusal.code
        return "done"

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


@pytest.mark.req("LIS-16", "SEC-1")
def test_two_directors_at_one_change_approve_it_once(laboratory: None) -> None:
    with begin() as session:
        test = service.test_by_code(session, "CYFRA")
        assert test is not None
        approving.approve(session, content.TEST, test.id, by=DIRECTOR)
        record.change(session, content.TEST, test.id, {"decimals": 1}, WRITER)
    said = at_once(
        lambda session: approving.approve(session, content.TEST, test.id, by="staff:one"),
        lambda session: approving.approve(session, content.TEST, test.id, by="staff:two"),
    )
    assert sorted(said) == ["band_not_draft", "done"]
    with begin() as session:
        row = session.get_one(Test, test.id)
        (change, *_) = service.history(session, test.id)
        assert (row.version, row.decimals, change.state) == (2, 1, "applied")


@pytest.mark.req("LIS-16")
@pytest.mark.parametrize("code", ["SCC", "NSE", "CA125"])
def test_a_change_written_while_the_last_one_is_approved_never_slips_through(laboratory: None, code: str) -> None:
    with begin() as session:
        test = service.test_by_code(session, code)
        assert test is not None
        approving.approve(session, content.TEST, test.id, by=DIRECTOR)
        first = record.change(session, content.TEST, test.id, {"decimals": 1}, WRITER)
        assert first is not None
    said = at_once(
        lambda session: approving.approve(session, content.TEST, test.id, by=DIRECTOR, seen=str(first.id)),
        lambda session: record.change(session, content.TEST, test.id, {"decimals": 4}, WRITER),
    )
    with begin() as session:
        row = session.get_one(Test, test.id)
        states = {tuple(each.after.values()): each.state for each in service.history(session, test.id)}
        assert states[(4,)] == "waiting", "nobody has looked at it"
        if said[0] == "done":
            assert (row.decimals, states[(1,)]) == (1, "applied")
        else:
            assert (said[0], states[(1,)]) == ("catalog.newer", "superseded")
            assert row.decimals != 4
