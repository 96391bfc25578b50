"""An order counts as sent when the instrument has answered it, by MSA-2."""

from __future__ import annotations

import pytest

from protocols.errors import LocalProtocolError
from protocols.links.answered import AnsweredLink, AnswerOptions
from protocols.links.contract import LinkEvent, SendCompleted, SendFailed
from protocols.links.mllp import MllpLink

pytestmark = pytest.mark.req("GW-4", "GW-7")


def message(kind: str, control_id: str, *segments: str, ask: str = "NE|AL") -> bytes:
    header = f"MSH|^~\\&|A|B|C|D|20261102083000||{kind}|{control_id}|P|2.5.1|||{ask}"
    return "\r".join([header, *segments, ""]).encode()


def order(control_id: str, ask: str = "NE|AL") -> bytes:
    return message("OML^O33^OML_O33", control_id, "ORC|NW", ask=ask)


def answer(code: str, control_id: str) -> bytes:
    return b"\x0b" + message("ORL^O34^ORL_O42", "7", f"MSA|{code}|{control_id}") + b"\x1c\r"


class Line:
    """The link with a clock; keeps what was written and what became of what we sent."""

    def __init__(self) -> None:
        self.link = AnsweredLink(MllpLink(), AnswerOptions(awaited=frozenset({"OML"}), timeout_s=30.0))
        self.now = 100.0
        self.outcomes: list[LinkEvent] = []

    def note(self, events: list[LinkEvent]) -> None:
        self.outcomes += [each for each in events if isinstance(each, SendCompleted | SendFailed)]

    def send(self, payload: bytes) -> int:
        return self.link.send(payload, self.now)

    def written(self) -> list[bytes]:
        data = self.link.bytes_to_send()
        self.note(self.link.wake(self.now))
        return [each.split(b"|")[9] for each in data.split(b"\x0b")[1:]]

    def hear(self, data: bytes) -> None:
        self.note(self.link.receive(data, self.now))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.note(self.link.wake(self.now))


def test_order_is_done_when_its_answer_has_come_and_not_when_it_was_written() -> None:
    line = Line()
    token = line.send(order("1"))
    assert line.written() == [b"1"]
    assert line.outcomes == []
    line.hear(answer("AA", "1"))
    assert line.outcomes == [SendCompleted(token)]


def test_answer_to_another_message_settles_nothing() -> None:
    line = Line()
    line.send(order("1"))
    line.written()
    line.hear(answer("AA", "2"))
    assert line.outcomes == []


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
def test_refused_order_has_failed_with_the_instruments_word(code: str) -> None:
    line = Line()
    token = line.send(order("1"))
    line.written()
    line.hear(answer(code, "1"))
    assert line.outcomes == [SendFailed(token, f"the instrument answered {code}")]


def test_commit_only_begins_the_time_again() -> None:
    line = Line()
    token = line.send(order("1"))
    line.written()
    line.wait(20)
    line.hear(answer("CA", "1"))
    line.wait(20)
    assert line.outcomes == [], "the instrument keeps it and has not yet judged it"
    line.hear(answer("AA", "1"))
    assert line.outcomes == [SendCompleted(token)]


def test_commit_is_enough_where_we_asked_for_no_more() -> None:
    line = Line()
    token = line.send(order("1", ask="AL|NE"))
    line.written()
    line.hear(answer("CA", "1"))
    assert line.outcomes == [SendCompleted(token)]


def test_second_order_waits_for_the_answer_to_the_first_and_an_acknowledgement_does_not() -> None:
    line = Line()
    first, second = line.send(order("1")), line.send(order("2"))
    acknowledgement = line.send(message("ACK^R22^ACK", "3", "MSA|AA|9"))
    assert line.written() == [b"1", b"3"], "the instrument may be waiting for our ACK"
    assert line.outcomes == [SendCompleted(acknowledgement)]
    line.hear(answer("AA", "1"))
    assert line.written() == [b"2"]
    line.hear(answer("AA", "2"))
    assert line.outcomes[1:] == [SendCompleted(first), SendCompleted(second)]


def test_order_without_answer_fails_in_time_and_the_next_goes_out() -> None:
    line = Line()
    first, second = line.send(order("1")), line.send(order("2"))
    line.written()
    assert line.link.wake_at == 130.0
    line.wait(30)
    assert line.outcomes == [SendFailed(first, "the instrument did not answer in time")]
    assert line.written() == [b"2"]
    line.hear(answer("AA", "1"))
    assert len(line.outcomes) == 1, "a late answer is not the answer to the next"
    line.hear(answer("AA", "2"))
    assert line.outcomes[1:] == [SendCompleted(second)]


def test_all_orders_on_their_way_fail_when_the_line_is_lost_and_the_link_serves_again() -> None:
    line = Line()
    first, second = line.send(order("1")), line.send(order("2"))
    line.written()
    line.note(line.link.disconnected(line.now))
    assert [each.token for each in line.outcomes if isinstance(each, SendFailed)] == [first, second]
    third = line.send(order("3"))
    assert line.written() == [b"3"]
    line.hear(answer("AA", "3"))
    assert line.outcomes[-1] == SendCompleted(third)


def test_answer_in_pieces_and_with_line_feeds_is_matched() -> None:
    line = Line()
    token = line.send(order("1"))
    line.written()
    for each in answer("AA", "1").replace(b"\r", b"\n"):
        line.hear(bytes([each]))
    assert line.outcomes == [SendCompleted(token)]


def test_block_marks_never_leave_inside_a_message() -> None:
    with pytest.raises(LocalProtocolError):
        Line().send(order("1") + b"\x1c")
