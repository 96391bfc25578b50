"""The disclosure rule as a table: who gets which report when."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from cloud.lis.reports.content import age_text
from cloud.lis.reports.disclosure import Channel, DisclosureLimits, Reader, Reason, ReportMarks, disclosure
from cloud.lis.reports.printing import bars, rendered
from cloud.lis.reports.view import ReportContent, ReportItem

RELEASED = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LATER = RELEASED + timedelta(hours=1)
PLAIN = ReportMarks(
    recalled=False,
    contains_critical=False,
    sensitive=False,
    released_at=RELEASED,
    read_back_at=None,
    disclosed_at=None,
)
CRITICAL = replace(PLAIN, contains_critical=True)
SENSITIVE = replace(PLAIN, sensitive=True)
NO_LIMIT = DisclosureLimits()
TWO_HOURS = DisclosureLimits(critical_after=timedelta(hours=2))


@pytest.mark.req("REP-1")
@pytest.mark.parametrize("channel", [Channel.PHONE, Channel.SELF_PRINT, Channel.SHARE])
@pytest.mark.parametrize(
    ("marks", "limits", "reason"),
    [
        (PLAIN, NO_LIMIT, Reason.ALLOWED),
        (CRITICAL, NO_LIMIT, Reason.CRITICAL),
        (CRITICAL, TWO_HOURS, Reason.CRITICAL),
        (CRITICAL, DisclosureLimits(critical_after=timedelta(minutes=30)), Reason.ALLOWED),
        (CRITICAL, DisclosureLimits(critical_after=timedelta(0)), Reason.ALLOWED),
        (replace(CRITICAL, read_back_at=LATER), NO_LIMIT, Reason.ALLOWED),
        (SENSITIVE, NO_LIMIT, Reason.SENSITIVE),
        (SENSITIVE, DisclosureLimits(critical_after=timedelta(0)), Reason.SENSITIVE),
        (replace(SENSITIVE, disclosed_at=LATER), NO_LIMIT, Reason.ALLOWED),
        (replace(CRITICAL, sensitive=True, read_back_at=LATER), NO_LIMIT, Reason.SENSITIVE),
        (replace(CRITICAL, sensitive=True, disclosed_at=LATER), NO_LIMIT, Reason.CRITICAL),
        (replace(CRITICAL, sensitive=True, disclosed_at=LATER, read_back_at=LATER), NO_LIMIT, Reason.ALLOWED),
        (replace(PLAIN, recalled=True), NO_LIMIT, Reason.RECALLED),
    ],
)
def test_a_patient_gets_a_report_when_every_hold_is_lifted(
    marks: ReportMarks, limits: DisclosureLimits, reason: Reason, channel: Channel
) -> None:
    found = disclosure(marks, Reader.PATIENT, channel, LATER, limits)
    assert (found.allowed, found.reason) == (reason is Reason.ALLOWED, reason)


def test_a_hold_by_time_says_when_it_ends() -> None:
    found = disclosure(CRITICAL, Reader.PATIENT, Channel.PHONE, LATER, TWO_HOURS)
    assert found.until == RELEASED + timedelta(hours=2)
    assert disclosure(CRITICAL, Reader.PATIENT, Channel.PHONE, found.until, TWO_HOURS).allowed
    assert disclosure(CRITICAL, Reader.PATIENT, Channel.PHONE, LATER, NO_LIMIT).until is None


@pytest.mark.parametrize("marks", [CRITICAL, SENSITIVE])
def test_clinicians_read_held_reports_in_the_staffs_channel_alone(marks: ReportMarks) -> None:
    assert disclosure(marks, Reader.CLINICIAN, Channel.STAFF, LATER, NO_LIMIT).allowed
    for channel in (Channel.PHONE, Channel.SELF_PRINT, Channel.SHARE):
        assert not disclosure(marks, Reader.CLINICIAN, channel, LATER, NO_LIMIT).allowed


@pytest.mark.req("REP-1")
@pytest.mark.parametrize(("reader", "channel"), list(itertools.product(Reader, Channel)))
def test_a_recalled_report_is_given_to_nobody(reader: Reader, channel: Channel) -> None:
    lifted = replace(CRITICAL, sensitive=True, recalled=True, disclosed_at=LATER, read_back_at=LATER)
    assert disclosure(lifted, reader, channel, LATER, TWO_HOURS).reason is Reason.RECALLED


@pytest.mark.parametrize(
    ("born", "shown"),
    [
        (date(2026, 11, 23), "0天"),
        (date(2026, 10, 24), "30天"),
        (date(2026, 10, 23), "1个月"),
        (date(2023, 11, 24), "35个月"),
        (date(2023, 11, 23), "3岁"),
        (date(1990, 11, 24), "35岁"),
        (date(1990, 11, 23), "36岁"),
        (date(2027, 1, 1), ""),
        (None, ""),
    ],
)
def test_an_age_is_printed_in_the_unit_that_fits_it(born: date | None, shown: str) -> None:
    assert age_text(born, date(2026, 11, 23)) == shown


def content(**more: object) -> ReportContent:
    item = ReportItem("WBC", "白细胞计数", "WBC", "WBC", "6.2", "10^9/L", "N", "3.5-9.5", "")
    moment = RELEASED.isoformat()
    values: dict[str, object] = {
        "hospital": "杏林医院", "campus": "本部", "title": "血常规", "report_number": "1", "accession": "1000000018",
        "barcode": "1000000018", "patient_name": "王小明", "sex": "F", "age_text": "36岁", "birth_date": None,
        "mrn": None, "department": "内科", "ordered_by": "李医生", "visit_number": None, "diagnosis": None,
        "order_number": "L1", "placer_number": "L1", "priority": "R", "specimen_type": "blood", "ordered_at": moment,
        "collected_at": None, "received_at": moment, "released_at": moment, "reviewed_by": "赵", "released_by": "钱",
        "kind": "final", "version": 1, "comment": None, "reason": None, "draft": False, "items": (item,),
    }  # fmt: skip
    return ReportContent(**{**values, **more})  # type: ignore[arg-type]


def test_frozen_content_comes_back_as_it_was_and_ignores_what_a_newer_version_added() -> None:
    stored = content().to_json()
    assert ReportContent.from_json(stored) == content()
    stored["added_later"] = 1
    stored["items"][0]["added_later"] = 1
    assert ReportContent.from_json(stored) == content()


@pytest.mark.req("LIS-7")
def test_the_same_content_prints_the_same_bytes() -> None:
    assert rendered(content()) == rendered(content())
    assert rendered(content()) != rendered(content(patient_name="李小红"))


def test_a_barcode_begins_and_ends_with_a_bar_and_has_code_128s_width() -> None:
    widths = bars("1000000018")
    assert len(widths) % 2 == 1
    symbols = (sum(widths) - 13) // 11
    assert sum(widths) == symbols * 11 + 13
