"""A rule set made, tested, approved and stopped on its pages, by the roles that may; what is wrong is said in place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from cloud.app import load_slices
from cloud.kit import clock, db
from cloud.lis.autoverify import drift, live, starting
from cloud.lis.autoverify.model import AutoDay, Backtest, RuleSetState, RuleSetVersion
from cloud.lis.reports import service as reports
from cloud.lis.results import review, sheets
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from cloud.staff.service import create_account
from tests.support.bench import Bench, observed, pathologist, set_up
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import PASSWORD, Site, Visitor, hire_cast, running_site
from tests.support.work import work

pytestmark = pytest.mark.req("LIS-6")

PAGE = "/staff/lis/autoverify"
CODES = ("WBC", "HGB", "PLT")
NORMAL = {"WBC": "6.2", "HGB": "130", "PLT": "210"}


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[Site]:
    load_slices()
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url, cloud_on(url, patch):
        hire_cast()
        with db.begin() as session:
            bench = set_up(session)
            starting.load(session)
            create_account(session, login="second", name="何主任", password=PASSWORD, roles=["director"])
            for values in (NORMAL, NORMAL, {**NORMAL, "HGB": "90"}):
                tube(bench, values)
        with running_site() as running:
            yield running


def tube(bench: Bench, values: dict[str, str], *, release: bool = True) -> Specimen:
    specimen = bench.specimen(*CODES)
    ingest(bench.session, bench.source(), [observed(specimen, code, values[code]) for code in CODES])
    live.consider(bench.session, specimen.id)
    if release:
        version = sheets.version_of(bench.session, specimen.id)
        review.mark_reviewed(bench.session, specimen.id, by=pathologist(), version=version)
        reports.release(bench.session, specimen.id, by=pathologist(), version=version + 1)
    return specimen


def revision_of(set_id: str) -> int:
    with db.begin() as session:
        return session.scalars(select(RuleSetVersion.revision).where(RuleSetVersion.id == set_id)).one()


def put(visitor: Visitor, set_id: str, **said: str) -> str:
    """Fill in a rule's form; the page that comes."""
    visitor.get(f"{PAGE}/sets/{set_id}/rule?kind={said['kind']}")
    data = {"revision": str(revision_of(set_id)), "active": "yes", "unknown": "pass", "source": "SOP-12", **said}
    return visitor.post(f"{PAGE}/sets/{set_id}/rule", dict(data)).text


def made(visitor: Visitor, code: str) -> str:
    visitor.get(PAGE)
    done = visitor.post(f"{PAGE}/sets", {"code": code, "name": f"血液 {code}", "sections": ["hematology"]})
    assert done.status_code == 200, done.text
    return done.url.path.rsplit("/", 1)[1]


