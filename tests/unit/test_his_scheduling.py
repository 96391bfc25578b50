"""What we ask of a HIS that owns the numbers is valid HL7, and what it answers is read with its trapdoors."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from cloud.his import mapping, scheduling
from cloud.his.port import NumberStanding, PaidWith, Refused, Unknown
from protocols.messages.hl7 import Hl7Message, read_messages
from tests.support.his_numbers import MEI, SESSION, wish
from tests.support.hl7_oracle import STRICT, assembled, plain

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2027, 2, 28, 12, 0, tzinfo=UTC)
PAID = PaidWith("XL1", "wechat", 5000, NOW)
NAMES = mapping.outgoing()
WRITTEN = {
    "lock": scheduling.lock_request(wish("b-1"), "XQ1", NOW, ZONE, NAMES),
    "lock any": scheduling.lock_request(wish("b-1", None), "XQ1", NOW, ZONE, NAMES),
    "confirm": scheduling.confirm_request("b-1", PAID, "XQ2", NOW, ZONE, NAMES),
    "confirm free": scheduling.confirm_request("b-1", None, "XQ2", NOW, ZONE, NAMES),
    "release": scheduling.release_request("b-1", "改期^再约", "XQ3", NOW, ZONE, NAMES),
    "stand": scheduling.stand_query("b-1", "XQ4", NOW, ZONE, NAMES),
    "open": scheduling.open_query(SESSION, "XQ5", NOW, ZONE, NAMES),
}
pytestmark = pytest.mark.req("HIS-1")


@pytest.mark.parametrize("name", WRITTEN)
def test_every_request_to_a_his_that_owns_numbers_is_valid(name: str) -> None:
    (message,) = read_messages(WRITTEN[name])
    line = "\r".join(segment.line for segment in message.segments)
    assert plain(assembled(line, STRICT).to_er7()) == plain(line)


def test_a_request_carries_our_key_the_session_and_the_patient() -> None:
    (message,) = read_messages(WRITTEN["lock"])
    arq, pid, aig = (message.first(each) for each in ("ARQ", "PID", "AIG"))
    assert arq is not None
    assert pid is not None
    assert aig is not None
    assert (arq.component(1, 1), arq.component(5, 1), arq.text(8)) == ("b-1", SESSION, "Tentative")
    assert pid.component(5, 1) == MEI.name
    assert aig.component(3, 1) == "7"


def answer(*segments: str, code: str = "AA") -> Hl7Message:
    head = "MSH|^~\\&|HIS|XLYY|XINGLIN|LAB|20270228200000||SRR^S01^SRR_S01|A1|P|2.5.1||||||UNICODE UTF-8"
    return read_messages("\r".join((head, f"MSA|{code}|XQ1", *segments, "")).encode())[0]


def sch(key: str = "b-1", status: str = "Pending") -> str:
    return f"SCH|{key}|YY1|||{SESSION}|ROUTINE||||||||||D||||E|||||{status}"


@pytest.mark.parametrize(
    ("status", "standing"),
    [
        ("Pending", NumberStanding.LOCKED),
        ("BOOKED", NumberStanding.CONFIRMED),
        ("Overbook", NumberStanding.CONFIRMED),
        ("Complete", NumberStanding.USED),
        ("Started", NumberStanding.USED),
        ("Noshow", NumberStanding.NO_SHOW),
        ("Cancelled", NumberStanding.RELEASED),
        ("Deleted", NumberStanding.RELEASED),
        ("Dc", NumberStanding.STOPPED),
        ("Blocked", NumberStanding.STOPPED),
    ],
)
def test_every_status_of_the_table_is_read(status: str, standing: NumberStanding) -> None:
    assert scheduling.read_stand(answer(sch(status=status)), "b-1", ZONE).standing == standing


@pytest.mark.parametrize(
    ("segments", "why"),
    [
        ((sch(status="Waitlist"),), "unreadable_status"),
        ((sch(status=""),), "unreadable_status"),
        ((sch(key="b-2"),), "answer_to_another_key"),
        ((), "answer_to_another_key"),
    ],
)
def test_an_acceptance_that_does_not_say_how_our_number_stands_proves_nothing(
    segments: tuple[str, ...], why: str
) -> None:
    with pytest.raises(Unknown, match=why):
        scheduling.read_stand(answer(*segments), "b-1", ZONE)


def test_a_query_that_finds_nothing_says_absent() -> None:
    assert scheduling.read_stand(answer("QAK|XQ1|NF"), "b-1", ZONE).standing == NumberStanding.ABSENT


def test_of_two_appointments_under_our_key_the_last_one_counts() -> None:
    found = scheduling.read_stand(answer(sch(status="Cancelled"), sch(status="Booked")), "b-1", ZONE)
    assert found.standing == NumberStanding.CONFIRMED


@pytest.mark.parametrize(
    ("err", "code", "permanent"),
    [
        ("ERR|||200|E|TAKEN|||已售出", "taken", True),
        ("ERR|||206|E", "hl7_206", False),
        ("ERR|||207|E||||内部错误", "hl7_207", False),
        ("ERR|||204|E", "hl7_204", True),
    ],
)
def test_a_refusal_keeps_the_hiss_word_and_says_whether_asking_again_can_help(
    err: str, code: str, permanent: bool
) -> None:
    with pytest.raises(Refused) as refused:
        scheduling.read_stand(answer(err, code="AE"), "b-1", ZONE)
    assert (refused.value.code, refused.value.permanent) == (code, permanent)


def test_an_acknowledgement_with_a_code_that_nobody_knows_proves_nothing() -> None:
    with pytest.raises(Unknown, match="unreadable_acknowledgement"):
        scheduling.read_stand(answer(sch(), code="OK"), "b-1", ZONE)