def test_a_rule_set_goes_its_road_on_the_pages_and_its_author_cannot_approve_it(site: Site) -> None:
    author, head = site.staff("director"), site.visitor()
    head.sign_in("second")
    set_id = made(author, "road")
    put(author, set_id, kind="enable", tests="WBC xhdb plt")
    put(author, set_id, kind="range", basis="reference", p_basis="reference", unknown="hold")
    page = put(author, set_id, kind="delta", tests="HGB", p_method="difference", p_limit="60", p_hours="72")
    assert "72 小时内与上次结果相比变化超过 60 时转人工" in page
    author.post(f"{PAGE}/sets/{set_id}/backtest", {"since": clock.today(), "until": clock.today(), "most": "50"})
    assert work("autoverify").count("autoverify.backtest") == 1
    with db.begin() as session:
        test = session.scalars(select(Backtest).where(Backtest.rule_set_id == set_id)).one()
        assert test.outcome["specimens"] == 3
    outcome = author.get(f"{PAGE}/backtests/{test.id}").text
    assert "与人工对照" in outcome
    assert "从未拦下" in outcome
    assert "您修改过这一版" in author.get(f"{PAGE}/sets/{set_id}").text
    wanted = {"revision": str(revision_of(set_id)), "live_from": "2026-01-01T08:00", "reason": "验证合格"}
    assert author.post(f"{PAGE}/sets/{set_id}/approve", dict(wanted)).status_code == 403
    head.get(f"{PAGE}/sets/{set_id}")
    done = head.post(f"{PAGE}/sets/{set_id}/approve", dict(wanted))
    assert "何主任" in done.text
    with db.begin() as session:
        assert session.get_one(RuleSetVersion, test.rule_set_id).state == RuleSetState.APPROVED
    assert "运行中" in author.get(PAGE).text
    author.post(f"{PAGE}/sets/{set_id}/version")
    head.get(PAGE)
    head.post(f"{PAGE}/stop", {"what": "test", "test": "xhdb", "reason": "试剂异常"})
    assert "自动审核有停用" in head.get(PAGE).text
    again = head.post(f"{PAGE}/stop", {"what": "test", "test": "HGB", "reason": "再停"})
    assert (again.status_code, "已经停用" in again.text) == (409, True)
    stop = re.search(r"/stops/([0-9a-f-]{36})/resume", head.get(PAGE).text)
    assert stop is not None
    head.post(f"{PAGE}/stops/{stop[1]}/resume", {"reason": "试剂已更换"})
    assert "自动审核有停用" not in head.get(PAGE).text
    head.get(f"{PAGE}/sets/{set_id}")
    head.post(f"{PAGE}/sets/{set_id}/retire", {"reason": "试验结束"})
    assert "已停用" in head.get(f"{PAGE}/sets/{set_id}").text


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"kind": "plausible", "tests": "HGB", "p_low": "abc"}, "不是数字"),
        ({"kind": "plausible", "tests": "HGB"}, "上限和下限至少填一个"),
        ({"kind": "plausible", "tests": "nothing", "p_low": "1"}, "不是项目字典里的一个项目"),
        ({"kind": "relation", "c0_left": "HGB ;", "c0_op": "&gt;", "c0_right": "1"}, "第 1 个条件看不懂"),
        ({"kind": "exclude", "age_min": "很老"}, "年龄请写成"),
        ({"kind": "exclude", "source": " "}, "没有写明依据"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said_on_its_form_and_what_was_typed_stays(
    site: Site, said: dict[str, str], sentence: str
) -> None:
    author = site.staff("director")
    with db.begin() as session:
        set_id = session.scalars(select(RuleSetVersion.id).where(RuleSetVersion.code == "hematology")).one()
    page = put(author, str(set_id), name="我的名称", **said)
    assert sentence in page
    assert "我的名称" in page


def test_a_form_from_before_somebody_elses_change_is_refused(site: Site) -> None:
    author = site.staff("director")
    set_id = made(author, "stale")
    put(author, set_id, kind="enable", tests="HGB")
    page = put(author, set_id, kind="plausible", tests="HGB", p_low="10", revision="1")
    assert "刚刚被他人修改" in page


def test_a_relation_comes_back_into_its_boxes(site: Site) -> None:
    author = site.staff("director")
    set_id = made(author, "boxes")
    put(
        author,
        set_id,
        kind="relation",
        c0_left="HGB",
        c0_op=">",
        c0_right="3*HCT",
        c1_left="WBC",
        c1_op="<",
        c1_right="1",
    )
    page = author.get(f"{PAGE}/sets/{set_id}/rule?rule=r1").text
    assert 'value="3*HCT"' in page
    assert 'value="WBC"' in page


def test_who_may_read_sees_the_pages_and_may_change_nothing(site: Site) -> None:
    technician = site.staff("technician")
    assert "血液自动审核" in technician.get(PAGE).text
    with db.begin() as session:
        set_id = session.scalars(select(RuleSetVersion.id).where(RuleSetVersion.code == "chemistry")).one()
    page = technician.get(f"{PAGE}/sets/{set_id}").text
    assert "直接胆红素" in page
    assert "添加规则" not in page
    assert technician.get(f"{PAGE}/sets/{set_id}/rule?kind=range").status_code == 403
    assert technician.post(f"{PAGE}/stop", {"what": "all", "reason": "x"}).status_code == 403
    assert site.staff("courier").get(PAGE).status_code == 403


def test_why_a_tube_was_held_is_read_by_scanning_it_in_both_languages(site: Site) -> None:
    technician = site.staff("technician")
    with db.begin() as session:
        accession = session.scalars(select(Specimen.accession).order_by(Specimen.id.desc()).limit(1)).one()
    page = technician.get(f"{PAGE}/why?code={accession}").text
    assert "90 不在 115～150 之内" in page
    assert "影子" in page
    assert "90 is not within 115 to 150" in technician.get(f"{PAGE}/why?code={accession}&lang=en").text or (
        "90 is not within 115 to 150" in technician.get(f"{PAGE}/why?code={accession}").text
    )
    assert technician.get(f"{PAGE}/why?code=000").status_code == 404


def test_rates_and_alarms_are_shown_and_an_alarm_is_answered(site: Site) -> None:
    head = site.staff("director")
    with db.begin() as session:
        set_id = session.scalars(select(RuleSetVersion.id).where(RuleSetVersion.code == "coagulation")).one()
        for ago in range(15):
            passed = 20 if ago == 0 else 80
            day = clock.today() - timedelta(days=ago + 1)
            session.add(AutoDay(
                rule_set_id=set_id, mode="shadow", day=day, test_code="PT", decided=100, passed=passed,
                hits={"r2": 9, "critical": 4},
            ))  # fmt: skip
        session.flush()
        assert len(drift.compare(session, clock.today() - timedelta(days=1))) == 1
    rates = head.get(f"{PAGE}/sets/{set_id}/rates?mode=shadow").text
    assert "76.0%" in rates
    assert "危急值 <span" in rates
    page = head.get(PAGE).text
    alarm = re.search(r"/alarms/([0-9a-f-]{36})/acknowledge", page)
    assert alarm is not None
    assert "20.0%" in page
    head.post(f"{PAGE}/alarms/{alarm[1]}/acknowledge", {"reason": "换批号"})
    assert alarm[1] not in head.get(PAGE).text
